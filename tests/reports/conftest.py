"""Small records with the paper's sizes; every number follows from the sizes or is written here."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.records.record import (
    Accuracy,
    Counts,
    Environment,
    MeasuredMemory,
    Measures,
    Operator,
    OperatorTime,
    PredictedMemory,
    Record,
    Timing,
)

MEBI = 2**20
GOLDEN = Path(__file__).parent / "golden"
CPU = Environment(
    device="cpu",
    device_name="Example CPU",
    cores=2,
    threads=1,
    memory_bytes=8 * 2**30,
    os="Linux 6.1",
    python="3.12.3",
    torch="2.15.0",
)
GPU = CPU.model_copy(update={"device": "cuda", "device_name": "Example GPU", "cuda": "13.0"})
TITAN = GPU.model_copy(update={"device_name": "NVIDIA TITAN Xp"})
# What the released script's rules give, in operations, and what its procedure reads, in MiB.
PAPER_OPERATIONS = {
    ("nb", "96x96"): 58_012_729_344,
    ("nb", "256x128"): 601_404_473_344,
    ("apnb", "96x96"): 15_574_000_000,
    ("apnb", "256x128"): 55_406_000_000,
}
INCREMENTS = {
    ("nb", "96x96"): 675,
    ("nb", "256x128"): 8288,
    ("apnb", "96x96"): 94,
    ("apnb", "256x128"): 334,
    ("apnb-concat", "96x96"): 216,
    ("apnb-concat", "256x128"): 768,
}
PAPER_MEMORY = {
    ("nb", "96x96"): 609,
    ("nb", "256x128"): 7797,
    ("apnb-concat", "96x96"): 150,
    ("apnb-concat", "256x128"): 277,
}


def _record(experiment, axes, **fields):
    size = fields.pop("size", axes.get("size", "8x8"))
    subject = fields.pop("subject", str(axes.get("block", axes.get("network", "subject"))))
    cell = "-".join(map(str, (experiment, *axes.values(), fields.get("protocol", "strict"))))
    return Record(experiment=experiment, axes=axes, cell=cell, subject=subject, size=size, **fields)


def counts(block, size):
    width, height = map(int, size.split("x"))
    base, pixels = block.split("-")[0], width * height
    convolutions = 4 * 2048 * 256 * pixels
    products = 2 * 256 * pixels * (pixels if base == "nb" else 110)
    return Counts(
        parameters=1_575_936,
        buffers=513,
        macs=convolutions + products,
        flops=2 * (convolutions + products),
        paper_operations=PAPER_OPERATIONS.get((base, size)),
        ledger=(
            Operator(name="aten.convolution", status="counted", calls=4, macs=convolutions),
            Operator(name="aten.bmm", status="counted", calls=2, macs=products),
        ),
    )


def predicted(block, size, *, experiment="table1", axes=None, protocol="strict", **fields):
    mebibytes = INCREMENTS.get((block, size), 100)
    paper = PAPER_MEMORY.get((block, size)) if protocol == "paper" else None
    memory = PredictedMemory(
        peak_bytes=(mebibytes + 78) * MEBI,
        increment_bytes=mebibytes * MEBI,
        input_bytes=72 * MEBI,
        parameter_bytes=6 * MEBI,
        peak_operator="aten.bmm",
        paper_bytes=paper and paper * MEBI,
    )
    measures = Measures(counts=counts(block, size), predicted=memory)
    axes = {"block": block, "size": size} | (axes or {})
    return _record(
        experiment, axes, source="predicted", protocol=protocol, measures=measures, **fields
    )


def samples(median_s, *, spread=0.001, count=25):
    return tuple(median_s * (1 + spread * (at - count // 2) / count) for at in range(count))


def measured(
    block,
    size,
    *,
    time_s=None,
    memory=None,
    experiment="table1",
    environment=CPU,
    axes=None,
    **fields,
):
    clock = "cuda-events" if environment.device == "cuda" else "wall"
    timings = () if time_s is None else (Timing(clock=clock, samples_s=samples(time_s)),)
    name = "allocated_bytes" if environment.device == "cuda" else "high_water_bytes"
    held = None if memory is None else MeasuredMemory(**{name: memory})
    fields.setdefault("measures", Measures(timings=timings, memory=held))
    axes = {"block": block, "size": size} | (axes or {})
    return _record(experiment, axes, source="measured", environment=environment, **fields)


def operations(block, seconds, *, environment=CPU):
    times = tuple(
        OperatorTime(name=f"aten.{group}", group=group, samples_s=samples(time))
        for group, time in seconds.items()
    )
    axes = {"block": block, "size": "256x128"}
    measures = Measures(operations=times)
    return _record("fig2", axes, source="measured", environment=environment, measures=measures)


def network(name, parameters, buffers, *, peak=1000, **fields):
    memory = PredictedMemory(
        peak_bytes=peak * MEBI,
        increment_bytes=(peak - 300) * MEBI,
        input_bytes=24 * MEBI,
        parameter_bytes=276 * MEBI,
        peak_operator="aten.cat",
    )
    count = Counts(parameters=parameters, buffers=buffers, macs=10**12, flops=2 * 10**12)
    measures = Measures(counts=count, predicted=memory)
    axes = {"network": name, "size": "2048x1024"}
    return _record("table2", axes, source="predicted", measures=measures, **fields)


def table1():
    """Predictions for every cell of Table 1, under both protocols where they have one."""
    strict = [predicted(block, size) for block, size in INCREMENTS]
    return strict + [predicted(block, size, protocol="paper") for block, size in PAPER_MEMORY]


def table2():
    return [
        network("denseaspp/161", 35_395_427, 238_827, peak=856),
        network("semseg/psanet-r101", 102_549_222, 115_569, peak=3226),
        network("official/ann-r101", 62_964_435, 113_520, peak=2142),
    ]


def confusion(miou_percent, *, classes=4, pixels=1_000_000):
    """Every class has that IoU: what is missed of one class is given to the next."""
    share = miou_percent / 100
    hits = round(2 * pixels * share / (1 + share))
    matrix = [[0] * classes for _ in range(classes)]
    for at in range(classes):
        matrix[at][at] = hits
        matrix[at][(at + 1) % classes] += pixels - hits
    return tuple(map(tuple, matrix))


SCENES = {"dataset": "scenes", "budget": "quick"}


def training(experiment, axes, seed, miou_percent=None, *, setting=None, failure=None, **fields):
    """One training: its accuracy, or why there is none."""
    accuracy = {
        "dataset": "scenes",
        "split": "val",
        "classes": ("road", "sky", "waiting", "driving"),
        "confusion": confusion(miou_percent or 50.0),
        "iterations": 500,
        "train_images": 4096,
        "step_time_s": (0.09, 0.1, 0.12),
        "protocol": "whole",
        "backbone": "tiny",
        "groups": {"cue": (2, 3), "other": (0, 1)},
    } | fields.pop("accuracy", {})
    measures = Measures() if failure else Measures(accuracy=Accuracy(**accuracy))
    axes = axes | (SCENES if setting is None else setting) | {"seed": seed}
    return _record(
        experiment,
        axes,
        source="measured",
        environment=CPU,
        measures=measures,
        failure=failure,
        mode="train",
        batch=8,
        size="192x96",
        **fields,
    )


def network_cost(experiment, axes, macs, *, mode="eval", setting=None, mebibytes=10):
    """What a network of an ablation needs in a mode, without a seed."""
    memory = PredictedMemory(
        peak_bytes=(mebibytes + 5) * MEBI,
        increment_bytes=mebibytes * MEBI,
        input_bytes=MEBI,
        parameter_bytes=4 * MEBI,
        peak_operator="aten.bmm",
    )
    count = Counts(parameters=10**6, buffers=10**3, macs=macs, flops=2 * macs)
    return _record(
        experiment,
        axes | (SCENES if setting is None else setting),
        source="predicted",
        measures=Measures(counts=count, predicted=memory),
        mode=mode,
        size="192x96",
    )


# What a study of Table 6 might say; the seeds 0, 1 and 2 lie half a point about it.
TABLE6_PERCENT = {
    "baseline": 40.0,
    "nb": 50.0,
    "apnb": 50.2,
    "common-fusion": 41.0,
    "fnb": 47.0,
    "afnb": 46.0,
    "common-fusion+nb": 51.0,
    "fnb+nb": 52.0,
    "afnb+apnb": 55.0,
}


def table6(percents=None, seeds=(0, 1, 2), **fields):
    found = []
    for at, (name, percent) in enumerate((percents or TABLE6_PERCENT).items()):
        axes = {"network": f"paper/{name}"}
        found.append(network_cost("table6", axes, (10 + at) * 10**8, **fields))
        for seed in seeds:
            # Not the same difference at every seed, or there would be no interval.
            shifted = percent + 0.5 * (seed - 1) + 0.1 * ((at + seed) % 3 - 1)
            found.append(training("table6", axes, seed, shifted, **fields))
    return found


@pytest.fixture(scope="session")
def make():
    return SimpleNamespace(
        CPU=CPU,
        GPU=GPU,
        TITAN=TITAN,
        record=_record,
        counts=counts,
        predicted=predicted,
        measured=measured,
        samples=samples,
        operations=operations,
        network=network,
        table1=table1,
        table2=table2,
        confusion=confusion,
        training=training,
        network_cost=network_cost,
        table6=table6,
        TABLE6_PERCENT=TABLE6_PERCENT,
    )


@pytest.fixture(scope="session")
def golden():
    """Compare with a kept text; UPDATE_GOLDEN=1 writes it anew, for a person to look at."""

    def compare(name, text):
        path = GOLDEN / name
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare
