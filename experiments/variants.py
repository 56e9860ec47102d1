"""Arms: what is compared, written `NAME` or `NAME:IMPLEMENTATION`, e.g. `apnb:fast`; and cells for grids of them."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, get_args

from ann.catalogue import BLOCKS, NETWORKS
from ann.spec import Implementation, unknown
from experiments.factories import split_implementation
from experiments.spec import Cell

# Blocks of the gallery by the names that its table has; where each is made, as somebody's own would be.
GALLERY: Mapping[str, str] = {
    "ema": "ann.gallery:ExpectationMaximisation",
    "cc": "ann.gallery:CrissCross",
    "ocr": "ann.gallery:ObjectContext",
    "psp": "ann.gallery:PyramidPooling",
    "aspp": "ann.gallery:aspp",
    "gc": "ann.gallery:gc",
    "se": "ann.gallery:se",
    "mha": "ann.gallery:multi_head",
    "segformer": "ann.gallery:segformer",
    "pvtv2-linear": "ann.gallery:pvtv2_linear",
    "p2t": "ann.gallery:PooledAttention",
    "swin": "ann.gallery:swin",
    "nystrom": "ann.gallery:nystrom",
    "linformer": "ann.gallery:Linformer",
    "efficient-attention": "ann.gallery:EfficientAttention",
    "lka": "ann.gallery:LargeKernel",
    "msca": "ann.gallery:MultiScaleConvolution",
}
IMPLEMENTATIONS: tuple[Implementation, ...] = get_args(Implementation)


def parse(text: str) -> tuple[str, Implementation]:
    """Read an arm: a name, and how it is computed (`plain` where nothing is said).

    A name is one of the catalogue or the gallery, or somebody's own `package.module:factory`, with arguments or
    without, which may be followed by `:IMPLEMENTATION` as well; one of the gallery gives its factory. ValueError names
    the nearest and all that are allowed.
    """
    name, colon, rest = text.partition(":")
    if name in BLOCKS or name in NETWORKS:
        return name, (_implementation(rest, of=text) if colon else "plain")
    if name in GALLERY and (not colon or rest in IMPLEMENTATIONS):  # else a module of that name
        return GALLERY[name], (_implementation(rest, of=text) if colon else "plain")
    # Without a dot, a block's name with a slip rather than a package that holds a factory.
    is_slip = "." not in name and rest in IMPLEMENTATIONS
    known = (*BLOCKS, *GALLERY)
    if not colon or (is_slip and difflib.get_close_matches(name, known, n=1)):
        raise ValueError(_unknown_block(name, known))
    factory, way = split_implementation(text)
    return factory, "plain" if way is None else _implementation(way, of=text)


def _unknown_block(name: str, known: Sequence[str]) -> str:
    module, dot, factory = name.rpartition(".")
    if dot and module and factory:
        return f"unknown block {name!r}; a block of a module is written {module}:{factory}"
    if "/" in name:
        return unknown("network", name, NETWORKS)
    return unknown("block", name, known) + ", or package.module:factory of your own or of a library"


def is_own(text: str) -> bool:
    """Whether an arm is somebody's own module."""
    return ":" in parse(text)[0]


def write(name: str, implementation: str) -> str:
    """The arm as `parse` reads it; a name that says its implementation already, as axes do, stays."""
    bare = name.removesuffix(f":{implementation}")
    is_arm = bare != name and (":" in bare or bare in BLOCKS or bare in NETWORKS)
    return name if is_arm or implementation == "plain" else f"{name}:{implementation}"


def _implementation(text: str, *, of: str) -> Implementation:
    if text in IMPLEMENTATIONS:
        return text
    raise ValueError(f"arm {of!r}: " + unknown("implementation", text, IMPLEMENTATIONS))


def grid(
    experiment: str,
    axes: Mapping[str, Sequence[Any]],
    *,
    on_gpu_alone: Callable[[Cell], bool] = lambda _: False,
    **fields: Any,  # noqa: ANN401
) -> Iterator[Cell]:
    """A cell for each combination, in the order of the axes, the last one fastest; the grid's axes are its own.

    Axes are `block` (arms as `parse` reads them; networks too), `size`, `mode` and `dtype`. A processor does not run
    what is `on_gpu_alone`; all else runs wherever the run is. `fields` are further ones of each cell.
    """
    for values in product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        name, implementation = parse(point.pop("block"))
        if implementation == "onnxruntime" and point.get("mode") == "train":
            continue  # it has no backward pass
        arm = write(name, implementation)
        further: dict[str, str] = {key: point[key] for key in ("mode", "dtype") if key in point}
        cell = Cell(
            experiment=experiment,
            axes={"block": arm, "size": str(point["size"])} | further,
            subject=BLOCKS.get(name) or NETWORKS[name],
            implementation=implementation,
            **point,
            **fields,
        )
        yield replace(cell, device="cuda") if on_gpu_alone(cell) else cell
