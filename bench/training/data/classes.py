"""Classes of the data sets: names, colours and ids in the labels, from a CSV file for each set.

CamVid: 11 classes in the order and colours of the SegNet tutorial. Cityscapes: the 19 evaluated classes
of its cityscapesScripts (labels.py). ADE20K: the 150 classes of its scene parsing challenge, with the
colours that semseg and mmseg have. PASCAL VOC 2012: 20 objects and background. PASCAL Context: the 59
classes of its authors and background, in the order of their numbers among all 459, which is the order
in which the converters of the official ANN code and of mmseg write them. The last two have the colour
map of the VOC development kit (VOClabelcolormap.m).
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.analysis import IGNORE

UNKNOWN = 254  # in the lookup table: an id that the set does not have


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """Names and colours of the train ids 0 to C-1, and of each id in a label file its train id, or 255."""

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    ids: Mapping[int, int]

    @property
    def table(self) -> NDArray[np.uint8]:
        """Lookup table (256,) from ids in a file to train ids; 254 for ids that the set does not have."""
        table = np.full(256, UNKNOWN, np.uint8)
        table[list(self.ids)] = list(self.ids.values())
        return table


def read_classes(name: str, *, ignored: tuple[int, ...] = ()) -> Classes:
    """Read the classes of the set whose file, beside this one, has that name.

    Ids in label files that are `ignored` are not evaluated; classes of such an id are left out.
    """
    text = Path(__file__).with_name(f"{name}.csv").read_text(encoding="utf-8")
    rows = [row for row in csv.DictReader(text.splitlines()) if int(row["id"]) not in ignored]
    return Classes(
        names=tuple(row["name"] for row in rows),
        palette=tuple((int(row["red"]), int(row["green"]), int(row["blue"])) for row in rows),
        ids=dict.fromkeys(ignored, IGNORE) | {int(row["id"]): at for at, row in enumerate(rows)},
    )
