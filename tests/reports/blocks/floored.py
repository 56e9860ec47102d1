"""Small records whose floors follow by hand, for tests of rooflines and of predictions."""

from bench.records.record import (
    Alike,
    Ceiling,
    Counts,
    Measures,
    Operator,
    PredictedMemory,
    Timing,
)

GIGA, MILLI = 10**9, 1e-3
# At 1 TFLOP/s and 100 GB/s: 4 ms of products, 1 ms of bytes.
PRODUCT = {"macs": 2 * GIGA, "flops": 4 * GIGA, "moved_bytes": 10**7}
SOFTMAX = {"flops": 10**6, "moved_bytes": 10**8}


def operator(name, **does):
    one = Alike(calls=1, **does)
    return Operator(name=name, status="counted", calls=1, alike=(one,), **does)


LEDGER = (operator("aten.bmm", **PRODUCT), operator("aten._softmax", **SOFTMAX))


def clock(*samples, device="cpu"):
    return Timing(clock="cuda-events" if device == "cuda" else "wall", samples_s=samples)


def ceilings(make, environment):
    found = (
        Ceiling(kind="copy", amount=10**8, timing=clock(0.002, 0.001, 0.003)),
        Ceiling(kind="product", amount=10**9, timing=clock(0.001, 0.004)),
        Ceiling(kind="product", dtype="float16", reason="not here"),
    )
    return make.record(
        "ceilings",
        {"machine": "ceilings"},
        source="measured",
        environment=environment,
        measures=Measures(ceilings=found),
        size="1x1",
    )


def asked(make, block, *, size="256x128", peak_gib=1, experiment="efficiency", **fields):
    memory = PredictedMemory(
        peak_bytes=peak_gib * 2**30,
        increment_bytes=2**20,
        input_bytes=0,
        parameter_bytes=0,
        peak_operator="aten.bmm",
    )
    counts = Counts(parameters=1, buffers=0, macs=2 * GIGA, flops=4 * GIGA + 10**6, ledger=LEDGER)
    axes = {"block": block, "size": size}
    measures = Measures(counts=counts, predicted=memory)
    return make.record(experiment, axes, source="predicted", measures=measures, **fields)


def run(make, environment, block="nb", time_s=0.010, **fields):
    """What is predicted of a block and what was measured."""
    return [
        asked(make, block, **fields),
        make.measured(
            block, "256x128", time_s=time_s, experiment="efficiency", environment=environment
        ),
    ]


def cells(table, heading):
    at = [column.heading for column in table.columns].index(heading)
    return [row[at] for row in table.rows]
