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


def made(**axes):
    accuracy = Accuracy(
        dataset="cityscapes",
        split="val",
        classes=("road", "sky", "car"),
        confusion=((8, 2, 0), (0, 10, 0), (0, 0, 0)),
        iterations=0,
        train_images=0,
        protocol="whole",
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


def test_the_published_miou_of_the_network_stands_below():
    (table,) = tables.evaluation_tables(frame.build_frame([made()]))
    assert "77.40 (512x1024, 40000)" in table.notes[0]


def test_a_network_that_no_document_has_on_this_set_says_so():
    (table,) = tables.evaluation_tables(frame.build_frame([made(dataset="camvid")]))
    assert table.notes == ("The documents give no mIoU of this network on this set.",)


def test_a_judged_checkpoint_is_no_ablation():
    names = [table.name for table in report.report_tables(frame.build_frame([made()]))]
    assert [name for name in names if "evaluation" in name] == ["evaluation"]
