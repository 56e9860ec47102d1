"""Labelled images in the layouts in which the sets are handed out; nothing of theirs is kept here.

A data set is a map from an index to (image uint8 [3, h, w] in RGB, label uint8 [h, w]). Labels are
train ids 0 to C-1, and 255 where a pixel isn't evaluated.
"""

from pathlib import Path

from ann.spec import look_up
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


def open_dataset(name: str, root: str | Path, split: str = "train") -> EvaluationSet:
    """Find the images and labels of a split (`train`, `val`, `trainval`) of a set below `root`; none is read yet.

    The procedural scenes have no files. ValueErrors are an unknown name or split, an image without label, no image at
    all, and a missing file or folder, where the message draws the expected tree and says where the set comes from.
    """
    if name in PROCEDURAL:
        return PROCEDURAL[name](split)
    layout = look_up("data set", name, DATASET_LAYOUTS)
    if split not in layout.splits:
        msg = f"{name} has no split {split!r} with labels; allowed are {', '.join(layout.splits)}"
        raise ValueError(msg)
    parts = ("train", "val") if split == "trainval" else (split,)
    try:
        pairs = tuple(pair for part in parts for pair in layout.pairs(Path(root), part))
    except (FileNotFoundError, NotADirectoryError) as error:
        msg = f"{error.filename} is missing; {name} is expected as\n{layout.tree_at(root)}"
        raise ValueError(msg) from error
    if not pairs:
        msg = f"no image of {name}, split {split}, was found; it is expected as\n{layout.tree_at(root)}"
        raise ValueError(msg)
    return LabelledImages(name=name, split=split, pairs=pairs, classes=layout.classes())
