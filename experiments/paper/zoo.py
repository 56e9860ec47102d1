"""Every row of mmsegmentation's ANN and DNLNet pages: parameters, MACs, predicted training memory; fps on a GPU.

`python -m bench.ablations --experiment zoo_ann --experiment zoo_dnl`; two minutes without a GPU, where nothing is
executed. The pages print the memory of a training step on one of their V100s and frames per second of inference with
the configuration's own test mode. Both depend on what the pages do not print and mmseg's configurations do: images per
GPU, and the size of the test image (mmsegmentation 1.2.2, configs/_base_/datasets and configs/{ann,dnlnet}). They count
cuDNN's workspace and the optimiser's state, which a prediction leaves out.
"""

from collections.abc import Iterator
from dataclasses import replace

from ann.catalogue import NETWORKS
from ann.spec import Size
from experiments.spec import Cell, Experiment
from experiments.training import DATASETS

IMAGES_PER_GPU = {"cityscapes": 2, "ade20k": 4, "voc2012aug": 4}
LANDSCAPE, SLIDING, SQUARE = map(Size.parse, ("1024x512", "769x769", "512x512"))
# By crop: a 769x769 configuration tests by sliding a window of its crop; the others take the whole image.
WHOLE_IMAGES = {LANDSCAPE: DATASETS["cityscapes"].size, SQUARE: Size(width=683, height=512)}

PageRow = tuple[str, Size, int]  # data set, crop, schedule; for each backbone
BOTH_PAGES: tuple[PageRow, ...] = (
    *(("cityscapes", crop, length) for length in (40_000, 80_000) for crop in (LANDSCAPE, SLIDING)),
    ("ade20k", SQUARE, 80_000),
    ("ade20k", SQUARE, 160_000),
)
ANN_PAGE = (*BOTH_PAGES, ("voc2012aug", SQUARE, 20_000), ("voc2012aug", SQUARE, 40_000))


def _cells(experiment: str, row: PageRow, *, network: str) -> Iterator[Cell]:
    """A training step at the crop, predicted, and inference, timed on a GPU."""
    dataset, crop, schedule = row
    training = Cell(
        experiment=experiment,
        axes={
            "network": network,
            "dataset": dataset,
            "crop": f"{crop.height}x{crop.width}",  # as the pages print it
            "schedule": schedule,
        },
        subject=replace(NETWORKS[network], num_classes=DATASETS[dataset].num_classes),
        size=crop,
        batch=IMAGES_PER_GPU[dataset],
        mode="train",
        device="cuda",
        probes=("memory",),
    )
    yield training
    size = WHOLE_IMAGES.get(crop, crop)
    yield replace(training, size=size, batch=1, mode="eval", probes=("timing",))


ANN, DNL = (
    Experiment(
        name=f"zoo_{method}",
        place=3,
        question=f"What do mmsegmentation's {method.upper()} models cost?",
        order=lambda cell: (8,) if "memory" in cell.probes else (),
        cells=tuple(
            cell
            for row in page
            for backbone in ("r50", "r101")
            for cell in _cells(f"zoo_{method}", row, network=f"mmseg/{method}-{backbone}")
        ),
    )
    for method, page in (("ann", ANN_PAGE), ("dnl", BOTH_PAGES))
)
