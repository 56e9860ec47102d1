"""Crossover: from which size APNB beats NB, as the paper wrote both and as each is best computed today.

`python -m bench.ablations --experiment crossover`; on two CPU cores seven and a half minutes. Expect NB to need 0.5 TiB
at 512x512 unless attention is fused or cut into chunks, APNB 4.6 GiB. Blocks are Table 1's: C = 2048, 256 channels of
key and value.

A call of NB at 256x256 takes a processor a minute, and at 512x512 a quarter of an hour, so that these are left to GPUs,
as is bfloat16; what a call needs is predicted everywhere.
"""

from collections.abc import Iterator
from dataclasses import replace

from ann.spec import BlockSpec, Size
from experiments.spec import Cell, Experiment
from experiments.variants import grid

ARMS = ("nb", "nb:sdpa", "nb:chunked", "nb:fast", "apnb", "apnb:fast", "apnb:triton")
SIDES = (16, 32, 64, 96, 128, 192, 256, 384, 512)
# Next to where fused attention and APNB cross, then outwards.
OUTWARDS = (128, 64, 256, 512, 96, 32, 384, 192, 16)
# Side of the largest map on which a processor runs NB.
LARGEST_NB_SIDE = 192
# Seconds of timing; at the second side, next to the crossing, a call takes a third of a second.
BUDGET_S, CLOSE_BUDGET_S = 3.0, 5.0
CLOSE_SIDE = 64

ANCHORS_SIZE = Size(width=128, height=128)
# Anchors: 1, 14, 50, 110, 225, 505, 2017.
GRIDS = (
    (1,),
    (1, 2, 3),
    (1, 2, 3, 6),
    (1, 3, 6, 8),
    (1, 4, 8, 12),
    (1, 6, 12, 18),
    (1, 12, 24, 36),
)


def _over_sizes() -> Iterator[Cell]:
    squares = tuple(Size(width=side, height=side) for side in SIDES)
    formats: tuple[dict[str, tuple[str, ...]], ...] = ({}, {"dtype": ("bfloat16",)})
    for format_axis in formats:
        axes = {"size": squares, "block": ARMS, **format_axis}
        for cell in grid("crossover", axes, on_gpu_alone=_is_long, budget_s=BUDGET_S):
            side = cell.size.width
            if side == CLOSE_SIDE:
                yield replace(cell, budget_s=CLOSE_BUDGET_S)
            elif side == LARGEST_NB_SIDE and _is_nb(cell) and cell.dtype == "float32":
                # One call of the largest that a processor runs takes it 15 s; its memory is predicted.
                yield replace(cell, probes=("timing",))
            else:
                yield cell


def _is_long(cell: Cell) -> bool:
    is_large = _is_nb(cell) and cell.size.width > LARGEST_NB_SIDE
    return is_large or cell.dtype != "float32" or cell.implementation == "triton"


def _is_nb(cell: Cell) -> bool:
    return cell.name.partition(":")[0] == "nb"


def _over_anchors() -> Iterator[Cell]:
    axes = {"size": (ANCHORS_SIZE,), "block": ("apnb", "apnb:fast")}
    for grids in GRIDS:
        for cell in grid("crossover", axes, budget_s=BUDGET_S):
            assert isinstance(cell.subject, BlockSpec), "its arms are blocks"
            block = replace(cell.subject, grids=grids)
            anchors = block.anchors(ANCHORS_SIZE.pixels)
            yield replace(cell, subject=block, axes={**cell.axes, "anchors": anchors})


EXPERIMENT = Experiment(
    name="crossover",
    question="Is asymmetric sampling still worth it with fused attention, and from which size?",
    beyond_paper=True,
    order=lambda cell: () if "anchors" in cell.axes else (7, OUTWARDS.index(cell.size.width)),
    cells=(*_over_sizes(), *_over_anchors()),
)
