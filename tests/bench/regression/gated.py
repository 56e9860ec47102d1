"""Records and comparisons that are made up for the tests of the gate."""

from bench.records.comparison import ArmReadings, ArmRecord, Comparison, RoundRecord
from bench.records.record import (
    Counts,
    Environment,
    MeasuredMemory,
    Measures,
    Operator,
    PredictedMemory,
    Record,
    Timing,
)
from bench.regression.examine import Examined
from bench.regression.requests import Ask
from bench.regression.verdicts import findings

ROUNDS = 20
# Rounds scatter by less than the margin, to both sides.
NOISE = [1 + 0.004 * (number % 5 - 2) for number in range(ROUNDS)]
WHERE = Environment(
    device="cpu",
    device_name="a processor",
    cores=2,
    threads=1,
    memory_bytes=2**40,
    os="Linux",
    python="3.11.0",
    torch="2.15.0",
)


def comparison(
    ratio=1.0,
    *,
    role="cell",
    memory=None,
    noise=NOISE,
    cell="apnb 9x7",
    failure=None,
    planted=0.0,
    control=1.0,
    wall=None,
):
    """A comparison of these ratios over the first arm; with a ratio `planted` it has that arm too."""
    more = {"planted": (planted,)} if planted else {}
    rounds = tuple(
        RoundRecord(
            order="ACBBCA",
            readings={
                "process": ArmReadings(
                    first=(1.0,), control=(control,), second=(ratio * factor,), **more
                ),
                "wall": ArmReadings(
                    first=(1.0,), control=(1.0,), second=((wall or ratio) * factor,)
                ),
            },
            memory=memory and ArmReadings(first=(100.0,), control=(100.0,), second=(memory,)),
        )
        for factor in noise
    )
    return Comparison(
        first=ArmRecord(arm="apnb@base", cell="0"),
        second=ArmRecord(arm="apnb@head", cell="0", launches=7),
        size="9x7",
        axes={"gate_role": role, "gate_cell": cell},
        margin=0.02,
        level=0.001,
        planted=0.1 if planted else 0.0,
        rounds=() if failure else rounds,
        failure=failure,
        environment=WHERE,
    )


def verdicts(*made):
    return {one.quantity: one.verdict for one in findings(made)}


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


def examined(name="apnb", *, failure=None):
    record = Record(
        source="predicted",
        experiment="regress",
        cell="0",
        subject=name,
        axes={"block": name, "size": "9x7"},
        size="9x7",
        measures=Measures(),
        environment=WHERE,
        failure=failure,
    )
    return Examined(ask=Ask(arm=name, size="9x7"), base=record, head=record)
