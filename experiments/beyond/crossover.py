"""Crossover: from which size APNB beats NB, as the paper wrote both and as each is best computed today.

`python -m bench.ablations --experiment crossover`; on two CPU cores seven and a half minutes. Expect NB to
need 0.5 TiB at 512x512 unless attention is fused or cut into chunks, APNB 4.6 GiB. Blocks are
Table 1's: C = 2048, 256 channels of key and value.

A call of NB at 256x256 takes a processor a minute, and at 512x512 a quarter of an hour, so that
these are left to GPUs, as is bfloat16; what a call needs is predicted everywhere.
"""

from collections.abc import Iterator
from dataclasses import replace

from ann.catalogue import BLOCKS
from ann.spec import Size
from experiments import variants
from experiments.spec import Cell, Device, Dtype, Experiment, Probe

NAME = "crossover"
ARMS = ("nb", "nb:sdpa", "nb:chunked", "nb:fast", "apnb", "apnb:fast")
SIDES = (16, 32, 64, 96, 128, 192, 256, 384, 512)
DTYPES: tuple[Dtype, ...] = ("float32", "bfloat16")
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


def _over_sizes(dtype: Dtype) -> Iterator[Cell]:
    for side in SIDES:
        size = Size(width=side, height=side)
        for arm in ARMS:
            name, implementation = variants.parse(arm)
            unusual = {} if dtype == "float32" else {"dtype": dtype}
            yield Cell(
                experiment=NAME,
                axes={"block": arm, "size": str(size), **unusual},
                subject=BLOCKS[name],
                size=size,
                dtype=dtype,
                device=_device(name, side, dtype),
                probes=_probes(name, side, dtype),
                implementation=implementation,
                budget_s=CLOSE_BUDGET_S if side == CLOSE_SIDE else BUDGET_S,
            )


def _device(name: str, side: int, dtype: Dtype) -> Device:
    return "cuda" if dtype != "float32" or (name == "nb" and side > LARGEST_NB_SIDE) else "auto"


def _probes(name: str, side: int, dtype: Dtype) -> tuple[Probe, ...]:
    # One call of the largest that a processor runs takes it 15 s; its memory is predicted.
    is_long = name == "nb" and side == LARGEST_NB_SIDE and dtype == "float32"
    return ("timing",) if is_long else ("memory", "timing")


def _over_anchors() -> Iterator[Cell]:
    for grids in GRIDS:
        for arm in ("apnb", "apnb:fast"):
            name, implementation = variants.parse(arm)
            subject = replace(BLOCKS[name], grids=grids)
            anchors = subject.anchors(ANCHORS_SIZE.pixels)
            yield Cell(
                experiment=NAME,
                axes={"block": arm, "size": str(ANCHORS_SIZE), "anchors": anchors},
                subject=subject,
                size=ANCHORS_SIZE,
                implementation=implementation,
                budget_s=BUDGET_S,
            )


EXPERIMENT = Experiment(
    name=NAME,
    question="Is asymmetric sampling still worth it with fused attention, and from which size?",
    cells=(*(cell for dtype in DTYPES for cell in _over_sizes(dtype)), *_over_anchors()),
)
