"""Every row of mmsegmentation's DNLNet page: parameters, MACs, predicted training memory; fps on a GPU.

`python -m bench.ablations --experiment zoo_dnl`; under a minute without a GPU, where nothing is
executed. The page measured on V100s and counts cuDNN's workspace and the optimiser's state, which a
prediction leaves out.
"""

from experiments.paper.zoo import cityscapes_rows, square_rows, zoo

EXPERIMENT = zoo(
    "zoo_dnl",
    method="dnl",
    question="What do mmsegmentation's DNL models cost?",
    rows=(*cityscapes_rows(), *square_rows("ade20k", 80_000, 160_000)),
)
