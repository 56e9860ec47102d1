"""The README's tables are what the kept records render to, and its commands are ones that exist."""

import importlib.util
import re
from pathlib import Path

import pytest

from bench.records import comparison, outcome, record
from reports.audit import audit
from reports.blocks import counters, efficiency_tables
from reports.crossover import tables as crossover
from reports.gate import comparisons, findings
from reports.model import frame
from reports.render import markdown
from reports.training import runs
from reports.training import tables as ablations

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDER = ROOT / "reports" / "reference" / "intel-xeon-2-cores"
JUDGED = outcome.read_outcome(FOLDER / "regression")
KEPT = frame.build_frame(record.read_records(FOLDER))
SHOWN = (
    *efficiency_tables(KEPT),
    audit.audit_table(KEPT),
    *(ablations.study_table(study) for study in runs.training_studies(KEPT)),
    *(
        table
        for table in crossover.crossover_tables(KEPT)
        if table.name in ("crossover", "crossover-exponents")
    ),
    *(table for table in counters.counter_tables(KEPT) if table.name == "counters-shares"),
    *comparisons.comparison_tables(comparison.read_comparisons(FOLDER)),
    *(table for table in findings.outcome_tables(JUDGED) if table.name in ("moved", "controls")),
)


@pytest.mark.parametrize("table", SHOWN, ids=lambda table: table.name)
def test_a_table_is_what_the_kept_records_render_to(table):
    body = markdown.to_markdown(table).split("\n", 2)[2].strip()
    assert body in README


def test_the_answer_of_the_shown_report_is_its_headline():
    assert f"**{markdown.escape_markdown(findings.headline(JUDGED))}**" in README


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", README))))
def test_a_command_names_a_module_that_is_there(module):
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("session", sorted(set(re.findall(r"nox -s (\w+)", README))))
def test_a_command_names_a_session_that_is_there(session):
    assert f"def {session}(session" in (ROOT / "noxfile.py").read_text(encoding="utf-8")
