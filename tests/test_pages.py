"""Tables and answers in docs/ are what the kept records render to; UPDATE_GOLDEN=1 writes the tables anew."""

import re
from functools import cache, partial
from pathlib import Path

import pytest

from bench.analysis import find_device
from bench.records import comparison, outcome, read_errors, record
from reports.agreement import agreement_tables
from reports.audit import audit
from reports.blocks import counters, efficiency_tables, estimated_time, validation
from reports.crossover import gallery_tables
from reports.crossover import tables as crossover
from reports.gate import comparisons, findings
from reports.model import frame, median_time, rows_of_experiment
from reports.render import markdown
from reports.report import report_tables
from reports.training import answers, runs, studies, verdict_tables
from reports.training import tables as ablations

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    name: ROOT / "docs" / f"{name}.md"
    for name in ("results", "estimates", "comparing", "accuracy", "audit")
}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
MARKS = [
    (page, mark)
    for page, text in TEXTS.items()
    for mark in re.findall(r"^<!-- table (.+) -->$", text, re.MULTILINE)
]
REFERENCE = ROOT / "reports" / "reference"
FOLDER = REFERENCE / "intel-xeon-2-cores"
# Of the days when the EPYC ran, by the recipe that it had.
SAME_RECIPE = REFERENCE / "intel-xeon-2-cores-ade1b8e"
# What the page of results has of the GPU, by name; a second crossover is that in bfloat16.
ON_GPU = (
    *("table1-measured", "table2-measured", "fig2", "precision-time", "precision-memory"),
    *("crossover", "crossover-2", "crossover-sizes", "crossover-sizes-2", "roofline-precision"),
    "validation",
)
# Trainings in other ways than the results', which stand on a page of their own.
OTHERWISE = {"frozen-float32", "frozen-sgd", "fine-tuned", "scenes-small"}


@cache
def kept(name):
    """The frame of the records of a machine."""
    return frame.build_frame(record.read_records(REFERENCE / name))


@cache
def trained():
    return studies.training_studies(kept(FOLDER.name))


def is_usual(study):
    return study.experiment != "schedule" and not OTHERWISE & {*study.setting.values()}


def estimated_tables():
    return validation.validation_tables(read_errors(REFERENCE / "gpu-timings" / "errors.jsonl"))


def judged():
    return outcome.read_outcome(FOLDER / "regression")


def on_results():
    rows, h200 = kept(FOLDER.name), find_device("h200")
    yield from efficiency_tables(rows)
    yield from gallery_tables(rows, {h200.title: partial(estimated_time, device=h200)})
    yield from estimated_tables()
    yield from (ablations.study_table(study) for study in trained() if is_usual(study))
    wanted = {"crossover", "crossover-exponents", "counters-shares", "moved", "controls"}
    some = (
        crossover.crossover_tables(rows),
        counters.counter_tables(rows),
        findings.outcome_tables(judged()),
    )
    yield from (table for tables in some for table in tables if table.name in wanted)
    yield from comparisons.comparison_tables(comparison.read_comparisons(FOLDER))


def on_accuracy():
    for study in trained():
        # Those of the heads stand in the comparison of recipes, and of the tuned ones there is one arm alone.
        apart = {"frozen-sgd", "frozen-float32", "fine-tuned"} & {*study.setting.values()}
        if not is_usual(study) and not apart:
            yield ablations.study_table(study)
        if runs.is_schedule(study):
            yield from verdict_tables.length_table(study)
    yield from (table for table in agreement_tables(kept(FOLDER.name)) if "recipe" in table.title)


def on_estimates():
    yield from estimated_tables()
    yield validation.coefficient_table()
    yield validation.interval_table()


def on_comparing():
    folders = (SAME_RECIPE, REFERENCE / "amd-epyc-2-cores")
    names = ("table1", "table6", "table7")
    files = [folder / f"{name}.jsonl" for folder in folders for name in names]
    rows = frame.build_frame([each for file in files for each in record.read_records(file)])
    yield from agreement_tables(rows)


@cache
def tables():
    """The tables by page and mark."""
    gpu = kept("nvidia-h200")
    of_gpu = [table for table in report_tables(gpu) if table.name in ON_GPU]
    return {
        **{("results", table.name): table for table in on_results()},
        **{("results", f"{table.name}, nvidia-h200"): table for table in of_gpu},
        **{("estimates", table.name): table for table in on_estimates()},
        **{("comparing", table.name): table for table in on_comparing()},
        **{("accuracy", table.name): table for table in on_accuracy()},
        ("audit", "audit, nvidia-h200"): audit.audit_table(gpu),
    }


def test_every_table_has_its_place_once():
    assert sorted(MARKS) == sorted(tables())


@pytest.mark.parametrize(("page", "mark"), MARKS)
def test_a_table_is_what_the_kept_records_render_to(kept_in_page, page, mark):
    kept_in_page(PAGES[page], mark, tables()[page, mark])


def test_the_answer_of_the_shown_report_is_its_headline():
    assert f"**{markdown.escape_markdown(findings.headline(judged()))}**" in TEXTS["results"]


def test_the_answers_on_accuracy_are_those_of_the_kept_records():
    told = 0
    for alike in studies.studies_by_setting(trained()):
        page = TEXTS["results" if is_usual(alike[0]) else "accuracy"]
        for answer in answers.accuracy_answers(alike):
            assert f"- {markdown.escape_markdown(answer)}" in page
            told += 1
    assert told > 20


def test_the_tuned_network_of_the_page_on_accuracy_has_the_kept_score():
    (tuned,) = (study for study in trained() if "fine-tuned" in study.setting.values())
    (score,) = (score for arm in tuned.arms for score in arm.scores().values())
    assert f"APNB reaches {score:.1f} %" in TEXTS["accuracy"]


def test_what_readme_and_results_say_of_the_gallery_is_so():
    rows = rows_of_experiment(kept(FOLDER.name), "gallery")
    by_block = {
        row["axes"]["block"]: row
        for row in rows
        if row["mode"] == "eval" and row["axes"]["block"] not in ("gc", "se")
    }
    least = {
        name: min(by_block, key=lambda block: by_block[block][name])
        for name in ("macs", "predicted_increment_bytes")
    }
    assert [*least.values()] == ["efficient-attention", "apnb-residual"]
    nb, heads = by_block["nb-residual"], by_block["mha"]
    assert heads["macs"] == 2 * nb["macs"]
    assert 6 < nb["predicted_increment_bytes"] / heads["predicted_increment_bytes"] < 7
    times = {name: median_time(row).median for name, row in by_block.items()}
    assert round(times["nb-residual"] / times["apnb-residual"]) == 7
    less = {name for name, time_s in times.items() if time_s < times["apnb-residual"]}
    assert less == {"pvtv2-linear", "efficient-attention"}
