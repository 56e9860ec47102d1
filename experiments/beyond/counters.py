"""What other tools count for the same blocks: fvcore, torch's own counter, ptflops, thop, torchinfo and DeepSpeed.

`python -m bench.ablations --experiment counters`, after `uv sync --group counters`; on two CPU cores about three
minutes. Each tool counts one real call at 96x96, the size of Table 1's first half. Expect agreement on networks,
which are convolutions, and that tools which hook layers miss the products of attention: thop, torchinfo and, for the
operator `@`, ptflops; fvcore as it comes misses `scaled_dot_product_attention`.
"""

from ann.catalogue import BLOCKS, NETWORKS
from ann.spec import Size
from experiments.spec import Cell, Experiment
from experiments.variants import parse

MAP = Size(width=96, height=96)
IMAGE = Size(width=129, height=129)
ARMS = ("nb", "nb:sdpa", "apnb", "apnb-bottleneck", "apnb:fast", "fnb", "afnb", "dnl")
CONTROLS = ("mmseg/psp-r50", "mmseg/ann-r50")

EXPERIMENT = Experiment(
    name="counters",
    question="What do other counters say of these blocks, and what do they miss?",
    cells=(
        *(
            Cell(
                experiment="counters",
                axes={"block": arm, "size": str(MAP)},
                subject=BLOCKS[parse(arm)[0]],
                implementation=parse(arm)[1],
                size=MAP,
                probes=("rivals",),
            )
            for arm in ARMS
        ),
        *(
            Cell(
                experiment="counters",
                axes={"block": name, "size": str(IMAGE)},
                subject=NETWORKS[name],
                size=IMAGE,
                probes=("rivals",),
            )
            for name in CONTROLS
        ),
    ),
)
