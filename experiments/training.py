"""Cells that train a network, evaluate it on a set and put that beside what it costs.

A setting says on which data, by which recipe, how long and with which seeds; the rows of a table are networks. All
cells of one row differ in the seed alone, so that rows are compared seed by seed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ann.spec import NetworkSpec, Size, look_up
from experiments.recipes import recipe_for
from experiments.spec import FEATURES, Features, Measurement, Training, TrainingJob

Axes = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """What a training takes from its data set."""

    num_classes: int
    size: Size  # of an image, for what inference costs; the most frequent one where they differ
    recipe: str = "paper"  # the usual one
    backbone: str | None = None  # the usual one; None for the network's own
    evaluation: str = "whole"  # how it is evaluated by those of whom `EVALUATIONS` says nothing


_SCENE, _PHOTO = Size(width=256, height=64), Size(width=500, height=375)
_VGA = Size(width=640, height=480)
PROCEDURAL = ("scenes", "scenes-small")  # made from a seed, without files
DATASETS: dict[str, Dataset] = {
    "scenes": Dataset(num_classes=16, size=_SCENE, recipe="scenes", backbone="tiny"),
    "scenes-small": Dataset(num_classes=16, size=_SCENE, recipe="scenes", backbone="tiny"),
    "camvid": Dataset(num_classes=11, size=Size(width=480, height=360), backbone="resnet18"),
    "cityscapes": Dataset(num_classes=19, size=Size(width=2048, height=1024)),
    "ade20k": Dataset(num_classes=150, size=Size(width=683, height=512)),
    "pascal-context-59": Dataset(num_classes=59, size=_PHOTO),
    "pascal-context-60": Dataset(num_classes=60, size=_PHOTO),
    **dict.fromkeys(("voc2012", "voc2012aug"), Dataset(num_classes=21, size=_PHOTO)),
    "coco-stuff-10k": Dataset(num_classes=171, size=_VGA),
    "nyud-v2": Dataset(num_classes=40, size=_VGA),
}

# How the sources of networks and recipes evaluate on a data set, in `bench.training.protocols`: mmsegmentation 1.2.2
# (test pipelines in configs/_base_/datasets, test_cfg of configs/{ann,pspnet}), MendelXu/ANN (hypes/seg/*.json, "test")
# and hszhao/semseg (config/*/*_psanet101.yaml, TEST). A set that the source does not have is evaluated as
# `Dataset.evaluation` says.
_CONTEXT = ("pascal-context-59", "pascal-context-60")
_VOC = ("voc2012", "voc2012aug")
_OFFICIAL_EVALUATIONS = {
    "cityscapes": "whole",
    "ade20k": "official-ade20k",
    **dict.fromkeys(_CONTEXT, "official-pascal-context"),
}
EVALUATIONS: dict[str, dict[str, str]] = {
    "mmseg": {
        "cityscapes": "whole",
        **dict.fromkeys(("ade20k", *_VOC, "coco-stuff-10k"), "mmseg-short-side-512"),
        **dict.fromkeys(_CONTEXT, "mmseg-pascal-context"),
    },
    **dict.fromkeys(("official", "paper"), _OFFICIAL_EVALUATIONS),
    "semseg": {"cityscapes": "semseg-705", **dict.fromkeys(("ade20k", *_VOC), "semseg-465")},
}


def usual_evaluation(source: str, dataset: str) -> str:
    """Name the protocol by which a source of networks or recipes evaluates on a data set.

    `source` is the name of a network up to its slash, or that of a recipe.
    """
    return EVALUATIONS.get(source, {}).get(dataset, DATASETS[dataset].evaluation)


# Whose weights are a package.
FROZEN_BACKBONE = "efficientnet-lite0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """On which data and how networks are trained; ValueError if the data set, recipe or budget is unknown."""

    dataset: str = "scenes"
    root: str = ""  # folder of the set; the scenes need none
    budget: str = "quick"  # or `standard` or `paper`: how many iterations, as the recipe has them
    recipe: str | None = None  # a name in `experiments.recipes`; None for the set's usual one
    backbone: str | None = None  # a name in `ann.backbones`; None for the set's usual one
    seeds: tuple[int, ...] = (0, 1, 2)  # one training each
    # Weights of the backbone, as `ann.build.network` takes them; None for random ones, of frozen features for those of
    # the backbone's package.
    pretrained: str | None = None
    features: Features = "trained"  # or `frozen`: heads on maps of a backbone that stays as it is
    palette: bool = (
        False  # whether colours in masks stand for classes, as in exports of annotation tools
    )

    def __post_init__(self) -> None:
        look_up("data set", self.dataset, DATASETS)
        look_up("kind of features", self.features, dict.fromkeys(FEATURES))
        if self.dataset not in PROCEDURAL and not self.root:
            msg = f"data set {self.dataset!r} is read from files; pass --root with the folder that holds it"
            raise ValueError(msg)
        self.training()

    def training(self) -> Training:
        """How a cell is trained, but for its seed."""
        data, frozen = DATASETS[self.dataset], self.features == "frozen"
        usual = "frozen" if frozen else data.recipe
        recipe = recipe_for(self.recipe or usual, self.dataset)
        if frozen:
            recipe.check_kept()
        return Training(
            dataset=self.dataset,
            root=self.root,
            recipe=recipe,
            iterations=recipe.length(self.budget),
            evaluation=recipe.evaluation or usual_evaluation(recipe.name, self.dataset),
            pretrained=self.pretrained or ("package" if frozen else None),
            features=self.features,
            palette=self.palette,
        )

    @property
    def size(self) -> Size:
        """Of what the network is given at inference."""
        training = self.training()
        # A recipe that judges in its own way does so at the size of its crops.
        return training.recipe.crop if training.recipe.evaluation else DATASETS[self.dataset].size

    @property
    def axes(self) -> dict[str, str]:
        """What tells this setting's rows from those of another; the usual recipe and backbone go unsaid."""
        features = None if self.features == "trained" else self.features
        further = {
            "features": features,
            "recipe": self.recipe,
            "backbone": self.backbone,
            "pretrained": self.pretrained,
        }
        unusual = {name: value for name, value in further.items() if value is not None}
        return {"dataset": self.dataset, "budget": self.budget, **unusual}

    def network(self, spec: NetworkSpec) -> NetworkSpec:
        """Fit a named network to the set."""
        data = DATASETS[self.dataset]
        usual = FROZEN_BACKBONE if self.features == "frozen" else data.backbone
        backbone = self.backbone or usual or spec.backbone
        return replace(spec, num_classes=data.num_classes, backbone=backbone)


def cells(
    experiment: str, rows: Mapping[Axes, NetworkSpec], setting: Setting
) -> Iterator[Measurement | TrainingJob]:
    """One cell for each row's step, and one for each row and seed; a seed's rows come together.

    `rows` are networks by the axes that the published row has.
    """
    training = setting.training()
    networks = [(dict(axes) | setting.axes, setting.network(spec)) for axes, spec in rows.items()]
    # What a step of the training needs, predicted and not run; of heads alone nothing predicts it.
    for axes, network in networks if training.features == "trained" else ():
        yield Measurement(
            experiment=experiment,
            axes=axes,
            subject=network,
            size=training.recipe.crop,
            batch=training.recipe.batch,
            mode="train",
            probes=(),
        )
    for seed in setting.seeds:
        for axes, network in networks:
            yield TrainingJob(
                experiment=experiment,
                axes={**axes, "seed": seed},
                subject=network,
                size=setting.size,
                training=training,
                time_limit_s=14 * 24 * 3600.0,
                seed=seed,
            )
