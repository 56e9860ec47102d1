"""Interleaved A/B comparison: fresh processes in every round, A, B and C, which is A once more.

`bench.analysis.sign_test` says what a verdict means and how sure it is. Here the readings are taken. In a round
three processes are started together, get warm, and then take turns of some twenty milliseconds, one
at a time, as often as the scatter of the turns asks for and three seconds at most, so that what drifts on the
machine falls on all alike, and a process that was dealt a bad layout does harm in its own round alone. The
next round swaps A and B. On a processor the verdict is by process time (all threads summed), on a GPU by
events; the wall clock stands beside it. After each round one looks whether it is decided.

On a processor under Linux a round costs a second of one core for getting ready, and the turns; elsewhere six more for
loading torch.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench import records
from bench.analysis import is_decided
from bench.compare.rounds import ArmError, Match, Name, Settings, arm_servers, start_arm
from bench.compare.turns import ArmDevice
from bench.records import Agreement, ArmRecord, Comparison, Environment, Record, RoundRecord
from bench.run import PROCESS_BYTES, environment_of, memory_failure, predicted_record, timestamp
from experiments.spec import Cell
from experiments.variants import write

OnStep = Callable[[str], object]

# Calls of `on_step` beside those of the rounds.
BESIDE_ROUNDS = 2


def compare(
    first: Cell,
    second: Cell,
    *,
    device: ArmDevice,
    settings: Settings,
    planted: float = 0.0,
    on_step: OnStep = lambda _: None,
) -> Comparison:
    """Compare two cells of one size, type and mode; the verdict is about the second.

    The second has a `planted` share of work added to its turns. `on_step` is called with what has been done,
    `settings.rounds + BESIDE_ROUNDS` times. The comparison has every reading, or the failure of the arm that could not
    be run.

    Raises:
        ValueError: the cells differ in size, batch, type, mode or random numbers.
    """
    _require_alike(first, second)
    began_s = time.monotonic()
    environments = [environment_of(device, cell) for cell in (first, second)]
    codes = dict.fromkeys(environment.code or "" for environment in environments)
    where = environments[0].model_copy(update={"code": "+".join(codes)})
    arms = [
        arm_record(predicted_record(cell, where), write(cell.name, cell.implementation))
        for cell in (first, second)
    ]
    on_step("predicted")
    axes = {name: value for name, value in first.axes.items() if name not in ("block", "network")}
    axes |= {"planted": planted} if planted else {}
    with arm_servers(device) as servers:
        start = partial(start_arm, servers=servers)
        match = Match(
            *(first, second),
            device=device,
            settings=settings,
            start=start,
            slowed={"second": planted} if planted else {},
        )
        comparison = play_match(
            match, arms, where, axes=axes, on_step=on_step, compares_outputs=True
        )
    return comparison.model_copy(update={"seconds": time.monotonic() - began_s})


def compare_arms(
    pairs: Iterable[tuple[Cell, Cell]],
    out: Path,
    *,
    device: ArmDevice,
    settings: Settings,
    on_step: OnStep = lambda _: None,
) -> tuple[Comparison, ...]:
    """Compare pair by pair; each comparison is written to `comparisons.jsonl` as soon as it is done."""
    comparisons = []
    for first, second in pairs:
        comparison = compare(first, second, device=device, settings=settings, on_step=on_step)
        records.append_line(out / records.COMPARISONS_FILE, comparison)
        comparisons.append(comparison)
    return tuple(comparisons)


def play_match(
    match: Match,
    arms: Sequence[ArmRecord],
    where: Environment,
    *,
    axes: Mapping[str, str | int | float],
    on_step: OnStep,
    compares_outputs: bool = False,
) -> Comparison:
    """Play a match, if both arms fit, until it is decided, and sign what was read.

    Of both arms it is given what is known beforehand. `on_step` is called after each round, and at once for
    those that need not be played; with `compares_outputs` the first round's processes leave what their modules give.
    """
    from bench.compare.outputs import compare_outputs  # brings torch

    cell, settings = match.first, match.settings
    comparison = Comparison(
        first=arms[0],
        second=arms[1],
        size=str(cell.size),
        axes=dict(axes),
        **{name: getattr(cell, name) for name in ("batch", "dtype", "mode")},
        **{name: getattr(settings, name) for name in ("margin", "level", "comparisons")},
        planted=match.slowed.get("planted", 0.0),
        most_rounds=settings.rounds,
        environment=where,
        created_at=timestamp(),
    )
    sides: tuple[Name, ...] = ("first", "second")
    rounds: list[RoundRecord] = []
    agreement = Agreement()
    try:
        require_room(arms, where, processes=len(match.cells))
        with tempfile.TemporaryDirectory() as folder:
            outputs = {name: Path(folder) / name for name in sides if compares_outputs}
            for record in match.play(settings.rounds, outputs):
                if outputs and not rounds:
                    agreement = compare_outputs(*outputs.values())
                    on_step("outputs compared")
                rounds.append(record)
                on_step(f"round {len(rounds)}")
                if is_decided(comparison.model_copy(update={"rounds": tuple(rounds)})):
                    break
    except ArmError as error:
        return comparison.model_copy(update={"failure": error.failure})
    for _ in range(settings.rounds - len(rounds)):
        on_step("decided")
    played: dict[str, ArmRecord] = {
        name: arm.model_copy(
            update={
                "launches": match.launches[name],
                "memory": match.ready[name].memory,
                "caveats": match.ready[name].caveats,
            }
        )
        for name, arm in zip(sides, arms, strict=True)
    }
    made = {
        **played,
        "rounds": tuple(rounds),
        "agreement": agreement,
        "no_instructions": match.ready["first"].no_instructions,
    }
    return comparison.model_copy(update=made)


def arm_record(record: Record, name: str) -> ArmRecord:
    """What is known of an arm before it runs."""
    predicted, counts = record.measures.predicted, record.measures.counts
    return ArmRecord(
        arm=name,
        cell=record.cell,
        macs=counts.macs if counts else None,
        uncounted=counts.uncounted if counts else "",
        predicted_peak_bytes=predicted.peak_bytes if predicted else None,
        predicted_increment_bytes=predicted.increment_bytes if predicted else None,
    )


def _require_alike(first: Cell, second: Cell) -> None:
    for name in ("size", "batch", "dtype", "mode", "seed"):
        values = [getattr(cell, name) for cell in (first, second)]
        if values[0] != values[1]:
            msg = f"arms differ in {name}: {values[0]} and {values[1]}; compare arms that differ in themselves alone"
            raise ValueError(msg)


def require_room(arms: Sequence[ArmRecord], where: Environment, *, processes: int = 3) -> None:
    """So many processes stand beside each other, and one of them is at its peak; all but one are the first arm's.

    Raises:
        ArmError: that is more than the machine has, or its device is gone.
    """
    first, second = ((arm.predicted_peak_bytes, arm.predicted_increment_bytes) for arm in arms)
    if None in (*first, *second):
        return  # what can't be predicted is simply tried
    needs = [(peak or 0, rise or 0) for peak, rise in (*[first] * (processes - 1), second)]
    standing = sum(peak - rise for peak, rise in needs)
    whole = standing + max(rise for _, rise in needs) + processes * PROCESS_BYTES
    count = {3: "three", 4: "four"}[processes]
    failure = memory_failure(whole, where, who=f"{count} processes by turns need")
    if failure is not None:
        raise ArmError(failure)
