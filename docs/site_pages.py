"""Put README.md and CONTRIBUTING.md, which stand outside this folder, into the site; links work here and there."""

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"README.md": "answers.md", "CONTRIBUTING.md": "contributing.md"}


def on_files(files: Any, *, config: Any) -> Any:  # noqa: ANN401 - mkdocs' types
    """Add the pages from outside."""
    for name, page in OUTSIDE.items():
        text = (ROOT / name).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text.replace("](docs/", "](")))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:  # noqa: ANN401 - mkdocs' types
    """Lead links to those files to their pages."""
    for name, page in OUTSIDE.items():
        markdown = markdown.replace(f"](../{name}", f"]({page}").replace(f"]({name}", f"]({page}")
    return markdown
