"""How far a run is, how long it will take, and the lines that say so."""

import io
import threading
from dataclasses import replace

import pytest

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench.records.record import Failure, Record
from bench.run import Progress, Stage, plain_lines, progress, timestamp
from experiments.paper import table6, table7
from experiments.spec import Cell, TrainingJob
from experiments.training import Setting

CELLS = tuple(
    Cell(
        experiment="test",
        axes={"block": f"b{number}"},
        subject=BLOCKS["apnb"],
        size=Size(height=number, width=9),
    )
    for number in (8, 9, 10, 11)
)
TRAINING = next(cell for cell in table6.make(Setting()).cells if isinstance(cell, TrainingJob))


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def record_of(cell, source="measured", **changes):
    fields = {"created_at": timestamp(), **changes}
    axes = dict(cell.axes)
    return Record(
        source=source,
        experiment=cell.experiment,
        cell=cell.id,
        subject=cell.name,
        axes=axes,
        size=str(cell.size),
        **fields,
    )


def made(cells=CELLS, slots=1):
    clock = Clock()
    return Progress([Stage("measured", cells, slots)], clock=clock), clock


def test_what_is_left_takes_as_long_as_what_was_done():
    state, clock = made()
    clock.now_s = 7.0
    state.finish(record_of(CELLS[0]))
    assert (state.done, state.total, state.left_s) == (1, 4, pytest.approx(21.0))


def test_cells_at_once_are_expected_to_take_their_share():
    one, two = (made(slots=slots)[0].left_s for slots in (1, 2))
    assert two == pytest.approx(one / 2)


def test_time_that_passes_is_not_left():
    state, clock = made()
    before = state.left_s
    clock.now_s = 5.0
    assert state.left_s == pytest.approx(before - 5)


def test_records_of_earlier_runs_teach_nothing_about_time():
    state, clock = made()
    before = state.left_s
    state.finish(record_of(CELLS[0], created_at="2020-01-01T00:00:00+00:00"))
    assert state.left_s == pytest.approx(before * 3 / 4)
    clock.now_s = 3.0
    state.finish(record_of(CELLS[1]))
    assert state.left_s == pytest.approx(6.0)


def test_rows_of_one_measurement_are_expected_to_take_its_time_once():
    twin = replace(CELLS[0], experiment="other")
    assert made((CELLS[0], twin))[0].left_s == made((CELLS[0],))[0].left_s


def test_a_longer_training_is_expected_to_take_longer():
    short = replace(TRAINING, training=replace(TRAINING.training, iterations=2))
    long_s, short_s = (progress.expected_s(cell, "measured") for cell in (TRAINING, short))
    assert long_s > 5 * short_s


def test_what_runs_is_what_comes_next():
    state, _ = made(slots=2)
    state.finish(record_of(CELLS[1]))
    assert state.running == ("test b8 9x8", "test b10 9x10")


def test_words_of_a_page_count_and_name_what_runs():
    state, _ = made()
    counted, running, _ = state.words
    assert counted.startswith("0 of 4 records are there; about ")
    assert running == "Running now: test b8 9x8."


def test_predictions_are_over_when_the_last_one_is_there():
    state = Progress([Stage("predicted", CELLS[:1]), Stage("measured", CELLS[1:])])
    assert not state.is_predicted
    state.finish(record_of(CELLS[0], "predicted"))
    assert state.is_predicted


def test_each_measured_cell_has_a_line_and_one_without_a_reading_says_so():
    state, _ = made()
    stream = io.StringIO()
    failed = Failure(kind="timeout", reason="slow")
    absent = Failure(kind="unavailable", reason="measured on cuda alone")
    with plain_lines(state, stream) as tell:
        for record in (
            record_of(CELLS[0], "predicted"),
            record_of(CELLS[0]),
            record_of(CELLS[1], failure=failed),
            record_of(CELLS[1], failure=absent),
        ):
            state.finish(record)
            tell(record)
    first, second, third = stream.getvalue().splitlines()
    assert first.startswith("[2/4] test b8 9x8; about ")
    assert second.startswith("[3/4] test b9 9x9 failed (timeout); about ")
    assert third.startswith("[4/4] test b9 9x9 not run: measured on cuda alone; about ")


def test_rows_that_are_not_run_for_one_reason_have_two_lines():
    state, _ = made()
    stream = io.StringIO()
    absent = Failure(kind="unavailable", reason="measured on cuda alone")
    with plain_lines(state, stream) as tell:
        for failure in (absent, absent, absent, None):
            state.finish(record_of(CELLS[1], failure=failure))
            tell(record_of(CELLS[1], failure=failure))
    first, more, last = (line.partition(";")[0] for line in stream.getvalue().splitlines())
    assert first.endswith("test b9 9x9 not run: measured on cuda alone")
    assert more.endswith("2 more not run for that reason")
    assert last.endswith("] test b9 9x9")


def test_where_nothing_ends_for_long_a_line_says_what_runs():
    class Stream(io.StringIO):
        def flush(self):
            written.set()

    written = threading.Event()
    state, _ = made()
    stream = Stream()
    with plain_lines(state, stream, silence_s=0.001):
        assert written.wait(10)
    assert stream.getvalue().startswith("[0/4] running test b8 9x8; about ")


def test_a_row_of_samplers_is_named_by_its_own_axes():
    row = next(cell for cell in table7.make(Setting()).cells if isinstance(cell, TrainingJob))
    assert progress.describe(row) == "table7 random 15 256x64 seed 0"
