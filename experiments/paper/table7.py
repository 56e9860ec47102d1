"""Table 7: how anchors are sampled, and how many, in the full network.

`python -m bench.ablations --table 7`. The paper says that it combined the samplers "with APNB"; its row of 1,3,6,8 is
the full network, so here the full network's APNB changes and its AFNB stays as it is.
"""

from dataclasses import replace

from ann.catalogue import NETWORKS
from ann.spec import NetworkSpec, Sampler
from experiments.spec import Experiment
from experiments.training import Axes, Setting, cells

SAMPLERS: tuple[tuple[Sampler, tuple[int, ...]], ...] = (
    ("random", (15,)),
    ("max", (15,)),
    ("average", (15,)),
    ("pyramid-random", (1, 2, 3, 6)),
    ("pyramid-max", (1, 2, 3, 6)),
    ("pyramid-average", (1, 2, 3, 6)),
    ("pyramid-average", (1, 3, 6, 8)),
    ("pyramid-average", (1, 4, 8, 12)),
)


def _full(sampler: Sampler, grids: tuple[int, ...]) -> NetworkSpec:
    full = NETWORKS["paper/afnb+apnb"]
    assert full.context is not None, "the full network has an APNB"
    return replace(full, context=replace(full.context, sampler=sampler, grids=grids))


ROWS: dict[Axes, NetworkSpec] = {
    (("sampler", sampler), ("grids", ",".join(map(str, grids)))): _full(sampler, grids)
    for sampler, grids in SAMPLERS
}


def make(setting: Setting) -> Experiment:
    """All rows on some data."""
    question = "Which sampling do the anchors want, and how many of them?"
    return Experiment(name="table7", question=question, cells=tuple(cells("table7", ROWS, setting)))
