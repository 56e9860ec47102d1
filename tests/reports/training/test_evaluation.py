"""The table of a checkpoint that was judged."""

import pytest

from bench.records.record import Accuracy, Environment, Measures, Record
from reports import report
from reports.model import frame
from reports.training import tables

AXES = {
    "network": "mmseg/ann-r50",
    "dataset": "cityscapes",
    "evaluation": "whole",
    "checkpoint": "a.pth",
}
HERE = Environment(
    device="cpu",
    device_name="a processor",
    cores=1,
    threads=1,
    memory_bytes=1,
    os="o",
    python="3",
    torch="2",
)


def made(protocol="whole", notes=(), **axes):
    accuracy = Accuracy(
        dataset="cityscapes",
        split="val",
        classes=("road", "sky", "car"),
        confusion=((8, 2, 0), (0, 10, 0), (0, 0, 0)),
        iterations=0,
        train_images=0,
        protocol=protocol,
        notes=notes,
    )
    return Record(
        source="measured",
        experiment="evaluation",
        cell="c",
        subject="mmseg/ann-r50",
        axes={**AXES, **axes},
        size="2048x1024",
        measures=Measures(accuracy=accuracy),
        environment=HERE,
    )


def test_each_class_has_its_iou_and_an_absent_one_has_none():
    (table,) = tables.evaluation_tables(frame.build_frame([made()]))
    shown = dict(table.rows)
    assert shown["road"] == pytest.approx(80)
    assert shown["sky"] == pytest.approx(100 * 10 / 12)
    assert shown["car"] is None
    assert shown["mean"] == pytest.approx((80 + 100 * 10 / 12) / 2)


def notes_of(**given):
    (table,) = tables.evaluation_tables(frame.build_frame([made(**given)]))
    return table.notes


def test_published_miou_of_the_same_protocol_stands_below_and_those_of_others_apart():
    same, others = notes_of()
    assert same == (
        "Published mIoU under the same protocol, by crop and iterations: 77.40 (512x1024, 40000), "
        "77.34 (512x1024, 80000)."
    )
    assert others.startswith(
        "Published under another protocol, not to be compared: 78.57 (512x1024, "
    )
    assert "78.89 (769x769, 40000; 'mmseg-slide-769')" in others


def test_published_miou_of_an_unpublished_protocol_is_all_apart():
    (others,) = notes_of(protocol="short-side-180", dataset="ade20k")
    assert "41.01 (512x512, 80000; 'mmseg-short-side-512')" in others


def test_windows_find_the_numbers_of_windows():
    assert "78.89 (769x769, 40000)" in notes_of(protocol="mmseg-slide-769")[0]


def test_the_released_network_is_the_last_row_of_table_6():
    assert notes_of(network="official/ann-r101") == (
        "Published mIoU under the same protocol, by crop and iterations: 79.90 (Table 6).",
    )


def test_the_augmented_set_of_voc_is_validated_on_voc():
    notes = notes_of(protocol="mmseg-short-side-512", dataset="voc2012")
    assert "74.86 (512x512, 20000)" in notes[0]


def test_no_published_number_stands_beside_another_backbone():
    (table,) = tables.evaluation_tables(frame.build_frame([made(backbone="tiny")]))
    assert table.title.startswith("mmseg/ann-r50 with tiny on cityscapes")
    assert table.notes == (
        "Published numbers are of the network with its own backbone, and stand beside none with another.",
    )


def test_notes_on_the_file_of_weights_come_first():
    assert notes_of(notes=("averaged weights",))[0] == "The file has averaged weights."


def test_a_network_that_no_document_has_on_this_set_says_so():
    (table,) = tables.evaluation_tables(frame.build_frame([made(dataset="camvid")]))
    assert table.notes == ("The documents give no mIoU of this network on this set.",)


def test_a_judged_checkpoint_is_no_ablation():
    names = [table.name for table in report.report_tables(frame.build_frame([made()]))]
    assert [name for name in names if "evaluation" in name] == ["evaluation"]
