"""What both sides are asked to build, in words: each builds it from its own catalogue.

A cell's spec would carry one side's definition over to the other. So what travels is the name, and
a block whose definition changed is measured as each side defines it.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ann.catalogue import BLOCKS, NETWORKS
from ann.spec import Size
from bench.records import GATE_EXPERIMENT
from experiments import variants
from experiments.spec import Cell, Dtype, Experiment, Mode, OwnModule, Subject

DEFAULT_BLOCKS = ("apnb", "afnb-bottleneck", "nb")
EXECUTED = {"memory", "timing"}
LIMIT_S = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One cell in words.

    Attributes:
        arm: a block, a network or somebody's own factory, with an implementation or without.
        size: WIDTHxHEIGHT.
        channels: of the map, for a block.
        key_channels: of query and key, for a block.
        experiment: name or file of an experiment, whose cell with these `axes` is meant instead.
        axes: of that cell.
    """

    arm: str
    size: str
    batch: int = 1
    dtype: Dtype = "float32"
    mode: Mode = "eval"
    channels: int = 512
    key_channels: int = 64
    experiment: str = ""
    axes: Mapping[str, str | int | float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The fields as JSON has them."""
        return asdict(self)


def requested_cell(ask: Ask) -> Cell:
    """Build the cell from the catalogue of this process.

    Raises:
        ValueError: there is no such block, implementation, experiment or cell.
    """
    if ask.experiment:
        return _of_experiment(ask)
    name, implementation = variants.parse(ask.arm)
    widths = {"channels": ask.channels, "key_channels": ask.key_channels}
    return Cell(
        experiment=GATE_EXPERIMENT,
        axes=_axes(ask, name),
        subject=NETWORKS[name] if name in NETWORKS else _block(name, **widths),
        size=Size.parse(ask.size),
        batch=ask.batch,
        dtype=ask.dtype,
        mode=ask.mode,
        implementation=implementation,
        time_limit_s=LIMIT_S,
    )


def _axes(ask: Ask, name: str) -> dict[str, str | int | float]:
    if name in NETWORKS:
        return {"network": name, "size": ask.size}
    widths = {"channels": ask.channels, "key_channels": ask.key_channels}
    return {"block": name, "size": ask.size, **widths}


def _block(name: str, *, channels: int, key_channels: int) -> Subject:
    if ":" in name:
        return OwnModule(factory=name, channels=channels, key_channels=key_channels)
    spec = BLOCKS[name]
    low = max(1, channels // 2) if spec.is_fusion else None
    return replace(spec, channels=channels, low_channels=low, key_channels=key_channels)


def outline(ask: Ask) -> Cell:
    """The cell without its definition, for a process that need not have one: name, size and limits."""
    name, implementation = variants.parse(ask.arm)
    return Cell(
        experiment=ask.experiment or GATE_EXPERIMENT,
        axes=ask.axes or _axes(ask, name),
        subject=OwnModule(factory=ask.arm),
        size=Size.parse(ask.size),
        batch=ask.batch,
        dtype=ask.dtype,
        mode=ask.mode,
        implementation=implementation,
        time_limit_s=LIMIT_S,
    )


def of_blocks(names: Sequence[str], sizes: Sequence[Size], **settings: object) -> tuple[Ask, ...]:
    """One for each name and size.

    Raises:
        ValueError: a name is not known.
    """
    for name in names:
        variants.parse(name)
    return tuple(
        Ask(arm=name, size=str(size), **settings)  # type: ignore[arg-type]  # fields by name
        for size in dict.fromkeys(sizes)
        for name in dict.fromkeys(names)
    )


def of_experiment(text: str) -> tuple[Ask, ...]:
    """One for each cell of an experiment that is timed and not trained.

    Raises:
        ValueError: there is no such experiment, or it has no such cell.
    """
    found = _find(text)
    known = str(Path(text).resolve()) if text.endswith(".py") else text
    made = tuple(
        Ask(
            arm=variants.write(cell.name, cell.implementation),
            size=str(cell.size),
            batch=cell.batch,
            dtype=cell.dtype,
            mode=cell.mode,
            experiment=known,
            axes=dict(cell.axes),
        )
        for cell in found.cells
        if _is_comparable(cell)
    )
    if not made:
        msg = f"experiment {text!r} has no cell whose time and memory are read; pass another"
        raise ValueError(msg)
    return made


def _is_comparable(cell: Cell) -> bool:
    strict = cell.protocol == "strict" and cell.training is None
    return strict and set(cell.probes) >= EXECUTED


def _of_experiment(ask: Ask) -> Cell:
    for cell in _find(ask.experiment).cells:
        same = (str(cell.size), cell.batch, cell.dtype, cell.mode)
        if (
            _is_comparable(cell)
            and dict(cell.axes) == dict(ask.axes)
            and same == (ask.size, ask.batch, ask.dtype, ask.mode)
            and variants.write(cell.name, cell.implementation) == ask.arm
        ):
            return replace(cell, time_limit_s=LIMIT_S)
    msg = f"experiment {ask.experiment!r} has no cell {ask.arm} {ask.size} with {dict(ask.axes)}"
    raise ValueError(msg)


def _find(text: str) -> Experiment:
    if text.endswith(".py"):
        return _load(Path(text))
    from experiments.catalogue import EXPERIMENTS

    if text not in EXPERIMENTS:
        msg = f"unknown experiment {text!r}; allowed are {', '.join(EXPERIMENTS)}, or the path of a .py file"
        raise ValueError(msg)
    return EXPERIMENTS[text]


def _load(path: Path) -> Experiment:
    """Run somebody's own file, which has `EXPERIMENT`."""
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        msg = f"experiment file {str(path)!r} does not exist; pass a .py file that has EXPERIMENT"
        raise ValueError(msg)
    module = importlib.util.module_from_spec(spec)
    # Its folder last: what it names of a revision comes from that revision.
    sys.path.append(str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
        made = module.EXPERIMENT
    except Exception as error:
        msg = f"experiment file {str(path)!r}: {type(error).__name__}: {error}; it must have EXPERIMENT"
        raise ValueError(msg) from error
    if not isinstance(made, Experiment):
        msg = f"experiment file {str(path)!r} gives {type(made).__name__}; it must give an experiments.spec.Experiment"
        raise ValueError(msg)
    return made
