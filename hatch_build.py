"""What the wheel holds beside `ann`: bench, experiments and reports, in one package `ann_bench`.

So the names `bench`, `experiments` and `reports` are left to the projects into whose environments it is
installed. Files stay as they are but for their imports: `from bench import cli` becomes `from
ann_bench.bench import cli`. Modules that are named by a text derive it from where they stand.
"""

import ast
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "ann_bench"
ROOTS = ("bench", "experiments", "reports")
# Of the kept records those that commands read: what machines reach, and comparisons of equal arms.
KEPT = ("*/ceilings.jsonl", "noise/*/comparisons.jsonl")
# In an editable installation these two stand beside the clone, whose names stay.
DOOR = {
    "__init__.py": '''"""The suite in one package, so that a project keeps the names bench, experiments and reports."""


def main() -> None:
    """Run `ann-bench`."""
    from bench.__main__ import start

    start()
''',
    "__main__.py": '''"""Run `ann-bench` as `python -m ann_bench`."""

from ann_bench import main

if __name__ == "__main__":
    main()
''',
}


class SuiteHook(BuildHookInterface):
    """Adds the suite to a wheel."""

    def initialize(self, version: str, build_data: dict) -> None:
        """Write the package aside and have it included."""
        self.aside = Path(tempfile.mkdtemp(prefix="ann-bench-"))
        folder = self.aside / PACKAGE
        folder.mkdir()
        for name, text in DOOR.items():
            whole = text if version == "editable" else moved(text, name)
            (folder / name).write_text(whole, encoding="utf-8")
        if version != "editable":
            write_suite(Path(self.root), folder)
        key = "force_include_editable" if version == "editable" else "force_include"
        build_data[key][str(folder)] = PACKAGE

    def finalize(self, version: str, build_data: dict, artifact_path: str) -> None:  # noqa: ARG002
        """Take down what was written aside."""
        shutil.rmtree(self.aside)


def write_suite(root: Path, folder: Path) -> None:
    """Copy the files that commands need, with imports moved into the package."""
    for path in suite_files(root):
        place = folder / path.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".py":
            text = moved(path.read_text(encoding="utf-8"), str(path.relative_to(root)))
            place.write_text(text, encoding="utf-8")
        else:
            shutil.copyfile(path, place)


def suite_files(root: Path) -> Iterator[Path]:
    """Every file of the suite, in order; of the kept records a few."""
    reference = root / "reports" / "reference"
    kept = {path for pattern in KEPT for path in reference.glob(pattern)}
    for name in ROOTS:
        for path in sorted((root / name).rglob("*")):
            is_record = path.is_relative_to(reference) and path not in kept
            if path.is_file() and "__pycache__" not in path.parts and not is_record:
                yield path


def moved(source: str, name: str) -> str:
    """Lead every import of the suite, in functions too, into the package.

    Raises:
        ValueError: an import has a form that has no counterpart there.
    """
    lines = source.encode().splitlines(keepends=True)  # columns are counted in bytes
    nodes = [node for node in ast.walk(ast.parse(source)) if hasattr(node, "lineno")]
    # From the last to the first, so that places stay where they are.
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        line, start = lines[node.lineno - 1], node.col_offset
        if isinstance(node, ast.ImportFrom):
            if not node.level and (node.module or "").partition(".")[0] in ROOTS:
                start += len("from ")
                lines[node.lineno - 1] = line[:start] + f"{PACKAGE}.".encode() + line[start:]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            root = next((top for each in names if (top := each.partition(".")[0]) in ROOTS), None)
            if root is None:
                continue
            if names != [root]:
                msg = f"{name}, line {node.lineno}: write `from {root} import ...`, or `import {root}` alone"
                raise ValueError(msg)
            lines[node.lineno - 1] = line[:start] + f"from {PACKAGE} ".encode() + line[start:]
    return b"".join(lines).decode()
