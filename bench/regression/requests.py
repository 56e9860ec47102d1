"""Requests for cells by name, as JSON: each revision builds the cell from its own catalogue.

A cell's spec would carry one side's definition over to the other. So what travels is the name, and
a block whose definition changed is measured as each side defines it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ann.spec import Size
from bench.records import GATE_EXPERIMENT
from experiments import select, variants
from experiments.spec import Dtype, Layout, Measurement, Mode, OwnModule

DEFAULT_BLOCKS = ("apnb", "afnb-bottleneck", "nb")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """One cell by name."""

    arm: str  # a block, network or somebody's own factory, with an implementation or without
    size: str  # WIDTHxHEIGHT
    batch: int = 1
    dtype: Dtype = "float32"
    mode: Mode = "eval"
    channels: int = 512  # of the map, for a block
    key_channels: int = 64  # of query and key, for a block
    layout: Layout = "nchw"  # of somebody's own block
    inputs: int = 1  # that such a block takes
    experiment: str = ""  # name or file of an experiment, whose cell with these `axes` is meant
    axes: Mapping[str, str | int | float] = field(default_factory=dict)


def requested_cell(ask: Ask) -> Measurement:
    """Build the cell from the catalogue of this process.

    Raises:
        ValueError: there is no such block, implementation, experiment or cell.
    """
    if not ask.experiment:
        names = ("channels", "key_channels", "batch", "dtype", "mode", *select.OF_OWN)
        settings = {name: getattr(ask, name) for name in names}
        size = Size.parse(ask.size)
        return select.arm_cell(ask.arm, size, experiment=GATE_EXPERIMENT, **settings)
    for known, cell in _comparable(ask.experiment):
        if known == ask:
            return replace(cell, time_limit_s=select.ARM_LIMIT_S)
    msg = f"experiment {ask.experiment!r} has no cell {ask.arm} {ask.size} with {dict(ask.axes)}"
    raise ValueError(msg)


def outline(ask: Ask) -> Measurement:
    """The cell without its definition, for a process that need not have one: name, size and limits."""
    try:
        name, implementation = variants.parse(ask.arm)
    except ValueError:  # of an experiment without blocks, or one that this process does not have
        name, implementation = ask.arm, "plain"
    widths = {key: getattr(ask, key) for key in select.WIDTHS}
    own = {key: getattr(ask, key) for key in select.OF_OWN}
    return Measurement(
        experiment=ask.experiment or GATE_EXPERIMENT,
        axes=ask.axes or select.arm_axes(name, ask.size, **widths, **own),
        subject=OwnModule(factory=ask.arm, **own),
        size=Size.parse(ask.size),
        batch=ask.batch,
        dtype=ask.dtype,
        mode=ask.mode,
        implementation=implementation,
        time_limit_s=select.ARM_LIMIT_S,
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
    asks = tuple(ask for ask, _ in _comparable(text))
    if not asks:
        msg = f"experiment {text!r} has no cell whose time and memory are read; pass another"
        raise ValueError(msg)
    return asks


def _comparable(experiment: str) -> Iterator[tuple[Ask, Measurement]]:
    path = str(Path(experiment).resolve()) if experiment.endswith(".py") else experiment
    for cell in select.find_experiment(experiment).cells:
        if not isinstance(cell, Measurement) or cell.protocol != "strict":
            continue
        if {"memory", "timing"}.issubset(cell.probes):
            ask = Ask(
                arm=variants.write(cell.name, cell.implementation),
                size=str(cell.size),
                batch=cell.batch,
                dtype=cell.dtype,
                mode=cell.mode,
                experiment=path,
                axes=dict(cell.axes),
            )
            yield ask, cell
