"""What all tests share: texts that are kept, so that a change of what is written or shown is seen."""

import difflib
import gc
import os
from pathlib import Path

import pytest

# Processes that tests start load torch again and again: from bytecode, also where none may lie beside the sources.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    os.environ["PYTHONPYCACHEPREFIX"] = str(
        Path(__file__).parents[1] / ".pytest_cache" / "bytecode"
    )

# Kernels are followed step by step where no GPU is; Triton asks for that when it is imported.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

GOLDEN = Path(__file__).parent / "golden"
SHOWN_LINES = 60


def pytest_collection_finish():
    """Spare the collector, which every measurement calls, from walking torch and all tests each time."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """And from what a file of tests has imported, at its end."""
    if nextitem is None or nextitem.path != item.path:
        gc.freeze()


@pytest.fixture(scope="session")
def kept():
    """Compare with a text of `tests/golden`; UPDATE_GOLDEN=1 writes it anew, for a person to look at."""

    def compare(name, text, *, hint=""):
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        before = path.read_bytes().decode()
        if text != before:
            pytest.fail(_difference(path, before, text, hint), pytrace=False)

    return compare


@pytest.fixture(scope="session")
def kept_in_page():
    """Compare a table with what stands between its marks in a page; UPDATE_GOLDEN=1 writes it anew there."""
    from reports.render import markdown

    def compare(path, mark, table):
        body = markdown.to_markdown(table).split("\n", 2)[2].strip()
        page = path.read_text(encoding="utf-8")
        start, end = f"<!-- table {mark} -->\n\n", "\n\n<!-- end of table -->"
        assert page.count(start) == 1, f"{path} has {page.count(start)} marks {start.strip()}"
        head, _, rest = page.partition(start)
        before, _, tail = rest.partition(end)
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(head + start + body + end + tail, encoding="utf-8", newline="\n")
            before = body
        if body != before:
            pytest.fail(_difference(path, before, body, ""), pytrace=False)

    return compare


def _difference(path, before, now, hint):
    pair = before.splitlines(), now.splitlines()
    diff = list(difflib.unified_diff(*pair, "kept", "now", lineterm="", n=1))
    counts = [sum(line[:1] == sign for line in diff[2:]) for sign in "-+"]
    more = [f"... {len(diff) - SHOWN_LINES} lines more"] if len(diff) > SHOWN_LINES else []
    said = f"{path}: {counts[0]} lines are gone and {counts[1]} are new"
    return "\n".join([said, *filter(None, [hint]), *diff[:SHOWN_LINES], *more])
