"""What is on file reads as it always did: records, comparisons and outcomes are written again as they stand there.

`golden/made-up` has lines in which every field is set, and lines with nothing but what has to be said.
"""

import json
import os
from pathlib import Path

import pytest

from bench.records import comparison, estimation, files, outcome, record
from bench.regression import accepted

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "reports" / "published"
REFERENCE = ROOT / "reports" / "reference"
GOLDEN = Path(__file__).parent / "golden"
MADE_UP = GOLDEN / "made-up"
WRITTEN = sorted((*REFERENCE.rglob("*.jsonl"), *MADE_UP.glob("*.jsonl")))
OUTCOMES = {
    path.parent.parent.name: path.parent
    for path in (*REFERENCE.rglob(outcome.OUTCOME_FILE), *MADE_UP.rglob(outcome.OUTCOME_FILE))
}


def model_of(path):
    models = {
        record.COMPARISONS_FILE: comparison.Comparison,
        estimation.ERRORS_FILE: estimation.EstimateErrors,
    }
    return models.get(path.name, record.Record)


def left_out(whole, line, place=""):
    """What a model has where its line says nothing, a line for each such field."""
    for name, value in whole.items():
        if name not in line:
            yield f"{place}{name} = {json.dumps(value)}\n"
        elif isinstance(value, dict):
            yield from left_out(value, line[name], f"{place}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for pair in zip(value, line[name], strict=True):
                yield from left_out(*pair, f"{place}{name}.")


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_each_line_that_a_run_wrote_is_written_again_byte_by_byte(path, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # takes seconds for all of them
    again = tmp_path / path.name
    for where, line in files.read_lines(path):
        files.append_line(again, files.parse_line(model_of(path), line, where=where))
    assert again.read_bytes() == path.read_bytes()


def test_what_is_left_out_reads_as_it_always_did(kept):
    bare = outcome.Outcome(
        base=outcome.SideRecord(name="main"), head=outcome.SideRecord(name="head")
    )
    models = [bare, *map(outcome.read_outcome, OUTCOMES.values())]
    models += record.read_records(MADE_UP)
    models += comparison.read_comparisons(MADE_UP)
    lines = {
        line
        for one in models
        for line in left_out(
            one.model_dump(mode="json"), one.model_dump(mode="json", exclude_defaults=True)
        )
    }
    kept("made-up/left_out.txt", "".join(sorted(lines)))


@pytest.mark.parametrize("path", sorted(PUBLISHED.glob("*.jsonl")), ids=lambda path: path.stem)
def test_each_published_line_says_the_same_when_it_is_written_again(path):
    for where, line in files.read_lines(path):
        found = files.parse_line(record.Record, line, where=where)
        again = json.loads(found.model_dump_json(exclude_defaults=True))
        assert {"schema_version": found.schema_version, **again} == json.loads(line)


@pytest.mark.parametrize("name", OUTCOMES)
def test_an_outcome_is_written_again_byte_by_byte(name, tmp_path):
    again = outcome.write_outcome(outcome.read_outcome(OUTCOMES[name]), tmp_path)
    assert again.read_bytes() == (OUTCOMES[name] / outcome.OUTCOME_FILE).read_bytes()


def test_accepted_changes_are_as_kept_in_their_file(kept, tmp_path):
    path = tmp_path / accepted.FILE
    found = outcome.read_outcome(OUTCOMES["made-up"]).findings
    accepted.accept(found, path, reason="wanted", at="2026-01-02T03:04:05+00:00")
    kept("outcomes/regressions.jsonl", path.read_text("utf-8"))


def test_what_was_accepted_is_accepted_when_it_is_read_again():
    known = accepted.read_accepted(GOLDEN / "outcomes" / accepted.FILE)
    found = outcome.read_outcome(OUTCOMES["made-up"]).findings
    assert "CHANGED" not in {one.verdict for one in accepted.apply_accepted(found, known)}
