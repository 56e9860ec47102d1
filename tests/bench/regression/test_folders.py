"""Two folders of records: what is compared, what is only shown, what is refused."""

import pytest

from bench.records.files import append_line
from bench.records.outcome import Outcome, SideRecord
from bench.records.record import Failure, MeasuredMemory, Timing
from bench.regression import folders
from tests.bench.regression.gated import RELU, counts, record, timed, where


def test_times_of_separate_runs_are_shown_and_not_judged():
    found = folders.compare_folders([timed(1.0)], [timed(2.0)])
    assert [(one.quantity, one.verdict, one.ratio) for one in found] == [
        ("time", "SHOWN", 2.0),
        ("memory", "SHOWN", 1.0),
    ]
    side = SideRecord(name="s")
    assert Outcome(base=side, head=side, findings=found).status == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [("device_name", "another"), ("driver", "2"), ("torch", "2.14.0"), ("threads", 2)],
)
def test_records_of_another_machine_are_refused_with_the_field(field, value):
    with pytest.raises(ValueError, match=rf"apnb 9x7: {field} differs: .* in the base, {value}"):
        folders.compare_folders([timed(1.0)], [timed(1.0, **{field: value})])


def test_records_of_another_precision_are_refused_with_the_field():
    other = {"matmul_precision": "tf32"}
    with pytest.raises(ValueError, match="matmul_precision differs: ieee in the base, tf32"):
        folders.compare_folders([timed(1.0)], [timed(1.0, flags=other)])


def test_predictions_of_another_processor_are_compared():
    sides = [record(environment=where(device_name=name)) for name in ("one", "other")]
    assert {one.verdict for one in folders.compare_folders([sides[0]], [sides[1]])} == {
        "SAME",
        "SHOWN",
    }


def test_of_folders_the_cells_that_both_have_are_judged():
    base = record(axes={"block": "apnb", "size": "9x7", "step": 1})
    head = record(axes={"block": "apnb", "size": "9x7", "step": 2})
    assert [one.verdict for one in folders.compare_folders([base], [head])] == ["NEW", "SHOWN"]


def test_a_time_that_one_folder_alone_has_is_compared_with_nothing():
    assert (
        folders.compare_folders([], [timed(1.0)]) == folders.compare_folders([timed(1.0)], []) == ()
    )


def test_records_that_do_not_say_where_they_are_from_are_compared():
    first, second = (timed(value).model_copy(update={"environment": None}) for value in (1.0, 2.0))
    assert [one.ratio for one in folders.compare_folders([first], [second])] == [2.0, 1.0]


def test_of_two_folders_what_was_timed_or_weighed_on_one_side_alone_is_not_shown():
    timing = Timing(clock="process", samples_s=(1.0,))
    only_timed = record(source="measured", timings=(timing,), environment=where())
    weighed = MeasuredMemory(high_water_bytes=1000)
    only_weighed = record(source="measured", memory=weighed, environment=where())
    found = [
        [one.quantity for one in folders.compare_folders([side], [timed(1.0)])]
        for side in (only_timed, only_weighed)
    ]
    assert found == [["time"], ["memory"]]


@pytest.mark.parametrize("base", [None, where()], ids=["no environment", "no commit"])
def test_folders_that_do_not_say_their_commits_have_no_comparisons(base, tmp_path):
    assert folders.by_turns(tmp_path, base, where(commit="c")) == ()


def test_of_a_cell_that_was_measured_twice_the_later_record_counts(tmp_path):
    for parameters in (1, 2):
        append_line(tmp_path / "records.jsonl", record(counts=counts(RELU, parameters=parameters)))
    (found,) = folders.read_folder(tmp_path)
    assert found.measures.counts.parameters == 2


def test_an_accident_of_a_machine_is_no_failure_of_the_code():
    late = timed(1.0).model_copy(update={"failure": Failure(kind="timeout", reason="r")})
    dead = timed(1.0).model_copy(update={"failure": Failure(kind="error", reason="r")})
    assert [one.verdict for one in folders.compare_folders([timed(1.0)], [late])] == ["SHOWN"]
    assert [one.verdict for one in folders.compare_folders([timed(1.0)], [dead])] == ["FAILED"]


def test_a_folder_without_records_of_a_run_is_refused(tmp_path):
    published = record().model_copy(update={"source": "published"})
    append_line(tmp_path / "records.jsonl", published)
    with pytest.raises(ValueError, match="has no records of a run"):
        folders.read_folder(tmp_path)
