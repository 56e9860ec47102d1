"""Table 2: parameters, operations, memory and time of three whole networks on one 2048x1024 image.

`python -m bench.ablations --experiment table2`; on two CPU cores about five minutes. Expect 102.66 and 35.63 M
"parameters" for PSANet and DenseASPP to the digit (the paper's figure is parameters plus batch norm's buffers) and
63.08 where the paper has 63.17.
"""

from dataclasses import replace

from ann.catalogue import NETWORKS
from ann.spec import Size
from experiments.spec import Cell, Experiment

SIZE = Size(width=2048, height=1024)
# PSANet takes sides of 8k + 1 alone (semseg, model/psanet.py); Table 2's count fits a 1025x2049 image.
PSANET_SIZE = Size(width=2049, height=1025)
# The paper's count leaves ANN's auxiliary head out and PSANet's in.
SUBJECTS = {
    **NETWORKS,
    "official/ann-r101": replace(NETWORKS["official/ann-r101"], auxiliary_channels=None),
}
SIZES = {"denseaspp/161": SIZE, "semseg/psanet-r101": PSANET_SIZE, "official/ann-r101": SIZE}

EXPERIMENT = Experiment(
    name="table2",
    question="What do the whole networks cost?",
    order=lambda _: (6,),
    cells=tuple(
        Cell(
            experiment="table2",
            axes={"network": name, "size": str(SIZE)},
            subject=SUBJECTS[name],
            size=size,
            budget_s=60,
        )
        for name, size in SIZES.items()
    ),
)
