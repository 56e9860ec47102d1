"""The gallery: context blocks that people choose among today, at one map: `python -m bench.efficiency --gallery`.

The usual map is that of mmsegmentation's heads on Cityscapes: crops of 1024x512, features at an eighth of that, 512
channels after the first 3x3. Training is predicted for two images or more, since blocks that pool to a single place
have a batch norm there. Each block is also counted and predicted at squares from 16x16 on, which says from which size
of map it needs less than NB.

AFNB is not among them: it has two maps.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ann.spec import Size
from experiments import select, variants
from experiments.spec import Cell

GALLERY, GALLERY_SIZES = "gallery", "gallery-sizes"
USUAL_SIZE = Size(width=128, height=64)
USUAL_CHANNELS = 512
SIDES = (16, 32, 64, 128, 256)
TRAINED_BATCH = 2

# NB and APNB add their context to the input, as others do.
BLOCKS_BY_NAME: Mapping[str, str] = {
    **{name: name for name in ("nb-residual", "apnb-residual", "dnl")},
    **variants.GALLERY,
}


def gallery_cells(
    own: Iterable[str],
    sizes: Iterable[Size],
    **settings: Any,  # noqa: ANN401
) -> tuple[Cell, ...]:
    """Each block of the gallery and of `own`: measured at `sizes`, predicted in training and at squares.

    `own` are arms as `experiments.variants.parse` reads them; `settings` are those of `select.block_cell`. ValueError
    if a name is not known.
    """
    arms = {**BLOCKS_BY_NAME, **{name: name for name in own}}
    measured = [_cell(name, arms[name], size, settings) for size in sizes for name in arms]
    trained = (
        replace(
            cell,
            axes={**cell.axes, "mode": "train"},
            mode="train",
            input_gradient=True,  # as inside a network, of all alike
            batch=max(TRAINED_BATCH, cell.batch),
            probes=(),
        )
        for cell in measured
    )
    return (*measured, *trained, *_squares(arms, settings))


def _squares(arms: Mapping[str, str], settings: Mapping[str, Any]) -> Iterator[Cell]:
    for side in SIDES:
        for name, arm in arms.items():
            cell = _cell(name, arm, Size(width=side, height=side), settings)
            yield replace(cell, experiment=GALLERY_SIZES, probes=())


def _cell(name: str, arm: str, size: Size, settings: Mapping[str, Any]) -> Cell:
    cell = select.block_cell(arm, size, **settings)
    return replace(cell, experiment=GALLERY, axes={**cell.axes, "block": name})
