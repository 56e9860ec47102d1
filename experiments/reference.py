"""What a new device measures, in order of need: `python -m bench.reference`.

A device may be at hand for minutes alone, so that what comes first is what the README's answers wait for. With 3.5 s a
cell, and 10 s where a cell starts a process, nine minutes reach the crossover's first six sides. Nothing is left out:
what no step names comes behind them, and what is compiled last, since it takes longest and its figures are needed
least.
"""

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from experiments.catalogue import EXPERIMENTS, PAPER, TRAININGS
from experiments.spec import Experiment, Job, MachineCheck, Measurement
from experiments.training import Setting

TRAINED, OTHERS, COMPILED, ASIDE = 9, 10, 11, 12
# Of steps that are not one experiment, whose question is theirs.
QUESTIONS = {
    2: "What do shorter number formats save, and which operations take the time?",
    3: "What would the released scripts have read?",
    4: "What do fused, chunked and fast forms save?",
    5: "And in shorter number formats?",
    8: "What memory does a training step of the model zoo take?",
    TRAINED: "How accurate are the networks once trained?",
    OTHERS: "What do the other sizes, modes and samplings cost?",
    COMPILED: "What does a compiler make of them?",
    ASIDE: "What do other counters say?",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A question, and the cells that answer it; `trains` where they may run at once, since no clock decides."""

    question: str
    cells: tuple[Job, ...]
    trains: bool = False


def steps(setting: Setting) -> tuple[Step, ...]:
    """All cells of the catalogue once, in the order of need, `Experiment.order`."""
    trainings = tuple(TRAININGS[name](setting) for name in PAPER if name in TRAININGS)
    placed = sorted(
        (
            (_place(cell, experiment), experiment.question, cell)
            for experiment in (*EXPERIMENTS.values(), *trainings)
            for cell in experiment.cells
        ),
        key=itemgetter(0),
    )
    groups = ((number, tuple(rows)) for number, rows in groupby(placed, lambda row: row[0][0]))
    return tuple(
        Step(
            question=QUESTIONS.get(number, rows[0][1]),
            cells=tuple(cell for _, _, cell in rows),
            trains=number == TRAINED,
        )
        for number, rows in groups
    )


def _place(cell: Job, experiment: Experiment) -> tuple[int, ...]:
    if experiment.name in TRAININGS:
        return (TRAINED,)
    if not isinstance(cell, Measurement):
        return (ASIDE,)
    return experiment.order(cell) or (COMPILED if is_compiled(cell) else OTHERS,)


def is_compiled(cell: Job) -> bool:
    """Whether a compiler makes what is run."""
    return cell.call.implementation.endswith("compiled")


def needs_device(cell: Job) -> bool:
    """Whether a cell says something of the device: other counters don't, which run on the processor."""
    return not (isinstance(cell, MachineCheck) and cell.reads == "counters")
