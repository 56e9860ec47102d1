"""Labelled images in the layouts in which the sets are handed out; nothing of theirs is kept here.

A data set is a map from an index to (image uint8 [3, h, w] in RGB, label uint8 [h, w]). Labels are
train ids 0 to C-1, and 255 where a pixel isn't evaluated.
"""

from pathlib import Path

from ann.spec import look_up, unknown
from bench.training.data.augment import Augmented, Labelled, normalise
from bench.training.data.features import MirroredMaps, cache_maps
from bench.training.data.images import LabelledImages
from bench.training.data.readers import DATASET_LAYOUTS
from bench.training.data.sampler import (
    Batch,
    Drawn,
    SampleCache,
    draw_visits,
    load_batches,
    seed_of,
)
from bench.training.data.scenes import PROCEDURAL, Scenes

EvaluationSet = LabelledImages | Scenes


def open_dataset(
    name: str, root: str | Path, split: str = "train", *, palette: bool = False
) -> EvaluationSet:
    """Find the images and labels of a split (`train`, `val`, `trainval`) of a set below `root`; none is read yet.

    Masks in colours are refused when they are read, unless a `palette` maps them: that of a list of classes beside
    their folder (`labelmap.txt`, `label_colors.txt`), or the set's. The procedural scenes have no files.

    Raises:
        ValueError: the name or split is unknown, an image has no label, there is no image at all, or a file or folder
            is missing, where the message draws the expected tree and says where the set comes from, or that the root
            is too deep in it.
    """
    if name in PROCEDURAL:
        return PROCEDURAL[name](split)
    whole = look_up("data set", name, DATASET_LAYOUTS)
    if split not in whole.splits:
        msg = unknown(f"split of {name} with labels", split, whole.splits)
        raise ValueError(msg)
    layout = whole.form_at(Path(root))
    pairs_of = (palette and layout.painted) or layout.pairs
    parts = ("train", "val") if split == "trainval" else (split,)
    try:
        pairs = tuple(pair for part in parts for pair in pairs_of(Path(root), part))
    except (FileNotFoundError, NotADirectoryError) as error:
        what = whole.too_deep(Path(root), Path(error.filename))
        what = what or f"{name} is expected as\n{whole.tree_at(root)}"
        msg = f"{error.filename} is missing; {what}"
        raise ValueError(msg) from error
    if not pairs:
        msg = f"no image of {name}, split {split}, was found; it is expected as\n{whole.tree_at(root)}"
        raise ValueError(msg)
    return LabelledImages(
        name=name, split=split, pairs=pairs, classes=layout.classes(), painted=palette
    )
