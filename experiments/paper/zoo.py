"""The cells of the model zoo's efficiency columns, shared by its ANN and DNL pages.

The pages print the memory of a training step on one of their GPUs and frames per second of
inference with the configuration's own test mode. Both depend on what the pages do not print and
mmseg's configurations do: images per GPU, and the size of the test image (mmsegmentation 1.2.2,
configs/_base_/datasets and configs/{ann,dnlnet}).
"""

from dataclasses import dataclass, replace

from ann.catalogue import NETWORKS
from ann.spec import Size
from experiments.spec import Cell, Experiment


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """What a configuration takes from its data set."""

    num_classes: int
    images_per_gpu: int
    test_size: Size


CITYSCAPES = Dataset(num_classes=19, images_per_gpu=2, test_size=Size(width=2048, height=1024))
ADE20K = Dataset(num_classes=150, images_per_gpu=4, test_size=Size(width=683, height=512))
VOC = Dataset(num_classes=21, images_per_gpu=4, test_size=Size(width=683, height=512))
DATASETS = {"cityscapes": CITYSCAPES, "ade20k": ADE20K, "voc2012aug": VOC}
BACKBONES = ("r50", "r101")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Rows of a page that share data set, crop and schedule: one for each backbone."""

    dataset: str
    crop: Size
    schedule: int

    @property
    def axes(self) -> dict[str, str | int]:
        """As the pages print it: the crop is HEIGHTxWIDTH there."""
        crop = f"{self.crop.height}x{self.crop.width}"
        return {"dataset": self.dataset, "crop": crop, "schedule": self.schedule}


def cityscapes_rows() -> tuple[Row, ...]:
    """Rows that both pages have."""
    crops = (Size(height=512, width=1024), Size(height=769, width=769))
    return tuple(
        Row(dataset="cityscapes", crop=crop, schedule=schedule)
        for schedule in (40_000, 80_000)
        for crop in crops
    )


def square_rows(dataset: str, *schedules: int) -> tuple[Row, ...]:
    """Rows with a 512x512 crop."""
    crop = Size(height=512, width=512)
    return tuple(Row(dataset=dataset, crop=crop, schedule=schedule) for schedule in schedules)


def zoo(name: str, *, method: str, question: str, rows: tuple[Row, ...]) -> Experiment:
    """Two cells a row and backbone: a training step at the crop, predicted, and inference, timed on a GPU."""
    return Experiment(
        name=name,
        question=question,
        place=3,
        order=lambda cell: (8,) if "memory" in cell.probes else (),
        cells=tuple(
            cell
            for row in rows
            for backbone in BACKBONES
            for cell in _cells(name, row, network=f"mmseg/{method}-{backbone}")
        ),
    )


def _cells(experiment: str, row: Row, *, network: str) -> tuple[Cell, Cell]:
    data = DATASETS[row.dataset]
    training = Cell(
        experiment=experiment,
        axes={"network": network, **row.axes},
        subject=replace(NETWORKS[network], num_classes=data.num_classes),
        size=row.crop,
        batch=data.images_per_gpu,
        mode="train",
        device="cuda",
        probes=("memory",),
    )
    # A 769x769 configuration tests by sliding a window of its crop; the others take the whole
    # image.
    slides = row.crop.height == row.crop.width and row.dataset == "cityscapes"
    size = row.crop if slides else data.test_size
    return training, replace(training, size=size, batch=1, mode="eval", probes=("timing",))
