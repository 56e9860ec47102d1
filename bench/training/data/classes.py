"""Classes of the sets: their names, their colours, and what ids in label files mean.

They lie in a CSV file for each set; a row whose id is ignored there has the name and colour under which the set's own
tools show it. CamVid: 11 classes in the order and colours of the SegNet tutorial. Cityscapes: the 19 evaluated classes
of its cityscapesScripts (labels.py). ADE20K: the 150 classes of its scene parsing challenge, with the colours that
semseg and mmseg have; `ade20k_2016.csv` has their numbers in the full release of 2016 (CSAILVision/sceneparsing,
convertFromADE/mapFromADE.txt). PASCAL VOC 2012: 20 objects and background. PASCAL Context: the 59 classes of its
authors and background, in the order of their numbers among all 459 (column `detail`), which is the order in which the
converters of the official ANN code and of mmseg write them. The last two have the colour map of the VOC development
kit (VOClabelcolormap.m). COCO-Stuff-10K: 80 things and 91 stuff classes, with names, order and colours of mmseg
(mmseg/datasets/coco_stuff.py, where some share a colour); column `original` has the ids of the set's own version 1.1.
NYUD-V2: the 40 classes of Gupta et al. (CVPR 2013; classMapping40.mat, whose spelling is kept), in the colours of
ScanNet's BenchmarkScripts/util.py.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.analysis import IGNORE

Colour = tuple[int, int, int]
UNKNOWN = 254  # in the lookup table: an id that the set does not have
IDS = 65_536  # that a label file of 16 bits can have


@dataclass(frozen=True, kw_only=True, slots=True)
class Classes:
    """Names and colours of the train ids 0 to C-1, and of each id in a label file its train id, or 255.

    `colours` are those of ids in label files, ignored ones too where the set gives them one; `labels` their names.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    ids: Mapping[int, int]
    colours: Mapping[int, Colour]
    labels: Mapping[int, str]

    @property
    def table(self) -> NDArray[np.uint8]:
        """Lookup table (65536,) from ids in a file to train ids; 254 for ids that the set does not have."""
        table = np.full(IDS, UNKNOWN, np.uint8)
        table[list(self.ids)] = list(self.ids.values())
        return table

    def ids_of(self, colour: Colour) -> frozenset[int]:
        """Ids in label files that are shown in a colour."""
        return frozenset(number for number, own in self.colours.items() if own == colour)


def read_classes(name: str, *, ignored: tuple[int, ...] = (), column: str = "id") -> Classes:
    """Read the classes of the set whose file, beside this one, has that name.

    Ids in label files, as a `column` has them, that are `ignored` are not evaluated; classes of such an id are left
    out.
    """
    every = _rows(name)
    rows = [row for row in every if int(row[column]) not in ignored]
    return Classes(
        names=tuple(row["name"] for row in rows),
        palette=tuple(map(_colour, rows)),
        ids=dict.fromkeys(ignored, IGNORE) | {int(row[column]): at for at, row in enumerate(rows)},
        colours={int(row[column]): _colour(row) for row in every},
        labels={int(row[column]): row["name"] for row in every},
    )


def read_column(name: str, column: str) -> dict[int, int]:
    """Ids of a set by what another column of its file has."""
    return {int(row[column]): int(row["id"]) for row in _rows(name)}


@cache
def _rows(name: str) -> tuple[Mapping[str, str], ...]:
    text = Path(__file__).with_name(f"{name}.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(text.splitlines()))


def _colour(row: Mapping[str, str]) -> Colour:
    return int(row["red"]), int(row["green"]), int(row["blue"])
