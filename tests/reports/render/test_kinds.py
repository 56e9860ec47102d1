"""Whatever a folder holds, the page has what follows from it and no place that is empty."""

import re
import shutil
from pathlib import Path

import pytest

from bench.records.files import append_line
from reports import __main__ as command

KEPT = Path(__file__).parents[3] / "reports" / "reference" / "intel-xeon-2-cores"
EMPTY = re.compile(
    r"<h2[^>]*>[^<]*</h2>\s*(?=<h2|</main>)|<(?:ul|ol|tbody|main|section)[^>]*>\s*</"
)
ADDRESS = re.compile(r"https?://(?!www\.w3\.org/)")
FAILURE = {"kind": "out-of-memory", "reason": "CUDA out of memory", "needs_bytes": 2**33}
KINDS = ("one-table", "failures", "trainings", "comparisons", "predictions")


def records_of(kind, make):
    records = make.table1()
    if kind == "trainings":
        return make.table6()
    if kind == "predictions":
        return [record for record in records if record.source == "predicted"]
    if kind == "failures":
        return [
            make.record(
                "table1",
                {"block": "nb", "size": "96x96"},
                source="measured",
                failure=FAILURE,
                environment=make.GPU,
            )
        ]
    return [*records, make.measured("nb", "96x96", time_s=0.5)]


@pytest.fixture(scope="module", params=KINDS)
def page(request, make, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    records = folder / "records"
    records.mkdir()
    if request.param == "comparisons":
        shutil.copy(KEPT / "comparisons.jsonl", records)
    else:
        for record in records_of(request.param, make):
            append_line(records / "all.jsonl", record)
    assert command.main([str(records), "--out", str(folder), "--format", "html"]) == 0
    return request.param, (folder / "index.html").read_text("utf-8")


def test_no_part_of_the_page_is_empty(page):
    assert EMPTY.findall(page[1]) == []


def test_no_part_says_that_there_is_nothing(page):
    kind, text = page
    assert "hold nothing" not in text
    assert ("Do the published efficiency numbers hold?" in text) == (
        kind in ("one-table", "predictions")
    )
    assert ("Does accuracy change as the paper says?" in text) == (kind == "trainings")


def test_the_page_names_no_address(page):
    assert ADDRESS.findall(page[1]) == []


def test_an_empty_folder_is_an_error_that_says_what_to_give(tmp_path, capsys):
    assert command.main([str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "holds no records; give a .jsonl file or a folder" in capsys.readouterr().err
