"""README and the page of results say what the kept records say, and their commands are ones that exist."""

import importlib.util
import re
from collections import Counter
from functools import partial
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
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
# A person reads it before anything else.
MOST_README_BYTES = 14_000
FOLDER = ROOT / "reports" / "reference" / "intel-xeon-2-cores"
ERRORS = ROOT / "reports" / "reference" / "gpu-timings" / "errors.jsonl"
ESTIMATED = validation.validation_tables(read_errors(ERRORS))
# Of the days when the EPYC ran, by the recipe that it had.
SAME_RECIPE = FOLDER.with_name("intel-xeon-2-cores-ade1b8e")
AGREED = frame.build_frame(
    [
        kept
        for folder in (SAME_RECIPE, FOLDER.with_name("amd-epyc-2-cores"))
        for name in ("table1", "table6", "table7")
        for kept in record.read_records(folder / f"{name}.jsonl")
    ]
)
MEASURING = (ROOT / "docs" / "measuring.md").read_text(encoding="utf-8")
GPU = frame.build_frame(record.read_records(FOLDER.with_name("nvidia-h200")))
# What stands there of the GPU, by name; a second crossover is that in bfloat16.
ON_GPU = (
    *("table1-measured", "table2-measured", "fig2", "precision-time", "precision-memory"),
    *("crossover", "crossover-2", "crossover-sizes", "crossover-sizes-2", "roofline-precision"),
    "validation",
)
JUDGED = outcome.read_outcome(FOLDER / "regression")
KEPT = frame.build_frame(record.read_records(FOLDER))
H200 = find_device("h200")
# Trainings in other ways than the README's, which stand on a page of their own.
OTHERWISE = ("frozen-float32", "frozen-sgd", "fine-tuned", "scenes-small")
DEPENDS = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")


def is_usual(study):
    return study.experiment != "schedule" and not {*OTHERWISE} & {*study.setting.values()}


STUDIES = studies.training_studies(KEPT)
OTHERS = [study for study in STUDIES if not is_usual(study)]
SHOWN = (
    *efficiency_tables(KEPT),
    *gallery_tables(KEPT, {H200.title: partial(estimated_time, device=H200)}),
    *ESTIMATED,
    *(table for table in report_tables(GPU) if table.name in ON_GPU),
    *(ablations.study_table(study) for study in STUDIES if is_usual(study)),
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
    assert body in RESULTS


def test_the_readme_is_short():
    assert len(README.encode()) <= MOST_README_BYTES


def gpu_times_ms(arm):
    """Times of one call at 256x128 in float32, TF32 and bfloat16, as the README prints them."""
    rows = {
        row["dtype"]: row
        for row in rows_of_experiment(GPU, "precision")
        if (row["axes"]["block"], row["size"], row["mode"]) == (arm, "256x128", "eval")
    }
    times = (1e3 * median_time(rows[name]).median for name in ("float32", "tf32", "bfloat16"))
    return [f"{time_ms:.1f}" if time_ms >= 10 else f"{time_ms:.2f}" for time_ms in times]


@pytest.mark.parametrize(
    ("arm", "form"),
    [
        ("nb", "NB | as published"),
        ("nb:sdpa", "NB | fused attention, `nb:sdpa`"),
        ("apnb", "APNB | as published"),
        ("apnb:fast", "APNB | `apnb:fast`"),
        ("apnb:triton", "APNB | our kernels, `apnb:triton`"),
    ],
)
def test_the_readme_s_times_are_those_of_the_kept_records(arm, form):
    memory = next(
        row["requested_bytes"]
        for row in rows_of_experiment(GPU, "precision")
        if (row["axes"]["block"], row["dtype"], row["size"]) == (arm, "float32", "256x128")
    )
    cells = [*gpu_times_ms(arm), f"{memory / 2**20:.0f}"]
    assert f"| {form} | {' | '.join(cells)} |" in README


def test_the_readme_counts_the_verdicts_of_the_audit():
    verdicts = Counter(row[2] for row in audit.audit_table(GPU).rows)
    lines = {
        "reproduced": "reproduced",
        "paper's protocol only": "come out by the paper's own procedure only",
        "not derivable": "can be counted, and no way of counting gives them",
        "not reproduced": "not reproduced (6 times faster: 5.3)",
        "not checked here": "need a Titan Xp, or a GPU that the paper does not name",
    }
    assert set(verdicts) == set(lines)
    for verdict, words in lines.items():
        assert f"| {words} | {verdicts[verdict]} |" in README


def test_the_readme_s_errors_of_estimates_are_those_of_the_kept_fit():
    names = {"bmm": "batched products", "linear": "linear layers", "convolution": "convolutions"}
    for row in (row for row in read_errors(ERRORS) if row.device == "all"):
        published = validation.NEUSIGHT.get(row.of)
        cells = (
            row.kernels,
            f"{100 * row.mean:.1f}",
            f"{100 * row.median:.1f}",
            "-" if published is None else f"{published:.1f}",
        )
        assert f"| {names.get(row.of, row.of)} | {' | '.join(map(str, cells))} |" in README


@pytest.mark.parametrize(
    "table",
    [
        *ESTIMATED,
        validation.coefficient_table(),
        validation.interval_table(),
        *agreement_tables(AGREED),
    ],
    ids=lambda table: table.name,
)
def test_a_table_of_the_page_on_measuring_is_what_records_render_to(table):
    assert markdown.to_markdown(table).split("\n", 2)[2].strip() in MEASURING


def test_estimates_of_devices_that_were_left_out_are_below_the_published_errors():
    rows = {row.of: row for row in read_errors(ERRORS) if row.device == "all"}
    for name, published in validation.NEUSIGHT.items():
        assert 100 * rows[name].mean < published, name
    assert rows["convolution"].median < 0.2
    assert all(0.85 <= row.covered <= 0.95 for row in rows.values())
    assert all(row.above == 0 for row in rows.values())


def test_the_answer_of_the_shown_report_is_its_headline():
    assert f"**{markdown.escape_markdown(findings.headline(JUDGED))}**" in RESULTS


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", README + RESULTS))))
def test_a_command_names_a_module_that_is_there(module):
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("session", sorted(set(re.findall(r"nox -s (\w+)", README + RESULTS))))
def test_a_command_names_a_session_that_is_there(session):
    assert f"def {session}(session" in (ROOT / "noxfile.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "alike", studies.studies_by_setting(STUDIES), ids=lambda alike: alike[0].name
)
def test_the_answers_on_accuracy_are_those_of_the_kept_records(alike):
    page = RESULTS if is_usual(alike[0]) else DEPENDS
    for answer in answers.accuracy_answers(alike):
        assert f"- {markdown.escape_markdown(answer)}" in page


@pytest.mark.parametrize(
    "table",
    [
        *(
            ablations.study_table(study)
            for study in OTHERS
            # Those of the heads stand in the comparison of recipes, and of the tuned ones there is one arm alone.
            if not {"frozen-sgd", "frozen-float32", "fine-tuned"} & {*study.setting.values()}
        ),
        *(
            table
            for study in OTHERS
            if runs.is_schedule(study)
            for table in verdict_tables.length_table(study)
        ),
        *(table for table in agreement_tables(KEPT) if "recipe" in table.title),
    ],
    ids=lambda table: table.name,
)
def test_a_table_of_the_page_on_accuracy_is_what_records_render_to(table):
    assert markdown.to_markdown(table).split("\n", 2)[2].strip() in DEPENDS


def test_the_tuned_network_of_the_page_on_accuracy_has_the_kept_score():
    (tuned,) = (study for study in OTHERS if "fine-tuned" in study.setting.values())
    (score,) = (score for arm in tuned.arms for score in arm.scores().values())
    assert f"APNB reaches {score:.1f} %" in DEPENDS


def test_what_readme_and_results_say_of_the_gallery_is_so():
    rows = [row for row in rows_of_experiment(KEPT, "gallery") if row["mode"] == "eval"]
    by_block = {
        row["axes"]["block"]: row for row in rows if row["axes"]["block"] not in ("gc", "se")
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
