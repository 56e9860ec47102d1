"""Pages of the site that are no file in this folder: README and the like, and the reference, made from the code.

Links to them work here and there. The reference takes parsers, models and docstrings as they are now; pydantic is
all that it needs beside the standard library.
"""

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {
    "README.md": "answers.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
# What stands there in the repository's files is on these pages of the site.
PAGES_OF_CODE = {
    "bench/__main__.py": "reference/commands.md",
    "bench/efficiency.py": "reference/commands.md#bench-efficiency",
    "bench/regress.py": "reference/commands.md#bench-regress",
    "bench/records/record.py": "reference/records.md",
    "experiments/spec.py": "reference/library.md#experiments-spec-Measurement",
}
FETCHED = "https://unpkg.com/iframe-worker/shim"

sys.path.insert(1, str(ROOT))  # mkdocs takes this folder off the path again
from generate import commands, library, records  # noqa: E402 - of this folder

REFERENCE = {
    "reference/commands.md": commands.page,
    "reference/records.md": records.page,
    "reference/library.md": library.page,
}


def on_files(files: Any, *, config: Any) -> Any:  # noqa: ANN401 - mkdocs' types
    """Add the pages from outside, and the generated ones."""
    for name, page in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text.replace("](docs/", "](")))
    for page, make in REFERENCE.items():
        files.append(File.generated(config, page, content=make(ROOT)))
    return files


def on_post_page(output: str, *, page: Any, **_: Any) -> str:  # noqa: ANN401 - mkdocs' types
    """Take the search's helper from this site, where the theme would fetch it from elsewhere."""
    up = "../" * page.file.dest_uri.count("/")
    return output.replace(FETCHED, f"{up}site.js")


def on_post_template(output_content: str, **_: Any) -> str:  # noqa: ANN401 - mkdocs' types
    """The same for the page of what is not found."""
    return output_content.replace(FETCHED, "site.js")


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401 - mkdocs' types
    """Lead links to those files, and to code, to their pages."""
    for name, page in PAGES_OF_CODE.items():
        markdown = markdown.replace(f"](../{name})", f"]({page})")
    for name, page in OUTSIDE.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}").replace(f"]({name}", f"]({page}")
    return markdown
