"""README and the page of results say what the kept records say, and their commands are ones that exist."""

import importlib.util
import re
from collections import Counter
from pathlib import Path

import pytest

from bench.records import read_errors, record
from reports.audit import audit
from reports.blocks import validation
from reports.model import frame, median_time, rows_of_experiment

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
# A person reads it before anything else.
MOST_README_BYTES = 14_000
REFERENCE = ROOT / "reports" / "reference"
ERRORS = REFERENCE / "gpu-timings" / "errors.jsonl"


@pytest.fixture(scope="module")
def gpu():
    return frame.build_frame(record.read_records(REFERENCE / "nvidia-h200"))


def test_the_readme_is_short():
    assert len(README.encode()) <= MOST_README_BYTES


def gpu_times_ms(gpu, arm):
    """Times of one call at 256x128 in float32, TF32 and bfloat16, as the README prints them."""
    rows = {
        row["dtype"]: row
        for row in rows_of_experiment(gpu, "precision")
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
def test_the_readme_s_times_are_those_of_the_kept_records(gpu, arm, form):
    memory = next(
        row["requested_bytes"]
        for row in rows_of_experiment(gpu, "precision")
        if (row["axes"]["block"], row["dtype"], row["size"]) == (arm, "float32", "256x128")
    )
    cells = [*gpu_times_ms(gpu, arm), f"{memory / 2**20:.0f}"]
    assert f"| {form} | {' | '.join(cells)} |" in README


def test_the_readme_counts_the_verdicts_of_the_audit(gpu):
    verdicts = Counter(row[2] for row in audit.audit_table(gpu).rows)
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


def test_estimates_of_devices_that_were_left_out_are_below_the_published_errors():
    rows = {row.of: row for row in read_errors(ERRORS) if row.device == "all"}
    for name, published in validation.NEUSIGHT.items():
        assert 100 * rows[name].mean < published, name
    assert rows["convolution"].median < 0.2
    assert all(0.85 <= row.covered <= 0.95 for row in rows.values())
    assert all(row.above == 0 for row in rows.values())


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([\w.]+)", README + RESULTS))))
def test_a_command_names_a_module_that_is_there(module):
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("session", sorted(set(re.findall(r"nox -s (\w+)", README + RESULTS))))
def test_a_command_names_a_session_that_is_there(session):
    assert f"def {session}(session" in (ROOT / "noxfile.py").read_text(encoding="utf-8")
