"""Whatever is read from outside is read rightly or refused with a clear error; nothing else happens.

`FUZZ_EXAMPLES=100000 python -m pytest tests/test_hostile.py` tries as many inputs in each test.
"""

import copy
import io
import json
import os
import pickle
import zipfile
from argparse import Namespace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ann import checkpoints
from ann.spec import Size
from bench.records import files, record
from bench.training import progress
from experiments import variants
from reports import report
from reports.audit import audit
from reports.model import frame
from reports.model.table import Table
from reports.render import TerminalTable, csv, html, latex, markdown

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
FEWER = max(10, EXAMPLES // 10)
QUIET = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
KEPT = ROOT / "reports" / "reference" / "intel-xeon-2-cores"
LINES = [
    line
    for name in ("efficiency", "table1", "table2", "fig2", "counters", "table6")
    for line in (KEPT / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:24]
    if len(line) < 20_000
]
HOSTILE = (
    *("", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\x1b[31m", "\u202e", "|"),
    *("\\input{/etc/passwd}", "../../x", "javascript:alert(1)", "=1+1", "a\nb", "0x0", "1x1"),
    *(-1, 0, 2**63, 10**400, 1e308, -0.0, True, None, [], {}, [[]], "nan", "é" * 300),
)
words = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), st.integers(), st.floats())


def places(value, so_far=()):
    """Every place in a parsed line."""
    yield so_far
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value[:3])
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        yield from places(item, (*so_far, key))


@st.composite
def spoiled(draw, most=3):
    """A real record of which up to three places hold something else, or are gone."""
    line = json.loads(draw(st.sampled_from(LINES)))
    for _ in range(draw(st.integers(0, most))):
        *way, last = draw(st.sampled_from([place for place in places(line) if place]))
        holder = line
        for key in way:
            holder = holder[key]
        if draw(st.booleans()) and draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = copy.deepcopy(draw(words))
    return json.dumps(line)


def bent(content):
    """Bytes of which some are others, more or fewer."""

    @st.composite
    def made(draw):
        changed = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            at = draw(st.integers(0, len(changed) - 1))
            kind = draw(st.sampled_from(("set", "cut", "add", "drop")))
            if kind == "set":
                changed[at] = draw(st.integers(0, 255))
            elif kind == "cut":
                changed = changed[: at + 1]
            elif kind == "add":
                changed[at:at] = draw(st.binary(max_size=16))
            else:
                del changed[at : at + draw(st.integers(0, min(64, len(changed) - at - 1)))]
        return bytes(changed)

    return made()


def tried(work):
    """What it gives, or why it refuses."""
    try:
        return work(), ""
    except ValueError as error:
        return None, str(error)


def read_or_refused(line):
    found, refusal = tried(lambda: files.parse_line(record.Record, line, where="here:1"))
    if refusal:
        assert refusal.startswith("here:1: ")
        assert len(refusal) < 2_000
        return None
    assert files.parse_line(record.Record, found.model_dump_json(), where="again:1") == found
    return found


@settings(max_examples=EXAMPLES, **QUIET)
@given(st.one_of(spoiled(), st.text(max_size=200)))
def test_a_line_is_a_record_that_can_be_written_again_or_refused(line):
    read_or_refused(line)


@settings(max_examples=EXAMPLES, **QUIET)
@given(bent("\n".join(LINES[:4]).encode() + b"\n"))
def test_a_damaged_file_of_records_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "damaged.jsonl"
    path.write_bytes(content)
    found, refusal = tried(lambda: record.read_records(path))
    assert "damaged.jsonl" in refusal if refusal else all(found)


@settings(max_examples=EXAMPLES, **QUIET)
@given(
    st.one_of(st.text(max_size=20), st.from_regex(r"-?[0-9]{0,7}[xX*][0-9]{0,7}", fullmatch=True))
)
def test_a_size_is_what_was_written_or_refused(text):
    size, refusal = tried(lambda: Size.parse(text))
    if refusal:
        assert "size" in refusal
    else:
        assert [int(side) for side in text.split("x")] == [size.width, size.height]
        assert size.pixels > 0


@settings(max_examples=EXAMPLES, **QUIET)
@given(
    st.one_of(
        st.text(max_size=30),
        st.lists(
            st.sampled_from(("nb", "apnb", "fast", "sdpa", "mmseg/ann-r50", "a.b", "")), max_size=4
        ).map(":".join),
    )
)
def test_an_arm_is_what_was_written_or_refused(text):
    arm, refusal = tried(lambda: variants.parse(text))
    if refusal:
        assert "unknown" in refusal
    else:
        name, _, rest = text.partition(":")
        written = ":".join(filter(None, (variants.GALLERY.get(name, name), rest)))
        assert variants.write(*arm) in (text, text.removesuffix(":plain"), written)


class Escape(HTMLParser):
    """Collects what a record must not bring into a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        wrong = [
            name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")
        ]
        if tag in ("img", "iframe", "object") or wrong:
            self.found.append((tag, wrong))


@settings(max_examples=FEWER, **QUIET)
@given(st.lists(spoiled(most=2), min_size=1, max_size=6))
def test_tables_of_spoiled_records_are_rendered_or_refused(lines):
    found = [item for item in map(read_or_refused, lines) if item is not None]
    assume(found)
    made, refusal = tried(lambda: every_table(found))
    assert bool(made) != bool(refusal)
    for table in made or ():
        check(table)


def every_table(records):
    built = frame.build_frame(records)
    return [*report.report_tables(built), audit.audit_table(built)]


def check(table: Table):
    assert "\x1b" not in markdown.to_markdown(table)
    assert "\x1b" not in csv.to_csv(table)
    assert "\\input{/etc" not in latex.to_latex(table)
    TerminalTable(table)
    page = html.report_page([table], title=table.title)
    reader = Escape()
    reader.feed(page)
    assert not reader.found
    assert "<script>alert" not in page


def saved(content):
    made = io.BytesIO()
    torch.save(content, made)
    return made.getvalue()


STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.zeros(2)}
WEIGHTS = saved(STATE)
# As frameworks save them: objects beside the weights, averaged and wrapped ones.
OBJECTS = {
    "log": np.arange(3.0),
    "best": np.float64(1),
    "root": Path("a"),
    "settings": Namespace(a=1),
}
FRAMED = saved({"state_dict": {f"module.{key}": value for key, value in STATE.items()}} | OBJECTS)
TRAINING = saved({key: {} for key in progress.STATE_KEYS} | {"network": STATE})
PARTED = safetensors.torch.save(STATE)


class Log(Namespace):
    """Settings that hold something harmful."""

    def __init__(self, harm):
        super().__init__(harm=harm)

    def __reduce__(self):
        return Namespace, (), {"harm": self.harm}


class Harmful:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@settings(max_examples=EXAMPLES, **QUIET)
@given(content=st.one_of(st.binary(max_size=200), *map(bent, (WEIGHTS, FRAMED, TRAINING))))
def test_a_damaged_checkpoint_is_read_rightly_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    path.write_bytes(content)
    opened, refusal = tried(lambda: checkpoints.read(path))
    if refusal:
        assert path.name in refusal
        assert len(refusal) < 2_000
    else:
        assert opened.state.keys() == STATE.keys()
        assert all(torch.equal(opened.state[key], value) for key, value in STATE.items())


@settings(max_examples=EXAMPLES, **QUIET)
@given(content=st.one_of(st.binary(max_size=200), bent(PARTED)))
def test_a_damaged_file_of_safetensors_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(content)
    opened, refusal = tried(lambda: checkpoints.read(path))
    if refusal:
        assert path.name in refusal
    else:  # it has no checksums
        assert all(isinstance(item, torch.Tensor) for item in opened.state.values())


@settings(max_examples=EXAMPLES, **QUIET)
@given(content=st.one_of(st.binary(max_size=200), bent(TRAINING)))
def test_a_damaged_training_is_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "training.pt"
    path.write_bytes(content)
    state, refusal = tried(lambda: progress.load_training(path))
    assert path.name in refusal if refusal else state.keys() >= progress.STATE_KEYS


@pytest.mark.parametrize("reader", [checkpoints.read, progress.load_training])
@pytest.mark.parametrize("form", ["torch", "legacy", "pickle", "swapped", "beside"])
def test_a_harmful_checkpoint_runs_nothing(tmp_path, reader, form):
    harm, path = Harmful(tmp_path / "harmed"), tmp_path / "harmful.pth"
    # Beside weights that are good, and by way of what a reader knows.
    if form == "beside":
        torch.save({"state_dict": STATE, "kept": Log(harm)} | OBJECTS, path)
    elif form == "pickle":
        path.write_bytes(pickle.dumps(harm))
    elif form == "swapped":
        swap(path, pickle.dumps(harm, protocol=2))
    else:
        torch.save({"a": harm}, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(ValueError, match="harmful.pth"):
        reader(path)
    assert not (tmp_path / "harmed").exists()


def swap(path, payload):
    """Put a payload in the place of a good checkpoint's pickle."""
    with zipfile.ZipFile(io.BytesIO(WEIGHTS)) as good, zipfile.ZipFile(path, "w") as bad:
        for name in good.namelist():
            bad.writestr(name, payload if name.endswith("data.pkl") else good.read(name))
