"""Jobs by name: blocks, networks, arms and experiments of the catalogue, or somebody's own.

Catalogues of experiments are imported where one is looked up: a revision in whose library they can't be built still has
its blocks.
"""

import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, get_args

from ann.catalogue import BLOCKS, NETWORKS
from ann.spec import Size, unknown
from experiments import variants
from experiments.spec import Cell, Dtype, Experiment, Layout, Mode, OwnModule, Protocol, Subject
from experiments.training import Setting

# Of Table 1.
USUAL = {"channels": 2048, "key_channels": 256, "batch": 1, "dtype": "float32", "mode": "eval"}
WIDTHS = ("channels", "key_channels")
# Of somebody's own block alone: how its maps lie, and how many it takes.
OF_OWN = {"layout": "nchw", "inputs": 1}
ARM_LIMIT_S = 3600.0
FITTED_DTYPES: tuple[Dtype, ...] = ("float32", "autocast-bfloat16", "autocast-float16")


def arm_cell(text: str, size: Size, *, experiment: str, **settings: Any) -> Cell:  # noqa: ANN401
    """One side of a comparison: a block, a network or somebody's own module, as `variants.parse` reads it.

    `settings` are `channels`, `key_channels`, `batch`, `dtype` and `mode`, and of somebody's own block `layout` and
    `inputs`; an unknown name is a ValueError.
    """
    name, implementation = variants.parse(text)
    widths = {key: settings.pop(key) for key in WIDTHS}
    own = own_settings(name, settings)
    return Cell(
        experiment=experiment,
        axes=arm_axes(name, str(size), **widths, **own),
        subject=NETWORKS[name] if name in NETWORKS else _block_or_module(name, **widths, **own),
        size=size,
        implementation=implementation,
        time_limit_s=ARM_LIMIT_S,
        **settings,
    )


def own_settings(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Take what is of somebody's own block alone out of settings; nothing of it for a block or network by name."""
    own = {key: settings.pop(key, usual) for key, usual in OF_OWN.items()}
    return own if variants.is_own(name) else {}


def _unusual(settings: Mapping[str, Any]) -> dict[str, Any]:
    usual = {**USUAL, **OF_OWN}
    return {key: value for key, value in settings.items() if value != usual[key]}


def arm_axes(
    name: str, size: str, *, channels: int, key_channels: int, **own: Layout | int
) -> dict[str, str | int]:
    """What tells an arm from others; a network has its own widths, somebody's `own` block what is unusual of it."""
    if name in NETWORKS:
        return {"network": name, "size": size}
    widths = {"channels": channels, "key_channels": key_channels}
    return {"block": name, "size": size, **widths, **_unusual(own)}


def fitted_cells(names: Iterable[str], sizes: Iterable[Size], **settings: Any) -> tuple[Cell, ...]:  # noqa: ANN401
    """Each block or network by size, mode and number format, of which it is asked what fits; see `arm_cell`."""
    every = product(names, sizes, get_args(Mode), FITTED_DTYPES)
    return tuple(
        arm_cell(name, size, experiment="fits", **settings | {"mode": mode, "dtype": dtype})
        for name, size, mode, dtype in every
    )


def block_cell(text: str, size: Size, *, protocol: Protocol, **settings: Any) -> Cell:  # noqa: ANN401
    """A block beside the paper's Table 1; a setting (see `arm_cell`) that is not the table's is an axis too.

    ValueError if the name is not known, or the paper's protocol is wanted of another form than that of its own code.
    """
    name, implementation = variants.parse(text)
    if protocol == "paper" and implementation != "plain":
        msg = f"arm {text!r}: the paper's protocol is of its own code; pass --protocol strict, or the plain block"
        raise ValueError(msg)
    own = own_settings(name, settings)
    unusual = _unusual({**settings, **own})
    widths = {key: settings.pop(key) for key in WIDTHS}
    return Cell(
        experiment="efficiency",
        axes={"block": text, "size": str(size), **unusual},
        subject=_block_or_module(name, **widths, **own),
        size=size,
        protocol=protocol,
        preceded_by=_preceding(name, size, **widths) if protocol == "paper" else (),
        implementation=implementation,
        **settings,
    )


def _preceding(name: str, size: Size, **widths: Any) -> tuple[tuple[Subject, Size], ...]:  # noqa: ANN401
    from experiments.paper.table1 import SEQUENCE

    # The released script had run the smaller of its sizes in its process, and at this size APNB.
    return tuple(
        (replace(BLOCKS[other], **widths), at)
        for other, at in SEQUENCE
        if at.pixels < size.pixels or (at == size and name == "nb" and other != "nb")
    )


def _block_or_module(name: str, *, channels: int, key_channels: int, **own: Any) -> Subject:  # noqa: ANN401
    """A block of the catalogue or somebody's own `package.module:factory`; a fusion block gets half from below."""
    if variants.is_own(name):
        return OwnModule(factory=name, channels=channels, key_channels=key_channels, **own)
    if name not in BLOCKS:
        raise ValueError(unknown("block", name, BLOCKS))
    low = max(1, channels // 2) if BLOCKS[name].is_fusion else None
    return replace(BLOCKS[name], channels=channels, low_channels=low, key_channels=key_channels)


def find_experiment(text: str, setting: Setting | None = None) -> Experiment:
    """Return an experiment by its name, or by the path of a .py file with `EXPERIMENT` or `make(setting)`.

    Those that train take a setting, and are left out without. ValueError if there is no such experiment.
    """
    if text.endswith(".py"):
        return _load_file(Path(text), setting)
    from experiments.catalogue import EXPERIMENTS, TRAININGS

    if setting is not None and text in TRAININGS:
        return TRAININGS[text](setting)
    if text not in EXPERIMENTS:
        names = (*EXPERIMENTS, *(TRAININGS if setting else ()))
        msg = f"{unknown('experiment', text, names)}, or the path of a .py file"
        if text in TRAININGS:
            msg = f"experiment {text!r} trains networks, and here are those that don't: {', '.join(names)}"
        raise ValueError(msg)
    return EXPERIMENTS[text]


def _suite_hint(error: Exception) -> str:
    """Say where the suite is, to a file that was written for a clone and is run by a wheel."""
    above, _, here = (__package__ or "").rpartition(".")
    name = error.name or "" if isinstance(error, ModuleNotFoundError) else ""
    return f"here it is {above}.{name}; " if above and f"{name}.".startswith(f"{here}.") else ""


def _load_file(path: Path, setting: Setting | None) -> Experiment:
    wanted = "EXPERIMENT or make(setting)" if setting else "EXPERIMENT"
    file = f"experiment file {str(path)!r}"
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        msg = f"{file} does not exist; pass a .py file that has {wanted}"
        raise ValueError(msg)
    module = importlib.util.module_from_spec(spec)
    # Its folder, so that factories which it names are found, in the cells' processes too; without a
    # setting it is compared across revisions, and what it names of one comes from that one.
    sys.path.insert(0 if setting else len(sys.path), str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
        trains = setting is not None and hasattr(module, "make")
        experiment = module.make(setting) if trains else module.EXPERIMENT
    except Exception as error:
        msg = f"{file}: {type(error).__name__}: {error}; {_suite_hint(error)}it must have {wanted}"
        raise ValueError(msg) from error
    if not isinstance(experiment, Experiment):
        given = type(experiment).__name__
        msg = f"{file} gives {given}; it must give an experiments.spec.Experiment"
        raise ValueError(msg)
    return experiment
