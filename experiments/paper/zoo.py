"""Every row of mmsegmentation's ANN and DNLNet pages: parameters, MACs, predicted training memory; fps on a GPU.

`python -m bench.ablations --experiment zoo_ann --experiment zoo_dnl`; two minutes without a GPU, where nothing is
executed. The pages print the memory of a training step on one of their V100s and frames per second of inference with
the configuration's own test mode. Both depend on what the pages do not print and mmseg's configurations do: images per
GPU, and the size of the test image (mmsegmentation 1.2.2, configs/_base_/datasets and configs/{ann,dnlnet}). They count
cuDNN's workspace and the optimiser's state, which a prediction leaves out.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from ann.catalogue import NETWORKS
from ann.spec import Size
from experiments.spec import Cell, Experiment
from experiments.training import DATASETS

IMAGES_PER_GPU = {"cityscapes": 2, "ade20k": 4, "voc2012aug": 4}
# The other sets are tested on images that are brought to a shorter side of 512.
TEST_SIZES = {"cityscapes": DATASETS["cityscapes"].size}
SMALL_TEST_SIZE = Size(width=683, height=512)


class Row(NamedTuple):
    """Rows of a page that share data set, crop and schedule: one for each backbone."""

    dataset: str
    crop: Size
    schedule: int


BOTH_PAGES = (
    *(
        Row("cityscapes", crop, schedule)
        for schedule in (40_000, 80_000)
        for crop in (Size(height=512, width=1024), Size(height=769, width=769))
    ),
    *(Row("ade20k", Size(height=512, width=512), schedule) for schedule in (80_000, 160_000)),
)
ANN_PAGE = (
    *BOTH_PAGES,
    *(Row("voc2012aug", Size(height=512, width=512), schedule) for schedule in (20_000, 40_000)),
)


def _cells(experiment: str, row: Row, *, network: str) -> Iterator[Cell]:
    """A training step at the crop, predicted, and inference, timed on a GPU."""
    crop = row.crop
    training = Cell(
        experiment=experiment,
        axes={
            "network": network,
            "dataset": row.dataset,
            "crop": f"{crop.height}x{crop.width}",  # as the pages print it
            "schedule": row.schedule,
        },
        subject=replace(NETWORKS[network], num_classes=DATASETS[row.dataset].num_classes),
        size=crop,
        batch=IMAGES_PER_GPU[row.dataset],
        mode="train",
        device="cuda",
        probes=("memory",),
    )
    yield training
    # A 769x769 configuration tests by sliding a window of its crop; the others take the whole image.
    slides = crop.height == crop.width and row.dataset == "cityscapes"
    size = crop if slides else TEST_SIZES.get(row.dataset, SMALL_TEST_SIZE)
    yield replace(training, size=size, batch=1, mode="eval", probes=("timing",))


ANN, DNL = (
    Experiment(
        name=f"zoo_{method}",
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
