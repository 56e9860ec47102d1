"""What other tools count for the same blocks: fvcore, torch's own counter, ptflops, thop, torchinfo and DeepSpeed.

`python -m bench.ablations --experiment counters`, after `uv sync --group counters`; on two CPU cores about three
minutes. Each tool counts one real call at 96x96, the size of Table 1's first half. Expect agreement on networks, which
are convolutions, and that tools which hook layers miss the products of attention: thop, torchinfo and, for the operator
`@`, ptflops; fvcore as it comes misses `scaled_dot_product_attention`.
"""

from ann.spec import Size
from experiments.spec import Experiment, MachineCheck
from experiments.variants import grid

BLOCKS = ("nb", "nb:sdpa", "apnb", "apnb-bottleneck", "apnb:fast", "fnb", "afnb", "dnl")
CONTROLS = ("mmseg/psp-r50", "mmseg/ann-r50")

EXPERIMENT = Experiment(
    name="counters",
    question="What do other counters say of these blocks, and what do they miss?",
    beyond_paper=True,
    cells=tuple(
        MachineCheck(
            experiment=call.experiment,
            axes=call.axes,
            subject=call.subject,
            size=call.size,
            reads="counters",
            implementation=call.implementation,
        )
        for names, size in ((BLOCKS, "96x96"), (CONTROLS, "129x129"))
        for call in grid("counters", {"block": names, "size": (Size.parse(size),)})
    ),
)
