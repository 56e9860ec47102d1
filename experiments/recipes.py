"""How networks are trained, as data: the recipe of the paper, that of mmseg, and some of ours.

`paper` is what made 79.9 on Cityscapes: the paper (section 4.2) as its released code completes it
(github.com/MendelXu/ANN at f4eabeb: hypes/seg/*/fs_annn_*_seg.json, scripts/seg/*/run_fs_annn_*.sh,
models/seg/loss/seg_modules.py, datasets/tools/cv2_aug_transforms.py). `mmseg` is what its ANN zoo was trained with
(mmsegmentation 1.2.2: configs/ann, configs/_base_/datasets and schedules). `scenes` (for the procedural scenes),
`half` (for CamVid on a CPU) and `frozen` (for heads on a frozen backbone) are ours.

Input is normalised as the network's `preprocessing` says, whatever the recipe.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from ann.spec import Size, look_up

Optimiser = Literal["sgd", "adamw"]
Divisor = Literal["kept", "all"]
Precision = Literal["auto", "native", "float32", "bfloat16"]

BUDGETS = ("smoke", "quick", "standard", "paper")


@dataclass(frozen=True, kw_only=True, slots=True)
class Iterations:
    """Length of a training by budget: `quick` shows that it works, `standard` separates, `paper` is as published.

    `smoke` only runs through every step of it.
    """

    quick: int
    standard: int
    paper: int
    smoke: int = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All that a training needs besides network, data, length and seed."""

    name: str
    # 60K Cityscapes, 150K ADE20K, 28K PASCAL Context (paper, 4.2); 40k and 80k, 80k and 160k, 20k and 40k (mmseg, for
    # Cityscapes, ADE20K and VOC).
    iterations: Iterations
    learning_rate: float  # at first: 0.01, for ADE20K 0.02 (paper, 4.2; mmseg has 0.01 everywhere)
    weight_decay: float  # 5e-4 for Cityscapes, 1e-4 else (released json); 5e-4 (mmseg)
    batch: int  # images of all devices together: 8 for Cityscapes, 16 else (paper, 4.2; mmseg)
    crop: Size  # what the network sees: 769, 520 (ADE20K), 480 (PASCAL Context) square (paper, 4.2)
    optimiser: Optimiser = "sgd"  # with momentum, or `adamw` with PyTorch's betas
    momentum: float = 0.9  # 0.9 (both)
    power: float = 0.9  # of the schedule (1 - i / n) ** power (both; the paper prints it otherwise)
    floor: float = 0.0  # lowest learning rate; 0 (released trainer), 1e-4 (mmseg)
    # Images are first brought to this shorter side; None for their own size. 520 for ADE20K (released json), 512 for
    # ADE20K and VOC (mmseg). The longer side may not be longer then than 2048 (mmseg).
    short_side: int | None = None
    long_side: int | None = None
    scale: tuple[float, float] = (0.5, 2.0)  # of the factor that is drawn then (paper, 4.2; mmseg)
    # Range of a; width grows by sqrt(a), height shrinks by it. 0.9 to 1.1 (released json).
    aspect: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.5  # share of images that are mirrored; a half (both)
    brightness: int = 0  # an integer up to this one is added or subtracted; 10 (released json)
    photometric: bool = False  # mmseg's PhotoMetricDistortion: light, contrast, saturation, hue
    # A crop with more than this share of one class is drawn anew, ten times at most; 0.75 (mmseg), 1 for never.
    cat_max_ratio: float = 1.0
    # Only pixels whose class has a smaller probability count; 0.7 (paper, 3.3 and released json), None for all. So many
    # pixels per image count at least: 100 000 (released json, which has one image on a device).
    ohem_threshold: float | None = None
    ohem_min_kept: int = 0
    # Of both losses: the pixels that were `kept` (released loss; of the auxiliary one all labelled ones), or `all`,
    # ignored ones included (mmseg's default).
    divisor: Divisor = "kept"
    class_weights: tuple[float, ...] = ()  # of cross entropy; for Cityscapes alone (released json)
    auxiliary_weight: float = 0.4  # of the loss on stage 4; 0.4 (paper, Eq. 18; mmseg)
    # The losses are on every so many rows and columns of pixels, from other first ones in each iteration; 1 (both).
    loss_stride: int = 1
    # `auto` is bfloat16 on a GPU that computes in it, else float32; `native` the same, processors included.
    precision: Precision = "auto"
    # How a network is evaluated after it, in `bench.training.protocols`; None for the data set's usual way.
    evaluation: str | None = None

    def __post_init__(self) -> None:
        for field in ("scale", "aspect"):
            low, high = getattr(self, field)
            _check(0 < low <= high, field, (low, high), "a range above 0, e.g. (0.5, 2.0)")
        for field in ("flip", "cat_max_ratio"):
            _check(0 <= getattr(self, field) <= 1, field, getattr(self, field), "a share, 0 to 1")
        for field in ("learning_rate", "batch", "short_side", "long_side", "loss_stride"):
            value = getattr(self, field)
            _check(value is None or value > 0, field, value, "more than 0")
        threshold = self.ohem_threshold
        _check(threshold is None or 0 < threshold <= 1, "ohem_threshold", threshold, "0.7, or None")
        in_range = 0 <= self.floor <= self.learning_rate
        _check(in_range, "floor", self.floor, f"0 to the learning rate, {self.learning_rate}")
        kinds = {"optimiser": Optimiser, "divisor": Divisor, "precision": Precision}
        for field, kind in kinds.items():
            value, names = getattr(self, field), get_args(kind)
            _check(value in names, field, value, f"one of {', '.join(names)}")

    def check_kept(self) -> None:
        """Raise ValueError unless views of an image differ in their mirroring alone, so that its maps can be kept."""
        drawn = (self.scale, self.aspect, self.brightness, self.photometric, self.cat_max_ratio)
        if drawn != ((1.0, 1.0), (1.0, 1.0), 0, False, 1.0):
            msg = (
                f"recipe {self.name!r} draws scale, shape, place or colours anew each time, so that no maps can be "
                "kept; pass --dataset camvid --recipe frozen, or train the backbone too"
            )
            raise ValueError(msg)

    def length(self, budget: str) -> int:
        """Return the iterations of a budget, or raise ValueError if it is none of `BUDGETS`."""
        return int(look_up("budget", budget, asdict(self.iterations)))


def _check(good: bool, field: str, value: object, allowed: str) -> None:  # noqa: FBT001
    if not good:
        msg = f"{field}={value!r} is not possible; pass {allowed}"
        raise ValueError(msg)


# Order of the 19 train ids; the released json's loss.params.ce_weight.
CITYSCAPES_WEIGHTS = (
    *(0.8373, 0.9180, 0.8660, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023),
    *(0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507),
)

# Ours: the paper's augmentation on images of half the size, for machines without a GPU. A small network without
# pretrained weights learns in hundreds of iterations with AdamW, and from all pixels rather than the hard ones.
_HALF = Recipe(
    name="half",
    iterations=Iterations(quick=100, standard=500, paper=5_000),
    learning_rate=4e-3,
    weight_decay=1e-4,
    batch=8,
    crop=Size(height=180, width=240),
    optimiser="adamw",
    short_side=180,
    aspect=(0.9, 1.1),
    brightness=10,
    evaluation="short-side-180",
)
# Ours: heads on a frozen backbone's maps of images of half the size, which are kept, so that nothing is drawn but
# which are mirrored. Optimiser and rate were chosen on the baseline alone.
_FROZEN = Recipe(
    name="frozen",
    iterations=Iterations(quick=100, standard=400, paper=2_000),
    learning_rate=0.01,
    weight_decay=1e-4,
    batch=8,
    optimiser="adamw",
    crop=Size(height=180, width=240),
    short_side=180,
    scale=(1.0, 1.0),
    loss_stride=4,
    precision="native",
    evaluation="short-side-180",
)
_RECIPES = (
    Recipe(
        name="paper",
        iterations=Iterations(quick=500, standard=20_000, paper=60_000),
        learning_rate=0.01,
        weight_decay=5e-4,
        batch=8,
        crop=Size(height=769, width=769),
        aspect=(0.9, 1.1),
        brightness=10,
        ohem_threshold=0.7,
        ohem_min_kept=100_000,
        class_weights=CITYSCAPES_WEIGHTS,
    ),
    Recipe(
        name="mmseg",
        iterations=Iterations(quick=500, standard=40_000, paper=80_000),
        learning_rate=0.01,
        weight_decay=5e-4,
        batch=8,
        crop=Size(height=512, width=1024),
        floor=1e-4,
        photometric=True,
        cat_max_ratio=0.75,
        divisor="all",
    ),
    # Ours: a cue is lost by a crop, another scale or a shift of hue, so that only flips and brightness remain. Number
    # format and stride take a third off a step; all networks lose about a point by them, NB as much as the baseline.
    Recipe(
        name="scenes",
        iterations=Iterations(quick=400, standard=2_000, paper=6_000),
        learning_rate=6e-3,
        weight_decay=1e-4,
        batch=4,
        crop=Size(height=64, width=256),
        optimiser="adamw",
        scale=(1.0, 1.0),
        brightness=10,
        loss_stride=4,
        precision="native",
    ),
    _HALF,
    # A whole network whose backbone comes with weights: longer, at a rate that does not undo them.
    replace(
        _HALF,
        name="fine-tuned",
        iterations=Iterations(quick=100, standard=1_200, paper=5_000),
        learning_rate=1e-3,
    ),
    _FROZEN,
    # To see whether the answers depend on what makes it fast, and on its optimiser: the paper's, at the rate that was
    # best for the baseline.
    replace(_FROZEN, name="frozen-float32", precision="float32"),
    replace(_FROZEN, name="frozen-sgd", optimiser="sgd", learning_rate=0.3),
)
RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in _RECIPES}

# The paper trained on three sets. For VOC it is taken as for PASCAL Context, whose images are VOC's, with
# mmseg's lengths; for CamVid the crop is the image, and the pixels kept are the same share (17 %) of it.
_PAPER_CONTEXT: dict[str, Any] = {
    "iterations": Iterations(quick=500, standard=10_000, paper=28_000),
    "weight_decay": 1e-4,
    "batch": 16,
    "crop": Size(height=480, width=480),
    "class_weights": (),
}
_CAMVID: dict[str, Any] = {
    "iterations": Iterations(quick=300, standard=4_000, paper=10_000),
    "crop": Size(height=360, width=480),
}
_VOC_LENGTHS = Iterations(quick=500, standard=20_000, paper=40_000)
_MMSEG_VOC: dict[str, Any] = {
    "iterations": _VOC_LENGTHS,
    "batch": 16,
    "crop": Size(height=512, width=512),
    "short_side": 512,
    "long_side": 2048,
}
_MMSEG_ADE20K = _MMSEG_VOC | {"iterations": Iterations(quick=500, standard=80_000, paper=160_000)}
# mmseg has no ANN on PASCAL Context; this is what it trains PSPNet with there.
_MMSEG_CONTEXT: dict[str, Any] = {
    "iterations": Iterations(quick=500, standard=40_000, paper=80_000),
    "learning_rate": 0.004,
    "weight_decay": 1e-4,
    "batch": 16,
    "crop": Size(height=480, width=480),
    "short_side": 520,
    "long_side": 520,
}

# The paper has results on these two in a supplement; neither the paper (4.1), the official code nor mmseg says how ANN
# was trained there. `paper`: as on PASCAL Context, the most alike of its three sets, and as many passes (28,000
# iterations are 90 of 4,998 images; these have 9,000 and 795). `mmseg`: what it trains PSPNet and DeepLabV3 with on
# COCO-Stuff-10K, which is what it has for VOC; for NYUD-V2, of which it has depth alone, the same at the images' size.
_PAPER_COCO_STUFF = _PAPER_CONTEXT | {
    "iterations": Iterations(quick=500, standard=20_000, paper=50_000)
}
_PAPER_NYUD = _PAPER_CONTEXT | {"iterations": Iterations(quick=500, standard=2_000, paper=4_500)}
_MMSEG_NYUD = _MMSEG_VOC | {
    "crop": Size(height=480, width=480),
    "short_side": 480,
    "long_side": 640,
}

_CONTEXT, _VOC = ("pascal-context-59", "pascal-context-60"), ("voc2012", "voc2012aug")
_CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "paper": {
        "cityscapes": {},
        "ade20k": _PAPER_CONTEXT
        | {
            "iterations": Iterations(quick=500, standard=50_000, paper=150_000),
            "learning_rate": 0.02,
            "crop": Size(height=520, width=520),
            "short_side": 520,
        },
        **dict.fromkeys(_CONTEXT, _PAPER_CONTEXT),
        **dict.fromkeys(_VOC, _PAPER_CONTEXT | {"iterations": _VOC_LENGTHS}),
        "camvid": _CAMVID | {"class_weights": (), "ohem_min_kept": 29_000},
        "coco-stuff-10k": _PAPER_COCO_STUFF,
        "nyud-v2": _PAPER_NYUD,
    },
    "mmseg": {
        "cityscapes": {},
        "ade20k": _MMSEG_ADE20K,
        **dict.fromkeys(_CONTEXT, _MMSEG_CONTEXT),
        **dict.fromkeys(_VOC, _MMSEG_VOC),
        "camvid": _CAMVID,
        "coco-stuff-10k": _MMSEG_VOC,
        "nyud-v2": _MMSEG_NYUD,
    },
    "scenes": {"scenes": {}, "scenes-small": {}},
    **{
        name: {"camvid": {}}
        for name in ("half", "fine-tuned", "frozen", "frozen-float32", "frozen-sgd")
    },
}


def recipe_for(name: str, dataset: str) -> Recipe:
    """Return a recipe with what its source, or we, changed for that data set; ValueError if it is not for that set.

    Data sets go by their names in `bench.training.data`.
    """
    recipe = look_up("recipe", name, RECIPES)
    if dataset not in _CHANGES[name]:
        known = ", ".join(_CHANGES[name])
        msg = f"recipe {name!r} is not for {dataset!r}; it is for {known}: pass one of them by --dataset"
        raise ValueError(msg)
    return replace(recipe, **_CHANGES[name][dataset])
