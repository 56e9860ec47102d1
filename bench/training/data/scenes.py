"""Procedural urban scenes from a seed, some classes of which can be recognised only from far away.

A scene is a panorama of 256x64 pixels: sky, buildings, trees, sidewalk, road, people, fences, poles, a
traffic signal and a billboard. Twelve of its sixteen classes can be recognised where they stand, among them
what signal and billboard show. Four can't, and what decides is at the other end of the image:

- Vehicles are `waiting` where the signal is red and `driving` where it is green.
- Facades are `shop` where the billboard is orange and `office` where it is blue.

The signal (20x34 pixels, on the sidewalk) and the billboard (40x18, at the top) stand within 44 pixels
of one end, what they decide at least `DISTANCE` = 120 pixels further along. Which end it is, is
drawn for each of the two by itself. What a cue shows is a fair coin, drawn apart from all else:
vehicles look alike and stand in the same places whatever the signal says, and so do facades and the billboard. A
network that sees less than `DISTANCE` pixels each way can only guess which of the two it is: even if it finds all
vehicles and facades, it gets an IoU of 1/3 on these classes at best. On the `tiny` backbone the baseline and common
fusion see at most 119 pixels each way (a test measures it); blocks that relate distant positions see the whole image.

The lowest rows are the bonnet of the car that looks: ignored, label 255. Crops, other scales and
shifts of hue take the cue away; flips and brightness leave it.

Axes: h and w height and width of the image.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from ann.spec import unknown
from bench.analysis import IGNORE
from bench.training.data.classes import read_classes
from bench.training.data.scene_drawing import BONNET, CUES, SURFACES, Map, draw, paint

LENGTHS: dict[str, int] = {"train": 4096, "val": 128}
_CLASSES = read_classes("scenes")
CLASSES, PALETTE = _CLASSES.names, _CLASSES.palette
NEEDS_CUE: tuple[str, ...] = tuple(name for names in CUES.values() for name in names)
_FAR = tuple(CLASSES.index(name) for name in NEEDS_CUE)
_NEAR = tuple(index for index in range(len(CLASSES)) if index not in _FAR)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One image (h, w, 3) with its labels (h, w), and what each of `CUES` shows: 0 red or orange, 1 green or blue."""

    image: Map
    label: Map
    cues: tuple[int, ...]


class Scenes:
    """Scenes as a map-style data set: images (3, h, w) and labels (h, w), both uint8.

    An item depends on seed, split and index alone; `train` and `val` have no scene in common. A
    length of None is that of `LENGTHS`.
    """

    name = "scenes"
    classes = CLASSES
    palette = PALETTE
    groups = {"with a far cue": _FAR, "without": _NEAR}  # noqa: RUF012

    def __init__(self, split: str = "train", *, seed: int = 0, length: int | None = None) -> None:
        if split not in LENGTHS:
            msg = unknown("split of scenes", split, LENGTHS)
            raise ValueError(msg)
        if length is not None and length < 1:
            msg = f"length={length} is not a number of scenes; pass 1 or more"
            raise ValueError(msg)
        self.split, self.seed, self.length = split, seed, length or LENGTHS[split]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        scene = self.scene(index)
        image = torch.from_numpy(np.ascontiguousarray(scene.image.transpose(2, 0, 1)))
        return image, torch.from_numpy(scene.label)

    @property
    def smallest_cue(self) -> float:
        """Sides of the smallest cue, as a share of those of the largest."""
        return 1.0

    def scene(self, index: int, *, cues: tuple[int, ...] | None = None) -> Scene:
        """Make a scene with its own cues, or with other ones and all else the same."""
        if not 0 <= index < self.length:
            msg = f"there is no scene {index} in {self.split!r}; pass 0 to {self.length - 1}"
            raise IndexError(msg)
        random = np.random.default_rng((self.seed, list(LENGTHS).index(self.split), index))
        drawn = tuple(random.integers(2, size=len(CUES)).tolist())
        shown = drawn if cues is None else cues
        surfaces = draw(random, cues=shown, smallest=self.smallest_cue)
        label = _class_numbers(shown).take(surfaces)
        label[-BONNET:] = IGNORE
        return Scene(image=paint(random, surfaces), label=label, cues=shown)


class SmallCueScenes(Scenes):
    """As `Scenes` in training; in validation the cues are of all sizes, as if they were farther away.

    A network that has learned the one is asked how small a cue may be. The smallest, a fifth as wide and high, fills
    half of one position of the map of 8x32: an average over many positions dilutes it, random positions miss it.
    (Were cues small in training as well, chance would decide whether 400 iterations find out what they are for.)

    What samplers were expected to do was fixed before they were compared on it, by a reading of ideal features without
    a training (`tests/bench/training/data/test_scene_samplers.py`): of the block alone 50 random anchors lose most, 225
    some, then averages, and maxima nothing; in the full network all are close, since in each row of Table 7 its fusion
    block keeps averages over 1,3,6,8.
    """

    name = "scenes-small"

    @property
    def smallest_cue(self) -> float:
        """A fifth in validation."""
        return 0.2 if self.split == "val" else 1.0


PROCEDURAL: dict[str, type[Scenes]] = {each.name: each for each in (Scenes, SmallCueScenes)}


@cache
def _class_numbers(cues: tuple[int, ...]) -> Map:
    """Class of each surface where the cues show this."""
    shown = dict(zip(CUES, cues, strict=True))
    names = [
        surface.name if surface.cue is None else CUES[surface.cue][shown[surface.cue]]
        for surface in SURFACES.values()
    ]
    return np.array([CLASSES.index(name) for name in names], dtype=np.uint8)
