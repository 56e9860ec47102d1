"""Grids of blocks: a cell for each combination of arm, size, mode and number format."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from ann.catalogue import BLOCKS, NETWORKS
from experiments import variants
from experiments.spec import Cell


def grid(
    experiment: str,
    axes: Mapping[str, Sequence[Any]],
    *,
    on_gpu_alone: Callable[[Cell], bool] = lambda _: False,
    **fields: Any,  # noqa: ANN401
) -> Iterator[Cell]:
    """Cells in the order of the axes, the last one fastest; an axis of the grid is one of its cells.

    Axes are `block` (arms as `variants.parse` reads them; networks too), `size`, `mode` and `dtype`. A processor does
    not run what is `on_gpu_alone`; all else runs wherever the run is. `fields` are further ones of each cell.
    """
    for values in product(*axes.values()):
        point = dict(zip(axes, values, strict=True))
        name, implementation = variants.parse(point.pop("block"))
        if implementation == "onnxruntime" and point.get("mode") == "train":
            continue  # it has no backward pass
        arm = variants.write(name, implementation)
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
