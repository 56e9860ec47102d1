"""Two records: when they are of one cell, and what their outputs are divided by and allowed."""

import pytest

from bench.records.comparison import CallsAgreement, TensorAgreement
from bench.records.record import Checksum, Counts, Measures, Operator, PredictedMemory, Record
from bench.regression import exact


def record(*outputs, axes=None, dtype="float32", counts=None):
    return Record(
        source="predicted",
        experiment="regress",
        cell="0",
        subject="apnb",
        axes=axes or {"block": "apnb", "size": "9x7"},
        size="9x7",
        dtype=dtype,
        measures=Measures(outputs=outputs, counts=counts),
    )


def held(*, mix=0.5, mean=0.1, largest=2.0):
    return Checksum(shape=(2, 3), mean=mean, spread=1.0, mix=mix, largest=largest)


ZERO = Checksum(shape=(2, 3), mean=0, spread=0, mix=0, largest=0)


def test_a_cell_is_the_same_in_whatever_order_its_axes_were_written():
    axes = {"block": "apnb", "size": "9x7", "key_channels": 4}
    backwards = dict(reversed(axes.items()))
    assert exact.key_of(record(axes=axes)) == exact.key_of(record(axes=backwards))


def test_a_number_and_its_text_are_one_value_of_an_axis():
    one, other = (record(axes={"block": "apnb", "channels": value}) for value in (8, "8"))
    assert exact.key_of(one) == exact.key_of(other)


@pytest.mark.parametrize("axes", [{"block": "apnb", "channels": 9}, {"block": "apnb"}])
def test_another_value_of_an_axis_is_another_cell(axes):
    one = record(axes={"block": "apnb", "channels": 8})
    assert exact.key_of(one) != exact.key_of(record(axes=axes))


def errors(base, head):
    return [item.max_relative_error for item in exact.apart(base, head)]


def test_what_was_nothing_but_zeros_moved_by_a_share_of_the_heads_largest_value():
    other = ZERO.model_copy(update={"mix": 0.25, "largest": 0.5})
    assert errors((ZERO,), (other,)) == [0.5]


@pytest.mark.parametrize("largest", [1.0, 8.0])
def test_a_difference_is_a_share_of_the_bases_largest_value(largest):
    assert errors((held(),), (held(mix=1.0, largest=largest),)) == [0.25]


def test_the_furthest_of_a_checksums_numbers_counts():
    assert errors((held(),), (held(mix=0.6, mean=0.5),)) == pytest.approx([0.2])


def test_each_of_several_outputs_counts_by_its_place_where_old_records_have_no_names():
    found = exact.apart((held(), held()), (held(mix=1.0), held()))
    assert [(item.name, item.max_relative_error) for item in found] == [("[0]", 0.25), ("[1]", 0.0)]


def test_each_of_several_outputs_has_its_checksum():
    side = record(held(mix=0.5), held(mix=0.75))
    found = exact.compare_records(side, side)[-2:]
    assert [(item.quantity, item.before) for item in found] == [
        ("outputs [0]", 0.5),
        ("outputs [1]", 0.75),
    ]


@pytest.mark.parametrize(("error", "verdict"), [(2e-2, "SAME"), (2.1e-2, "CHANGED")])
def test_tf32_is_allowed_what_its_mantissa_gives(error, verdict):
    one = record(dtype="tf32")
    groups = {"outputs": (TensorAgreement(max_relative_error=error),)}
    found = exact.compare_records(one, one, agreement=CallsAgreement(groups=groups))[-1]
    assert found.verdict == verdict


def counted(*names):
    ledger = tuple(
        Operator(name=name, status="counted", calls=1, macs=0, flops=0) for name in names
    )
    return Counts(parameters=0, buffers=0, macs=0, flops=0, ledger=ledger)


def test_operators_that_moved_are_told_by_their_names_in_order():
    names = [f"aten.{letter}" for letter in "qwertyuiop"]
    found = exact.compare_records(record(counts=counted()), record(counts=counted(*names)))
    moved = [one.quantity for one in found if one.quantity.startswith("calls of aten")]
    assert moved == [f"calls of {name}" for name in sorted(names)]


@pytest.mark.parametrize("sides", [(None, counted("aten.mm")), (counted("aten.mm"), None)])
def test_what_either_side_did_not_count_is_not_compared(sides):
    base, head = (record(counts=counts) for counts in sides)
    assert [one.quantity for one in exact.compare_records(base, head)] == ["outputs"]


PREDICTED = PredictedMemory(
    peak_bytes=2, increment_bytes=1, input_bytes=0, parameter_bytes=0, peak_operator="aten.mm"
)


@pytest.mark.parametrize("sides", [(None, PREDICTED), (PREDICTED, None)])
def test_what_either_side_did_not_predict_is_not_compared(sides):
    base, head = (
        record().model_copy(update={"measures": Measures(predicted=one)}) for one in sides
    )
    assert [one.quantity for one in exact.compare_records(base, head)] == ["outputs"]
