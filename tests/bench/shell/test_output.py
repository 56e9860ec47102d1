"""`--json`: one object of one documented form from every command, and nothing else on standard output."""

import json
import os
import re
from pathlib import Path

import jsonschema
import pytest

import reports.__main__ as rendering
from bench import ablations, efficiency, look, reference, regress, validate
from bench.records import Outcome, Record, read_records
from bench.shell import lines
from bench.shell.output import CommandOutput
from reports import console
from tests.standing_in import stand_in

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "golden"
SCHEMAS = {
    "records.schema.json": Record,
    "output.schema.json": CommandOutput,
}
DOCUMENT = ROOT / "docs" / "json.md"
SMALL = "--channels 8 --key-channels 4 --size 9x7 --block nb"


def row():
    names = {"experiment": "e", "cell": "c", "subject": "nb", "axes": {}, "size": "1x1"}
    return Record(source="measured", **names)


def by_schema(name):
    """A reader that has nothing but the file that is shipped."""
    schema = json.loads((ROOT / "bench" / "shell" / name).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def given(capsys, tmp_path):
    """Call an entry point with `--json`; give its object."""

    def call(main, text, status=0):
        out = [] if main is rendering.main else ["--out", str(tmp_path)]
        assert main([*text.split(), *out, "--json"]) == status
        printed = capsys.readouterr().out
        assert by_schema("output.schema.json").is_valid(json.loads(printed))
        return CommandOutput.model_validate_json(printed)

    return call


def test_efficiency_gives_records_and_tables(given):
    output = given(efficiency.main, f"{SMALL} --device meta")
    assert [record.source for record in output.records] == ["predicted"]
    assert output.tables[0].columns[0] == "block"
    assert Path(output.folder, "records.jsonl").exists()


@pytest.mark.slow
def test_efficiency_gives_what_fits(given):
    output = given(efficiency.main, f"{SMALL} --fits t4")
    assert {fit.device for fit in output.fits} == {"t4"}


def test_predictions_of_devices_are_in_the_tables(given):
    output = given(efficiency.main, f"{SMALL} --predict t4")
    assert any("t4" in column for table in output.tables for column in table.columns)


def test_ablations_give_records_and_the_page(given, monkeypatch):
    monkeypatch.setattr(ablations, "run_experiments", lambda *_: (row(),))
    stand_in(monkeypatch, console, "write_report", lambda *_, **__: 0)
    output = given(ablations.main, "--table 6")
    assert output.records == (row(),)
    assert output.page == str(Path(output.folder, "report", "index.html"))


def test_a_new_device_gives_records(given, monkeypatch):
    monkeypatch.setattr(reference, "measured", lambda *_, **__: iter((row(),)))
    assert given(reference.main, "--device cpu --quiet").records == (row(),)


def test_a_look_gives_what_it_looked_at(given, monkeypatch):
    kind = look.KindResult(what="nb", seconds=1.0)
    monkeypatch.setattr(look, "_look_at_all", lambda *_, **__: iter((kind,)))
    assert [each.what for each in given(reference.main, "--look --device cpu").looked_at] == ["nb"]


def test_the_gate_gives_its_outcome(given, monkeypatch):
    (kept,) = (GOLDEN / "made-up" / "regression").glob("*.json")
    outcome = Outcome.model_validate_json(kept.read_text(encoding="utf-8"))
    monkeypatch.setattr(regress, "run_gate", lambda *_, **__: outcome)
    output = given(regress.main, "--base HEAD --device cpu", status=outcome.status)
    assert output.outcome.findings == outcome.findings


def test_a_history_gives_its_table_and_page(given):
    output = given(regress.main, f"history {GOLDEN / 'made-up'}")
    assert Path(output.page).exists()


def test_a_check_of_comparisons_gives_trials(given):
    output = given(validate.main, "--harness --simulations 20")
    assert {trial.total for trial in output.trials} == {20}


def test_a_report_gives_its_tables(given):
    output = given(rendering.main, str(GOLDEN / "made-up"))
    assert "audit" in {table.name for table in output.tables}


def as_file(model):
    return json.dumps(model.model_json_schema(), indent=1) + "\n"


def kept_lines():
    """One line of each kind in each file that was kept, without the matrices, which take seconds."""
    for path in sorted((ROOT / "reports" / "reference").rglob("*.jsonl")):
        kinds = set()
        for line in path.read_text(encoding="utf-8").splitlines():
            fields = json.loads(line)
            kind = (fields.get("source"), fields.get("experiment"), len(fields))
            if "source" in fields and kind not in kinds and len(line) < 20_000:
                kinds.add(kind)
                yield path, fields


def test_kept_records_are_valid_by_the_schema_that_is_shipped():
    schema, seen = by_schema("records.schema.json"), 0
    for path, fields in kept_lines():
        assert schema.is_valid(fields), (path, next(schema.iter_errors(fields)).message)
        seen += 1
    assert seen > 50


@pytest.mark.parametrize(
    "change",
    [
        {"source": "guessed"},
        {"axes": 3},
        {"measures": {"counts": {"parameters": "many"}}},
        {"environment": {"device": "cpu"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_no_record_is_refused_by_the_schema_at_its_place(change):
    fields = json.loads(row().model_dump_json(exclude_none=True)) | change
    (error,) = by_schema("records.schema.json").iter_errors(fields)
    assert error.absolute_path[0] == next(iter(change))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_that_is_shipped_is_that_of_the_model(name):
    path = ROOT / "bench" / "shell" / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(as_file(SCHEMAS[name]), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == as_file(SCHEMAS[name])


def test_the_schema_has_the_names_that_are_on_file():
    properties = Record.model_json_schema()["$defs"]["Measures"]["properties"]
    assert {*row().measures.model_dump()} == {*properties}


def table_of_fields():
    rows = [f"| `{name}` | {f.description} |" for name, f in CommandOutput.model_fields.items()]
    return "\n".join(["| field | what it is |", "|---|---|", *rows])


def test_the_document_has_every_field():
    text = DOCUMENT.read_text(encoding="utf-8")
    if os.environ.get("UPDATE_GOLDEN"):
        text = re.sub(r"\| field \|.*?\n(?=\n)", table_of_fields() + "\n", text, flags=re.DOTALL)
        DOCUMENT.write_text(text, encoding="utf-8")
    assert table_of_fields() in text


def test_a_log_gets_a_line_in_ten_seconds(capsys):
    now = iter((0.0, 4.0, 10.0, 15.0, 25.0))
    steps = lines.PlainLines(4, clock=lambda: next(now))
    for name in ("first", "second", "third", "last"):
        steps.step(name)
    assert capsys.readouterr().err == "[2/4] second; about 10 s left\n[4/4] last; about 0 s left\n"


# The oldest forms that were written, beside those that `test_kept_lines.py` keeps.
OLDEST = {
    "source": "measured", "experiment": "e", "cell": "c", "subject": "nb", "axes": {"size": "1x1"}, "size": "1x1",
    "measures": {"rivals": [{"tool": "fvcore", "reported": 3}]},
}  # fmt: skip


def test_a_record_of_the_first_form_is_read(tmp_path):
    (tmp_path / "records.jsonl").write_text(json.dumps(OLDEST) + "\n")
    (record,) = read_records(tmp_path)
    assert record.measures.counters[0].reported == 3
    assert record.schema_version == 1
