"""Every row of mmsegmentation's ANN page: parameters, MACs, predicted training memory; fps on a GPU.

`python -m bench.ablations --experiment zoo_ann`; under a minute without a GPU, where nothing is
executed. The page measured on V100s and counts cuDNN's workspace and the optimiser's state, which a
prediction leaves out.
"""

from experiments.paper.zoo import cityscapes_rows, square_rows, zoo

EXPERIMENT = zoo(
    "zoo_ann",
    method="ann",
    question="What do mmsegmentation's ANN models cost?",
    rows=(
        *cityscapes_rows(),
        *square_rows("ade20k", 80_000, 160_000),
        *square_rows("voc2012aug", 20_000, 40_000),
    ),
)
