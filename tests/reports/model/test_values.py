"""Times, failures and ratios of one row."""

import pytest

from bench.records.record import Failure, MeasuredMemory, Measures, Timing
from reports.model import frame, values
from reports.model.table import Interval, Mark


def timing(samples, **fields):
    return Timing(clock="wall", samples_s=tuple(samples), **fields)


def test_the_median_is_of_the_samples_that_were_kept():
    found = values.time_interval(timing([1.0] * 12 + [9.0] * 20, rejected=tuple(range(12, 32))))
    assert found.median == 1.0


def test_where_all_were_rejected_all_count_and_the_value_is_inconclusive():
    found = values.time_interval(timing([1.0] * 12, rejected=tuple(range(12))))
    assert (found.median, found.inconclusive) == (1.0, True)
    assert "rejected" in found.note


def test_few_samples_are_inconclusive_and_have_no_interval():
    found = values.time_interval(timing([1.0, 1.0, 1.0]))
    note = "calls that fitted into the time: 3"
    assert found == Interval(1.0, None, None, inconclusive=True, note=note)


@pytest.mark.parametrize(("clock", "inconclusive"), [("cuda-events", True), ("wall", False)])
def test_a_processor_may_waver_more_than_a_gpu(clock, inconclusive):
    samples = [1.0 + 0.03 * (index // 10 % 3 - 1) for index in range(120)]
    made = Timing(clock=clock, samples_s=tuple(samples))
    assert values.time_interval(made).inconclusive is inconclusive


def test_many_even_samples_are_conclusive():
    found = values.time_interval(timing([1.0] * 30))
    assert found == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(("field", "word"), [("host_bound", "host-bound"), ("steady", "steady")])
def test_doubts_of_the_timer_are_noted(field, word):
    found = values.time_interval(timing([1.0] * 30, **{field: field == "host_bound"}))
    assert word in found.note


def test_what_was_seen_of_the_call_is_noted():
    found = values.time_interval(timing([1.0] * 30, steady=False, caveats=("returns its input",)))
    assert found.note == "the warm-up never became steady; returns its input"


def row_of(make, *records):
    built = frame.build_frame(records)
    return built[built["protocol"] != "published"].to_dict("records")[0]


def test_gpu_events_come_before_the_host_clock(make):
    timings = tuple(
        Timing(clock=clock, samples_s=(time,))
        for clock, time in (("wall", 2.0), ("cuda-events", 1.0))
    )
    row = row_of(make, make.measured("nb", "96x96", measures=Measures(timings=timings)))
    assert values.time_value(row).median == 1.0


def test_a_failure_stands_in_the_place_of_the_time(make):
    failure = Failure(kind="out-of-memory", reason="tried 8 GiB", needs_bytes=8 * 2**30)
    row = row_of(make, make.measured("nb", "96x96", failure=failure))
    assert values.time_value(row) == Mark("out of memory: tried 8 GiB", "needs 8.0 GiB")


def test_a_row_without_a_measured_record_says_so(make):
    row = row_of(make, make.predicted("nb", "96x96"))
    assert values.time_value(row) == values.UNMEASURED


def test_workspace_is_measured_minus_predicted(make):
    row = row_of(
        make, make.predicted("nb", "96x96"), make.measured("nb", "96x96", memory=700 * 2**20)
    )
    assert values.workspace(row) == 25 * 2**20


@pytest.mark.parametrize(
    ("read", "shown"),
    [
        (675.1, ("675.1", "<0.25")),
        (674.9, ("674.9", "<0.25")),
        (674.0, ("674.0", "-1.0")),
        (0.1, ("<0.25", "<0.25")),
    ],
)
def test_what_a_reading_does_not_resolve_is_no_number(make, read, shown):
    reading = MeasuredMemory(high_water_bytes=round(read * 2**20), resolution_bytes=2**18)
    row = row_of(
        make,
        make.predicted("nb", "96x96"),
        make.measured("nb", "96x96", measures=Measures(memory=reading)),
    )
    found = values.measured_memory(row), values.workspace(row)
    texts = [each.text if isinstance(each, Mark) else f"{each / 2**20:.1f}" for each in found]
    assert tuple(texts) == shown


@pytest.mark.parametrize(("above", "below"), [(None, 1.0), (1.0, None), (1.0, 0), (Mark("x"), 1.0)])
def test_a_ratio_is_never_made_up(above, below):
    assert values.ratio_of(above, below) is None


def test_an_operator_without_a_time_adds_nothing_to_its_group(make):
    (timed,) = row_of(make, make.operations("nb", {"matmul": 0.25}))["operations"]
    silent = timed.model_copy(update={"samples_s": ()})
    assert values.group_times((timed, silent)) == {"matmul": pytest.approx(0.25)}


def test_group_times_add_the_medians_of_their_operators(make):
    row = row_of(make, make.operations("nb", {"matmul": 0.25, "softmax": 0.5}))
    doubled = values.group_times((*row["operations"], *row["operations"]))
    assert doubled == {"matmul": pytest.approx(0.5), "softmax": pytest.approx(1.0)}
