"""Ids of cells, by which old records are found: those of `golden/ids` never change.

A line has who asks, the id, and what tells the cell from others: its axes in their order, the rest where
it is unusual. Lines stand in the order in which cells are run. A new cell is a new line.
"""

from collections.abc import Iterable, Iterator

import pytest

from experiments import reference
from experiments.catalogue import EXPERIMENTS, PAPER, TRAININGS
from experiments.machine import CELL
from experiments.recipes import BUDGETS, RECIPES, recipe_for
from experiments.spec import Job, MachineCheck, Measurement
from experiments.training import DATASETS, PROCEDURAL, Setting

# What is not said of a cell where it is so.
USUAL = {
    "batch": 1,
    "dtype": "float32",
    "device": "auto",
    "mode": "eval",
    "protocol": "strict",
    "implementation": "plain",
    "seed": 0,
    "probes": ("memory", "timing"),
    "preceded_by": (),
}
EFFICIENCY = (
    "",
    "--size 96x96 --size 256x128 --block nb apnb afnb-bottleneck nb:sdpa apnb:fast",
    "--block nb apnb apnb-concat --protocol paper --size 96x96 --size 256x128",
    "--channels 512 --key-channels 64 --batch 2 --dtype float16 --mode train",
    "--dtype tf32 --device cuda --block nb",
    "--dtype autocast-bfloat16 --device meta --block apnb:compiled",
    "--block my.package:block my.package:block:fast --channels 8",
)
COMPARISONS = (
    "apnb apnb:fast",
    "nb nb:sdpa --size 64x64 --size 96x96 --mode train --dtype bfloat16 --batch 2",
    "mmseg/ann-r50 mmseg/ann-r50:fast --size 512x256",
    "my.package:block my.package:block:compiled --channels 16 --key-channels 4",
)
GATES = (
    "",
    "--block nb apnb:fast mmseg/ann-r50 my.package:block --size 64x64 --mode train --dtype tf32",
    "--experiment table1 --experiment table2",
)


def settings() -> Iterator[Setting]:
    """Every data set with every recipe that is for it; all budgets of the usual one, all seeds of what is kept."""
    yield Setting()
    yield Setting(dataset="camvid", root="data", recipe="half", backbone="tiny", budget="standard")
    yield Setting(backbone="resnet18", seeds=(7,))
    for dataset in DATASETS:
        root = "" if dataset in PROCEDURAL else "data"
        for budget in BUDGETS:
            yield Setting(dataset=dataset, root=root, budget=budget, seeds=(0,))
        for recipe in RECIPES:
            if is_for(recipe, dataset):
                yield Setting(dataset=dataset, root=root, recipe=recipe, budget="paper", seeds=(0,))


def is_for(recipe: str, dataset: str) -> bool:
    """Whether a data set can be trained on by a recipe."""
    try:
        recipe_for(recipe, dataset)
    except ValueError:
        return False
    return True


def blocks_and_networks() -> Iterator[tuple[str, Job]]:
    """All experiments, those beyond the paper too, and what the machine reaches."""
    for cell in (CELL, *(cell for one in EXPERIMENTS.values() for cell in one.cells)):
        yield cell.experiment, cell


def trainings() -> Iterator[tuple[str, Job]]:
    """Both tables of trained networks."""
    for setting in settings():
        for make in (TRAININGS[name] for name in PAPER if name in TRAININGS):
            yield from ((cell.experiment, cell) for cell in make(setting).cells)


def new_device() -> Iterator[tuple[str, Job]]:
    """What `bench.reference` asks, step by step, and the small cells of its look."""
    from bench import look

    for number, step in enumerate(reference.steps(Setting()), start=1):
        yield from ((f"step {number}: {cell.experiment}", cell) for cell in step.cells)
    for device in ("cpu", "cuda"):
        yield from ((f"look, {device}", cell) for cell in look.kinds(device))


def command_lines() -> Iterator[tuple[str, Job]]:
    """What is asked by hand: `bench.efficiency`, its comparisons, and `bench.regress`."""
    from bench import efficiency, regress
    from bench.regression import planning, requests

    for words in EFFICIENCY:
        options = efficiency.parser().parse_args(words.split())
        yield from ((f"efficiency {words}", cell) for cell in efficiency.cells(options))
    for words in COMPARISONS:
        options = efficiency.parser().parse_args(["--compare", *words.split()])
        for arms in efficiency.pairs(options):
            yield from ((f"compare {words}", cell) for cell in arms)
    for words in GATES:
        options = regress.parser().parse_args(["--base", "main", *words.split()])
        for device in ("cpu", "cuda"):
            for ask in planning.requested_cells(options, device):
                yield f"regress {words} ({device})", requests.requested_cell(ask)


def lines(cells: Iterable[tuple[str, Job]]) -> str:
    """A line for each cell."""
    return "".join(f"{who.strip()}\t{cell.id}\t{told(cell)}\n" for who, cell in cells)


def told(cell: Job) -> str:
    """Name, size, axes in their order, and what is unusual."""
    fields = {name: getattr(cell.call, name) for name in USUAL} | {"probes": probes(cell)}
    found = {name: value for name, value in fields.items() if value != USUAL[name]}
    if "probes" in found:
        found["probes"] = "+".join(found["probes"]) or "none"
    if "preceded_by" in found:
        found["preceded_by"] = "+".join(str(size) for _, size in cell.preceded_by)
    axes = " ".join(f"{name}={value}" for name, value in cell.axes.items())
    return f"{cell.size} [{axes}] {' '.join(f'{name}={value}' for name, value in found.items())}".strip()


def probes(cell: Job) -> tuple[str, ...]:
    """What a job reads, by the names that ids have of it."""
    if isinstance(cell, Measurement):
        return cell.probes
    if isinstance(cell, MachineCheck):
        return ("rivals" if cell.reads == "counters" else cell.reads,)
    return ("accuracy",)


@pytest.mark.parametrize("cells", [blocks_and_networks, trainings, new_device, command_lines])
def test_each_cell_has_the_id_that_it_always_had(kept, cells):
    kept(f"ids/{cells.__name__}.tsv", lines(cells()))
