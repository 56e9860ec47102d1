"""The page of a run that goes on, and the marks of one that only shows that everything works."""

import pytest

import reports
from bench.records import append_line
from bench.records.record import Record
from reports.console import FIRST_S, SHARE
from reports.report import SMOKE_TITLE, build_report


def record_of(cell, **axes):
    return Record(
        source="measured",
        experiment="table6",
        cell=cell,
        subject="paper/nb",
        axes={"network": "paper/nb", **axes},
        size="256x64",
        failure={"kind": "error", "reason": "no"},
    )


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def page(tmp_path):
    append_line(tmp_path / "records.jsonl", record_of("a"))
    clock = Clock()
    return reports.LivePage(tmp_path, tmp_path / "report", clock=clock), clock


def test_the_first_page_comes_with_the_last_prediction_or_after_half_a_minute(page):
    live, clock = page
    assert live.is_due(whole=True)
    assert not live.is_due(whole=False)
    clock.now_s = FIRST_S
    assert live.is_due(whole=False)


def test_a_page_has_the_sentences_of_the_run_and_the_tables_beside_it(page):
    live, _ = page
    live.write(("3 of 7 records are there.",))
    assert "3 of 7 records are there." in (live.out / "index.html").read_text()
    assert {".csv", ".md", ".tex"} <= {path.suffix for path in live.out.iterdir()}


def test_another_page_comes_when_the_last_one_took_a_small_share_of_the_time(page, monkeypatch):
    live, clock = page

    def slow(path):
        clock.now_s += 10.0
        return build_report(path)

    monkeypatch.setattr("reports.report.build_report", slow)
    live.write(("now",))
    clock.now_s = 10.0 + 0.99 * 10.0 / SHARE
    assert not live.is_due(whole=True)
    clock.now_s = 10.0 + 10.0 / SHARE
    assert live.is_due(whole=True)


def test_an_unfinished_page_never_stands_in_the_place_of_the_last_one(page, monkeypatch):
    live, _ = page
    live.write(("first",))

    def fail(*_, **__):
        msg = "no space"
        raise OSError(msg)

    monkeypatch.setattr("bench.records.files.os.fsync", fail)
    with pytest.raises(OSError, match="no space|could not be written"):
        live.write(("second",))
    assert "first" in (live.out / "index.html").read_text()


def test_every_table_and_figure_of_a_smoke_run_says_so(tmp_path):
    append_line(tmp_path / "records.jsonl", record_of("a", budget="smoke"))
    report = build_report(tmp_path)
    assert report.tables
    for table in (*report.tables, *(figure.data for figure in report.figures)):
        assert table.title.startswith(SMOKE_TITLE)
        assert all(row[-1] == "smoke" for row in table.rows)
    assert all(figure.title.startswith(SMOKE_TITLE) for figure in report.figures)


def test_no_table_of_another_budget_says_so(tmp_path):
    append_line(tmp_path / "records.jsonl", record_of("a", budget="quick"))
    report = build_report(tmp_path)
    assert not any("smoke" in table.title.lower() for table in report.tables)


def test_a_table_that_fails_ends_no_run_and_is_told_of_once(page, monkeypatch, capsys):
    live, _ = page

    def fail(_):
        msg = "no rows yet"
        raise TypeError(msg)

    monkeypatch.setattr("reports.report.build_report", fail)
    live.write(())
    live.write(())
    told = capsys.readouterr().err
    assert told == "The page can't be written yet (TypeError: no rows yet); the run goes on.\n"
