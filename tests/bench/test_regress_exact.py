"""The exact gates: what is compared between two records of a cell, and what is accepted."""

import math

import pytest
import torch

from bench.jsonl import append
from bench.pairing_record import Agreement
from bench.record import (
    Checksum,
    Counts,
    Environment,
    Failure,
    MeasuredMemory,
    Measures,
    Operator,
    PredictedMemory,
    Record,
    Timing,
)
from bench.regression import accepted, exact, folders, outcome
from bench.regression.outcome import Finding, Outcome, Side, worst_first
from bench.regression.worker import checksum


def operator(name, calls=1, macs=0):
    return Operator(name=name, status="counted", calls=calls, macs=macs, flops=2 * macs)


MULTIPLY = operator("aten.mm", calls=2, macs=100)
RELU = operator("aten.relu")


def counts(*ledger, parameters=10):
    return Counts(
        parameters=parameters,
        buffers=0,
        macs=sum(one.macs for one in ledger),
        flops=0,
        ledger=ledger,
    )


def predicted(peak=1000):
    return PredictedMemory(
        peak_bytes=peak,
        increment_bytes=peak - 100,
        input_bytes=50,
        parameter_bytes=50,
        peak_operator="aten.mm",
    )


def record(*, axes=None, source="predicted", failure=None, environment=None, **measures):
    usual = {"counts": counts(MULTIPLY, RELU), "predicted": predicted()}
    given = measures if source == "measured" else {**usual, **measures}
    return Record(
        source=source,
        experiment="regress",
        cell="0",
        subject="apnb",
        axes=axes or {"block": "apnb", "size": "9x7"},
        size="9x7",
        measures=Measures(**given),
        failure=failure,
        environment=environment,
    )


def outputs(mix=0.5, shape=(2, 3)):
    return (Checksum(shape=shape, mean=0.1, spread=1.0, mix=mix, largest=2.0),)


def moved(base, head, **options):
    found = exact.compare(base, head, **options)
    return {one.quantity: (one.before, one.after) for one in found if one.verdict == "CHANGED"}


def test_equal_records_have_nothing_but_equal_quantities():
    found = exact.compare(record(outputs=outputs()), record(outputs=outputs()))
    assert {one.verdict for one in found} == {"SAME"}
    assert [one.quantity for one in found] == [
        "parameters",
        "buffers",
        "MACs",
        "calls of operators",
        "predicted peak",
        "predicted memory of a call",
        "outputs",
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"counts": counts(MULTIPLY, RELU, parameters=11)}, {"parameters": (10, 11)}),
        (
            {"predicted": predicted(1001)},
            {"predicted peak": (1000, 1001), "predicted memory of a call": (900, 901)},
        ),
        (
            {"counts": counts(operator("aten.mm", calls=2, macs=101), RELU)},
            {"MACs": (100, 101), "MACs of aten.mm": (100, 101)},
        ),
        (
            {"counts": counts(MULTIPLY, operator("aten.gelu"))},
            {"calls of aten.gelu": (0, 1), "calls of aten.relu": (1, 0)},
        ),
        (
            {"counts": counts(operator("aten.mm", calls=3, macs=100), RELU)},
            {"calls of operators": (3, 4), "calls of aten.mm": (2, 3)},
        ),
    ],
)
def test_each_quantity_that_moved_is_named_with_both_values(change, expected):
    assert moved(record(), record(**change)) == expected


def test_less_is_a_change_too():
    (found,) = [
        one
        for one in exact.compare(record(), record(counts=counts(MULTIPLY, RELU, parameters=5)))
        if one.verdict == "CHANGED"
    ]
    assert (found.verdict, found.ratio) == ("CHANGED", 0.5)


@pytest.mark.parametrize(
    ("error", "dtype", "verdict"),
    [
        (1e-5, "float32", "SAME"),
        (1.1e-5, "float32", "CHANGED"),
        (1e-5, "float64", "CHANGED"),
        (1e-12, "float64", "SAME"),
        (2e-2, "tf32", "SAME"),
        (2e-2, "float16", "SAME"),
        (2.1e-2, "float16", "CHANGED"),
        (0.1, "bfloat16", "SAME"),
        (0.11, "bfloat16", "CHANGED"),
        (2e-2, "autocast-float16", "SAME"),
        (2.1e-2, "autocast-float16", "CHANGED"),
        (0.1, "autocast-bfloat16", "SAME"),
        (0.11, "autocast-bfloat16", "CHANGED"),
    ],
)
def test_outputs_may_differ_by_the_tolerance_of_their_format(error, dtype, verdict):
    sides = [record(outputs=outputs()).model_copy(update={"dtype": dtype}) for _ in range(2)]
    found = exact.compare(*sides, agreement=Agreement(max_relative_error=error))[-1]
    assert (found.quantity, found.verdict) == ("outputs", verdict)
    assert f"they differ by {error:.1e} of the largest" in found.reason


def test_without_the_outputs_their_checksums_are_compared_as_a_share_of_the_largest():
    assert moved(record(outputs=outputs(0.5)), record(outputs=outputs(0.5 + 1.9e-5))) == {}
    assert "outputs" in moved(record(outputs=outputs(0.5)), record(outputs=outputs(0.5 + 2.1e-5)))


def test_outputs_of_another_shape_are_a_change():
    found = exact.compare(record(outputs=outputs()), record(outputs=outputs(shape=(3, 2))))[-1]
    assert found.verdict == "CHANGED"
    assert found.reason == "outputs are of other shapes: (2, 3) and (3, 2)"


def test_outputs_of_zeros_on_both_sides_are_the_same():
    zero = (Checksum(shape=(2,), mean=0, spread=0, mix=0, largest=0),)
    sides = [record(outputs=zero) for _ in range(2)]
    found = exact.compare(*sides, agreement=Agreement(reason="all outputs are zero"))[-1]
    assert found.verdict == "SAME"


def test_a_checksum_notices_two_values_that_changed_places():
    values = torch.arange(12.0).view(3, 4)
    swapped = values.flip(0)
    one, other = checksum(values), checksum(swapped)
    assert (one.mean, one.spread, one.largest) == (other.mean, other.spread, other.largest)
    assert one.mix != other.mix
    assert one.spread == pytest.approx(float(values.square().mean().sqrt()))


def test_an_output_that_is_not_finite_has_no_checksum():
    with pytest.raises(ValueError, match="empty or not finite"):
        checksum(torch.tensor([1.0, math.nan]))


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [(None, "error", "FAILED"), ("error", None, "FIXED"), ("error", "error", "SHOWN")],
)
def test_a_cell_that_stops_running_is_a_failure(base, head, verdict):
    sides = [
        record(failure=Failure(kind=kind, reason="r") if kind else None) for kind in (base, head)
    ]
    (found,) = exact.compare(*sides)
    assert (found.quantity, found.verdict) == ("runs", verdict)


def test_a_failure_is_told_with_its_side_and_reason():
    late, dead = Failure(kind="timeout", reason="late"), Failure(kind="error", reason="dead")
    (failed,) = exact.compare(record(), record(failure=late))
    assert (failed.before, failed.after, failed.reason) == ("yes", "timeout", "head: late")
    (both,) = exact.compare(record(failure=dead), record(failure=late))
    assert (both.before, both.after, both.reason) == ("error", "timeout", "base: dead; head: late")


def test_a_cell_of_one_side_alone_says_where_it_is():
    gone, new = exact.gone(record()), exact.new(record())
    assert (gone.verdict, gone.before, gone.after) == ("CHANGED", "there", "gone")
    assert (new.verdict, new.before, new.after) == ("NEW", "not there", "there")


def test_what_one_side_did_not_count_is_not_compared():
    found = exact.compare(record(counts=None), record(predicted=None))
    assert [one.quantity for one in found] == ["outputs"]


def test_bytes_and_operations_have_their_units():
    units = [one.unit for one in exact.compare(record(), record())]
    assert units == ["", "", "MAC", "calls", "bytes", "bytes", "checksum"]


def test_checksums_that_one_side_lacks_are_not_compared():
    found = exact.compare(record(outputs=outputs()), record())[-1]
    assert (found.verdict, found.before, found.after) == ("SHOWN", 0.5, None)


def test_a_cell_is_named_without_what_is_usual():
    axes = {"block": "apnb", "size": "9x7", "key_channels": 4}
    assert exact.name_of(record(axes=axes)) == "apnb 9x7 key channels 4"
    unusual = {"implementation": "fast", "mode": "train", "dtype": "float16", "batch": 2}
    named = exact.name_of(record(axes=axes).model_copy(update=unusual))
    assert named == "apnb:fast 9x7 key channels 4 float16 train batch 2"
    other = record().model_copy(update={"experiment": "table1", "protocol": "paper"})
    assert exact.name_of(other) == "table1: apnb 9x7 paper protocol"


def test_outputs_that_nobody_has_are_said_not_to_be_compared():
    found = exact.compare(record(), record())[-1]
    assert (found.quantity, found.verdict) == ("outputs", "SHOWN")
    assert found.reason.startswith("not compared: ")


def test_an_output_that_is_no_tensor_any_more_is_a_change():
    agreement = Agreement(reason="outputs are of other shapes: (2, 3) and no tensor")
    found = exact.compare(record(outputs=outputs()), record(), agreement=agreement)[-1]
    assert (found.verdict, found.reason) == ("CHANGED", agreement.reason)


def change(**fields):
    usual = {"cell": "apnb 9x7", "quantity": "MACs", "kind": "exact", "verdict": "CHANGED"}
    return Finding(**{**usual, "before": 10, "after": 11, **fields})


def test_an_accepted_change_is_read_by_later_runs_and_holds_for_itself_alone(tmp_path):
    path = tmp_path / "regressions.jsonl"
    same = change(verdict="SAME", quantity="parameters")
    made = accepted.accept([change(), same], path, reason=" wanted ", at="2026-01-01")
    assert len(made) == 1
    known = accepted.read(path)
    (found,) = accepted.apply([change()], known)
    assert (found.verdict, found.reason) == ("ACCEPTED", "accepted: wanted")
    others = [change(after=12), change(before=9), change(cell="nb 9x7"), change(quantity="buffers")]
    assert accepted.apply(others, known) == tuple(others)


def test_accepted_outputs_are_those_with_nearly_the_checksum_that_was_accepted(tmp_path):
    path = tmp_path / "regressions.jsonl"
    seen = change(quantity="outputs", before=0.5, after=0.25)
    known = accepted.accept([seen], path, reason="another function", at="")
    near = seen.model_copy(update={"after": 0.25 * (1 + 1e-4)})
    far = seen.model_copy(update={"after": 0.25 * 1.01})
    assert [one.verdict for one in accepted.apply([near, far], known)] == ["ACCEPTED", "CHANGED"]


def test_a_failure_cannot_be_accepted(tmp_path):
    failed = change(verdict="FAILED", quantity="runs", before="yes", after="error")
    assert accepted.accept([failed], tmp_path / "a.jsonl", reason="r", at="") == ()


def test_accepting_needs_a_reason(tmp_path):
    with pytest.raises(ValueError, match="--accept needs a reason"):
        accepted.accept([change()], tmp_path / "a.jsonl", reason=" ", at="")


def test_a_torn_or_foreign_line_of_accepted_changes_is_named(tmp_path):
    path = tmp_path / "regressions.jsonl"
    path.write_text('{"cell": "a"}\n')
    with pytest.raises(ValueError, match=r"regressions.jsonl:1: quantity: Field required"):
        accepted.read(path)


def where(**fields):
    usual = {
        "device": "cpu",
        "device_name": "a processor",
        "cores": 2,
        "threads": 1,
        "memory_bytes": 1,
        "os": "Linux",
        "python": "3.11.0",
        "torch": "2.15.0",
        "flags": {"matmul_precision": "ieee"},
    }
    return Environment(**{**usual, **fields})


def timed(seconds, **fields):
    timing = Timing(clock="process", samples_s=(seconds,) * 3)
    memory = MeasuredMemory(high_water_bytes=1000)
    return record(source="measured", timings=(timing,), memory=memory, environment=where(**fields))


def test_times_of_separate_runs_are_shown_and_not_judged():
    found = folders.compare([timed(1.0)], [timed(2.0)])
    assert [(one.quantity, one.verdict, one.ratio) for one in found] == [
        ("time", "SHOWN", 2.0),
        ("memory", "SHOWN", 1.0),
    ]
    side = Side(name="s")
    assert Outcome(base=side, head=side, findings=found).status == 3


@pytest.mark.parametrize(
    ("field", "value"),
    [("device_name", "another"), ("driver", "2"), ("torch", "2.14.0"), ("threads", 2)],
)
def test_records_of_another_machine_are_refused_with_the_field(field, value):
    with pytest.raises(ValueError, match=rf"apnb 9x7: {field} differs: .* in the base, {value}"):
        folders.compare([timed(1.0)], [timed(1.0, **{field: value})])


def test_records_of_another_precision_are_refused_with_the_field():
    other = {"matmul_precision": "tf32"}
    with pytest.raises(ValueError, match="matmul_precision differs: ieee in the base, tf32"):
        folders.compare([timed(1.0)], [timed(1.0, flags=other)])


def test_predictions_of_another_processor_are_compared():
    sides = [record(environment=where(device_name=name)) for name in ("one", "other")]
    assert {one.verdict for one in folders.compare([sides[0]], [sides[1]])} == {"SAME", "SHOWN"}


def test_of_folders_the_cells_that_both_have_are_judged():
    base = record(axes={"block": "apnb", "size": "9x7", "step": 1})
    head = record(axes={"block": "apnb", "size": "9x7", "step": 2})
    assert [one.verdict for one in folders.compare([base], [head])] == ["NEW", "SHOWN"]


def test_a_time_that_one_folder_alone_has_is_compared_with_nothing():
    assert folders.compare([], [timed(1.0)]) == folders.compare([timed(1.0)], []) == ()


def test_records_that_do_not_say_where_they_are_from_are_compared():
    first, second = (timed(value).model_copy(update={"environment": None}) for value in (1.0, 2.0))
    assert [one.ratio for one in folders.compare([first], [second])] == [2.0, 1.0]


def test_of_two_folders_what_was_timed_or_weighed_on_one_side_alone_is_not_shown():
    timing = Timing(clock="process", samples_s=(1.0,))
    only_timed = record(source="measured", timings=(timing,), environment=where())
    weighed = MeasuredMemory(high_water_bytes=1000)
    only_weighed = record(source="measured", memory=weighed, environment=where())
    found = [
        [one.quantity for one in folders.compare([side], [timed(1.0)])]
        for side in (only_timed, only_weighed)
    ]
    assert found == [["time"], ["memory"]]


@pytest.mark.parametrize("base", [None, where()], ids=["no environment", "no commit"])
def test_folders_that_do_not_say_their_commits_have_no_comparisons(base, tmp_path):
    assert folders.by_turns(tmp_path, base, where(commit="c")) == ()


def test_of_a_cell_that_was_measured_twice_the_later_record_counts(tmp_path):
    for parameters in (1, 2):
        append(tmp_path / "records.jsonl", record(counts=counts(RELU, parameters=parameters)))
    (found,) = folders.read(tmp_path)
    assert found.measures.counts.parameters == 2


def test_an_accident_of_a_machine_is_no_failure_of_the_code():
    late = timed(1.0).model_copy(update={"failure": Failure(kind="timeout", reason="r")})
    dead = timed(1.0).model_copy(update={"failure": Failure(kind="error", reason="r")})
    assert [one.verdict for one in folders.compare([timed(1.0)], [late])] == ["SHOWN"]
    assert [one.verdict for one in folders.compare([timed(1.0)], [dead])] == ["FAILED"]


def test_the_worst_stands_first_and_the_furthest_before_the_nearest():
    rows = [
        change(verdict="SAME"),
        change(verdict="SLOWER", ratio=1.1),
        change(verdict="SLOWER", ratio=1.5),
        change(verdict="CHANGED"),
        change(verdict="INCONCLUSIVE"),
    ]
    found = [(one.verdict, one.ratio) for one in worst_first(rows)]
    assert found == [
        ("CHANGED", None),
        ("SLOWER", 1.5),
        ("SLOWER", 1.1),
        ("INCONCLUSIVE", None),
        ("SAME", None),
    ]


def test_a_folder_without_records_of_a_run_is_refused(tmp_path):
    published = record().model_copy(update={"source": "published"})
    append(tmp_path / "records.jsonl", published)
    with pytest.raises(ValueError, match="has no records of a run"):
        folders.read(tmp_path)


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    with pytest.raises(ValueError, match=r"outcome.json' does not exist; give the folder"):
        outcome.read(tmp_path)
    side = Side(name="s")
    made = Outcome(base=side, head=side, findings=(change(ratio=1.1),))
    outcome.write(made, tmp_path)
    assert outcome.read(tmp_path) == made
    (tmp_path / outcome.FILE).write_text('{"base": 3}')
    with pytest.raises(ValueError, match=r"outcome.json: base: "):
        outcome.read(tmp_path)
