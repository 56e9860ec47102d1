"""The exact gates: what is compared between two records of a cell, and what is accepted."""

import math

import pytest
import torch

from bench.records import outcome
from bench.records.comparison import CallsAgreement, TensorAgreement
from bench.records.outcome import Finding, Outcome, SideRecord, worst_first
from bench.records.record import Checksum, Failure
from bench.regression import accepted, exact
from bench.regression.calls import checksum
from tests.bench.regression.gated import MULTIPLY, RELU, counts, operator, predicted, record


def outputs(mix=0.5, shape=(2, 3)):
    return (Checksum(shape=shape, mean=0.1, spread=1.0, mix=mix, largest=2.0),)


def agreed(error=None, *, group="outputs", **fields):
    """What both sides' calls have of one tensor in common."""
    item = TensorAgreement(max_relative_error=error, **fields)
    return CallsAgreement(groups={"outputs": (item,)} if group == "outputs" else {group: (item,)})


def moved(base, head, **options):
    found = exact.compare_records(base, head, **options)
    return {one.quantity: (one.before, one.after) for one in found if one.verdict == "CHANGED"}


def test_equal_records_have_nothing_but_equal_quantities():
    found = exact.compare_records(record(outputs=outputs()), record(outputs=outputs()))
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


def test_macs_that_lack_something_say_so_though_they_are_the_same():
    unknown = operator("my.kernel").model_copy(update={"status": "uncounted"})
    sides = [record(counts=counts(MULTIPLY, unknown)) for _ in range(2)]
    reasons = {each.quantity: each.reason for each in exact.compare_records(*sides)}
    assert reasons["MACs"] == "not counted: my.kernel (1 call)"


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
        for one in exact.compare_records(
            record(), record(counts=counts(MULTIPLY, RELU, parameters=5))
        )
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
    found = exact.compare_records(*sides, agreement=agreed(error))[-1]
    assert (found.quantity, found.verdict) == ("outputs", verdict)
    assert f"differs by {error:.1e} of the largest" in found.reason


def test_without_the_outputs_their_checksums_are_compared_as_a_share_of_the_largest():
    assert moved(record(outputs=outputs(0.5)), record(outputs=outputs(0.5 + 1.9e-5))) == {}
    assert "outputs" in moved(record(outputs=outputs(0.5)), record(outputs=outputs(0.5 + 2.1e-5)))


def test_outputs_of_another_shape_are_a_change():
    found = exact.compare_records(record(outputs=outputs()), record(outputs=outputs(shape=(3, 2))))[
        -1
    ]
    assert found.verdict == "CHANGED"
    assert found.reason == "is (2, 3) in the base and (3, 2) in the head"


def test_outputs_of_zeros_on_both_sides_are_the_same_and_said_to_be_zero():
    zero = (Checksum(shape=(2,), mean=0, spread=0, mix=0, largest=0),)
    sides = [record(outputs=zero) for _ in range(2)]
    agreement = agreed(0.0, reason="is zero on both sides")
    found = exact.compare_records(*sides, agreement=agreement)[-1]
    assert (found.verdict, found.reason.endswith("; is zero on both sides")) == ("SAME", True)


def test_a_checksum_notices_two_values_that_changed_places():
    values = torch.arange(12.0).view(3, 4)
    one, other = (checksum("", ("", [item])) for item in (values, values.flip(0)))
    assert (one.mean, one.spread, one.largest) == (other.mean, other.spread, other.largest)
    assert one.mix != other.mix
    assert one.spread == pytest.approx(float(values.square().mean().sqrt()))


def test_a_checksum_counts_what_is_not_finite_and_leaves_it_out():
    found = checksum("['out']", ("float32 (3,)", [torch.tensor([2.0, math.nan, -2.0])]))
    assert (found.name, found.form, found.not_finite) == ("['out']", "float32 (3,)", 1)
    assert (found.mean, found.spread, found.largest) == (0.0, 2.0, 2.0)


@pytest.mark.parametrize("parts", [[], [torch.zeros(0, 3)]])
def test_a_checksum_of_nothing_is_zero(parts):
    found = checksum("", ("", parts))
    assert (found.mean, found.mix, found.largest, found.not_finite) == (0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"name": "['b']"},
            {"outputs ['a']": "is float32 (2,) in the base and nothing in the head"},
        ),
        (
            {"form": "float64 (2,)"},
            {"outputs ['a']": "is float32 (2,) in the base and float64 (2,) in the head"},
        ),
        ({"not_finite": 1}, {"outputs ['a']": "is not finite at 0 and 1 places"}),
    ],
)
def test_records_of_named_outputs_are_compared_by_name_type_and_what_is_not_finite(change, reason):
    one = Checksum(
        name="['a']", form="float32 (2,)", shape=(2,), mean=1, spread=1, mix=1, largest=2
    )
    sides = [record(outputs=(item,)) for item in (one, one.model_copy(update=change))]
    reasons = {
        item.quantity: item.reason
        for item in exact.compare_records(*sides)
        if item.verdict == "CHANGED"
    }
    assert reason.items() <= reasons.items()


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        (None, "error", "FAILED"),
        ("error", None, "FIXED"),
        ("error", "error", "UNEXAMINED"),
        ("import", None, "UNEXAMINED"),
        (None, "import", "FAILED"),
    ],
)
def test_a_cell_that_stops_running_is_a_failure(base, head, verdict):
    sides = [
        record(failure=Failure(kind=kind, reason="r") if kind else None) for kind in (base, head)
    ]
    (found,) = exact.compare_records(*sides)
    assert (found.quantity, found.verdict) == ("runs", verdict)


def test_a_failure_is_told_with_its_side_and_reason():
    late, dead = Failure(kind="timeout", reason="late"), Failure(kind="error", reason="dead")
    (failed,) = exact.compare_records(record(), record(failure=late))
    assert (failed.before, failed.after, failed.reason) == ("yes", "timeout", "head: late")
    (both,) = exact.compare_records(record(failure=dead), record(failure=late))
    assert (both.before, both.after, both.reason) == ("error", "timeout", "base: dead; head: late")


def test_a_cell_of_one_side_alone_says_where_it_is():
    gone, new = exact.gone(record()), exact.new(record())
    assert (gone.verdict, gone.before, gone.after) == ("CHANGED", "there", "gone")
    assert (new.verdict, new.before, new.after) == ("NEW", "not there", "there")


def test_what_one_side_did_not_count_is_not_compared():
    found = exact.compare_records(record(counts=None), record(predicted=None))
    assert [one.quantity for one in found] == ["outputs"]


def test_bytes_and_operations_have_their_units():
    units = [one.unit for one in exact.compare_records(record(), record())]
    assert units == ["", "", "MAC", "calls", "bytes", "bytes", "checksum"]


def test_checksums_that_one_side_lacks_are_not_compared():
    found = exact.compare_records(record(outputs=outputs()), record())[-1]
    assert (found.verdict, found.before, found.after) == ("SHOWN", 0.5, None)


def test_a_cell_is_named_without_what_is_usual():
    axes = {"block": "apnb", "size": "9x7", "key_channels": 4}
    assert outcome.cell_name(record(axes=axes)) == "apnb 9x7 key channels 4"
    unusual = {"implementation": "fast", "mode": "train", "dtype": "float16", "batch": 2}
    named = outcome.cell_name(record(axes=axes).model_copy(update=unusual))
    assert named == "apnb:fast 9x7 key channels 4 float16 train batch 2"
    other = record().model_copy(update={"experiment": "table1", "protocol": "paper"})
    assert outcome.cell_name(other) == "table1: apnb 9x7 paper protocol"


def test_outputs_that_nobody_has_are_said_not_to_be_compared():
    found = exact.compare_records(record(), record())[-1]
    assert (found.quantity, found.verdict) == ("outputs", "SHOWN")
    assert found.reason.startswith("not compared: ")


def test_an_output_that_is_no_tensor_any_more_is_a_change():
    agreement = agreed(reason="is float32 (2, 3) in the base and nothing in the head")
    found = exact.compare_records(record(outputs=outputs()), record(), agreement=agreement)[-1]
    assert (found.verdict, found.reason) == (
        "CHANGED",
        "is float32 (2, 3) in the base and nothing in the head",
    )


def test_outputs_without_a_tensor_are_not_examined():
    found = exact.compare_records(record(), record(), agreement=CallsAgreement())[-1]
    assert (found.quantity, found.verdict) == ("outputs", "UNEXAMINED")


def test_another_structure_around_the_same_tensors_is_a_change():
    agreement = agreed(0.0).model_copy(update={"structures": ("tuple([0]: *)", "list([0]: *)")})
    found = exact.compare_records(record(), record(), agreement=agreement)[-1]
    assert (found.quantity, found.verdict) == ("structure of outputs", "CHANGED")
    assert (found.before, found.after) == ("tuple([0]: *)", "list([0]: *)")


@pytest.mark.parametrize(
    ("group", "error", "verdict"),
    [
        ("outputs of a later call", 1.1e-5, "CHANGED"),
        ("outputs of other inputs", 1.1e-5, "CHANGED"),
        ("outputs in training", 1.1e-5, "CHANGED"),
        ("outputs in training", 1e-5, "SAME"),
        ("gradients", 1.1e-4, "CHANGED"),
        ("gradients", 1e-4, "SAME"),
        ("what a call leaves changed", 1.1e-5, "CHANGED"),
    ],
)
def test_what_else_calls_give_may_differ_by_its_tolerance(group, error, verdict):
    found = exact.compare_records(record(), record(), agreement=agreed(error, group=group))[-1]
    assert (found.quantity, found.verdict) == (group, verdict)
    assert found.after == (error if verdict == "CHANGED" else None)


def test_of_many_gradients_the_furthest_are_named():
    items = [TensorAgreement(name=f"w{at}", max_relative_error=0.1 * at) for at in range(6)]
    items.append(
        TensorAgreement(name="lost", reason="is float32 (2,) in the base and nothing in the head")
    )
    agreement = CallsAgreement(groups={"gradients": items})
    found = exact.compare_records(record(), record(), agreement=agreement)[-1]
    names = [text.partition(" ")[0] for text in found.reason.split("; ")]
    assert names == ["lost", "w5", "w4", "3"]
    assert found.after == "lost is float32 (2,) in the base and nothing in the head"


def test_constants_that_the_head_keeps_are_named_where_outputs_changed():
    agreement = agreed(0.5).model_copy(update={"kept": ("scale",)})
    found = exact.compare_records(record(), record(), agreement=agreement)[-1]
    assert found.reason.endswith(
        "; with the head's own values of scale, which are neither trained nor drawn"
    )


def test_a_changed_count_is_told_although_another_counter_disagrees():
    disputed = counts(operator("aten.mm", calls=2, macs=101), RELU).model_copy(
        update={"disputed": "ledger 101, formula 100"}
    )
    found = {one.quantity: one for one in exact.compare_records(record(), record(counts=disputed))}
    macs = found["MACs"]
    assert (macs.verdict, macs.before, macs.after) == ("CHANGED", 100, 101)
    assert macs.reason == "head: ledger 101, formula 100"


def change(**fields):
    usual = {"cell": "apnb 9x7", "quantity": "MACs", "kind": "exact", "verdict": "CHANGED"}
    return Finding(**{**usual, "before": 10, "after": 11, **fields})


def test_an_accepted_change_is_read_by_later_runs_and_holds_for_itself_alone(tmp_path):
    path = tmp_path / "regressions.jsonl"
    same = change(verdict="SAME", quantity="parameters")
    made = accepted.accept([change(), same], path, reason=" wanted ", at="2026-01-01")
    assert len(made) == 1
    known = accepted.read_accepted(path)
    (found,) = accepted.apply_accepted([change()], known)
    assert (found.verdict, found.reason) == ("ACCEPTED", "accepted: wanted")
    others = [change(after=12), change(before=9), change(cell="nb 9x7"), change(quantity="buffers")]
    assert accepted.apply_accepted(others, known) == tuple(others)


def test_accepted_outputs_are_those_with_nearly_the_checksum_that_was_accepted(tmp_path):
    path = tmp_path / "regressions.jsonl"
    seen = change(quantity="outputs", before=0.5, after=0.25)
    known = accepted.accept([seen], path, reason="another function", at="")
    near = seen.model_copy(update={"after": 0.25 * (1 + 1e-4)})
    far = seen.model_copy(update={"after": 0.25 * 1.01})
    assert [one.verdict for one in accepted.apply_accepted([near, far], known)] == [
        "ACCEPTED",
        "CHANGED",
    ]


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
        accepted.read_accepted(path)


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


def test_an_outcome_is_read_as_it_was_written(tmp_path):
    with pytest.raises(ValueError, match=r"outcome.json' does not exist; give the folder"):
        outcome.read_outcome(tmp_path)
    side = SideRecord(name="s")
    made = Outcome(base=side, head=side, findings=(change(ratio=1.1),))
    outcome.write_outcome(made, tmp_path)
    assert outcome.read_outcome(tmp_path) == made
    (tmp_path / outcome.OUTCOME_FILE).write_text('{"base": 3}')
    with pytest.raises(ValueError, match=r"outcome.json: base: "):
        outcome.read_outcome(tmp_path)


def test_accepted_gradients_are_those_that_are_as_far_apart(tmp_path):
    path = tmp_path / "regressions.jsonl"
    seen = change(quantity="gradients", before=0.0, after=0.25)
    known = accepted.accept([seen], path, reason="another gradient", at="")
    near, far = (seen.model_copy(update={"after": value}) for value in (0.2501, 0.3))
    found = [one.verdict for one in accepted.apply_accepted([near, far], known)]
    assert found == ["ACCEPTED", "CHANGED"]
