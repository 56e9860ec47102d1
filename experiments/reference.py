"""What a new device is asked, in order of worth: `python -m bench.reference`.

A device may be at hand for minutes alone, so that what comes first is what the README's answers wait for.
With 3.5 s a cell, and 10 s where a cell starts a process, eight minutes reach the crossover's first six
sides. Nothing is left out: what no step names comes behind them, and what is compiled last, since it takes
longest and its figures are needed least.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from experiments.beyond import crossover, implementations, precision
from experiments.catalogue import EXPERIMENTS, TRAININGS
from experiments.paper import fig2, table1, table2, zoo_ann, zoo_dnl
from experiments.spec import Cell
from experiments.training import Setting

LARGE = table1.TESTING
# Next to where fused attention and APNB cross, then outwards.
SIDES = (128, 64, 256, 512, 96, 32, 384, 192, 16)
PLAIN_ARMS = ("nb", "apnb")


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A question, and the cells that answer it; `trains` where they may run at once, since no clock decides."""

    question: str
    cells: tuple[Cell, ...]
    trains: bool = False


def steps(setting: Setting) -> tuple[Step, ...]:
    """All cells of the catalogue once, in order of worth.

    Args:
        setting: on which data the trainings are.
    """
    named = (*_of_blocks(), *_of_networks(setting))
    rest = tuple(_without(_every(setting), (cell for step in named for cell in step.cells)))
    return (
        *named,
        Step(
            question="What do the other sizes, modes and samplings cost?",
            cells=tuple(cell for cell in rest if not is_compiled(cell) and needs_device(cell)),
        ),
        Step(
            question="What does a compiler make of them?",
            cells=tuple(cell for cell in rest if is_compiled(cell)),
        ),
        Step(
            question="What do other counters say?",
            cells=tuple(cell for cell in rest if not needs_device(cell)),
        ),
    )


def _of_blocks() -> tuple[Step, ...]:
    strict = [cell for cell in table1.EXPERIMENT.cells if cell.protocol == "strict"]
    formats = _chosen(precision.EXPERIMENT.cells, lambda cell: cell.mode == "eval")
    forms = _chosen(
        implementations.EXPERIMENT.cells,
        lambda cell: cell.mode == "eval" and cell.implementation != "onnxruntime",
    )
    return (
        Step(
            question=table1.EXPERIMENT.question,
            cells=tuple(sorted(strict, key=lambda cell: cell.size != LARGE)),
        ),
        Step(
            question="What do shorter number formats save, and which operations take the time?",
            cells=(
                *(cell for cell in formats if cell.axes["block"] in PLAIN_ARMS),
                *fig2.EXPERIMENT.cells,
            ),
        ),
        Step(
            question="What would the released scripts have read?",
            cells=tuple(cell for cell in table1.EXPERIMENT.cells if cell.protocol == "paper"),
        ),
        Step(
            question="What do fused, chunked and fast forms save?",
            cells=tuple(cell for cell in forms if not is_compiled(cell)),
        ),
        Step(
            question="And in shorter number formats?",
            cells=tuple(cell for cell in formats if cell.axes["block"] not in PLAIN_ARMS),
        ),
    )


def _of_networks(setting: Setting) -> tuple[Step, ...]:
    squares = [cell for cell in crossover.EXPERIMENT.cells if "anchors" not in cell.axes]
    pages = (*zoo_ann.EXPERIMENT.cells, *zoo_dnl.EXPERIMENT.cells)
    return (
        Step(question=table2.EXPERIMENT.question, cells=table2.EXPERIMENT.cells),
        Step(
            question=crossover.EXPERIMENT.question,
            cells=tuple(sorted(squares, key=lambda cell: SIDES.index(cell.size.width))),
        ),
        Step(
            question="What memory does a training step of the model zoo take?",
            cells=tuple(cell for cell in pages if "memory" in cell.probes),
        ),
        Step(
            question="How accurate are the networks once trained?",
            cells=tuple(cell for make in TRAININGS.values() for cell in make(setting).cells),
            trains=True,
        ),
    )


def _chosen(cells: Iterable[Cell], keep: Callable[[Cell], bool]) -> tuple[Cell, ...]:
    return tuple(cell for cell in cells if cell.size == LARGE and keep(cell))


def _every(setting: Setting) -> Iterable[Cell]:
    trained = (make(setting) for make in TRAININGS.values())
    return (cell for one in (*EXPERIMENTS.values(), *trained) for cell in one.cells)


def _without(cells: Iterable[Cell], others: Iterable[Cell]) -> Iterable[Cell]:
    named = {_row(cell) for cell in others}
    return (cell for cell in cells if _row(cell) not in named)


def _row(cell: Cell) -> tuple[object, ...]:
    """What tells a cell from all others, those of the same measurement in other rows included."""
    return cell.experiment, cell.id, *sorted(map(str, cell.axes.items()))


def is_compiled(cell: Cell) -> bool:
    """Whether a compiler makes what is run."""
    return cell.implementation.endswith("compiled")


def needs_device(cell: Cell) -> bool:
    """Whether a cell says something of the device: other counters don't, which run on the processor."""
    return "rivals" not in cell.probes
