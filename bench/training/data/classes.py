"""Names, colours and file ids of the classes of the sets.

CamVid: 11 classes and void, in the order and colours of the SegNet tutorial. Cityscapes: the 19
evaluated classes of its cityscapesScripts (labels.py). ADE20K: the 150 classes of its scene parsing
challenge, in `ade20k.csv`, with the colours that semseg and mmseg have. PASCAL VOC 2012: 20 objects
and background. PASCAL Context: the 59 classes of its authors, in the order of their numbers among
all 459, which is the order in which the converters of the official ANN code and of mmseg write
them. The last two have the colour map of the VOC development kit (VOClabelcolormap.m).
"""

import csv
from pathlib import Path

from bench.training.data.images import IGNORE, Classes

Colour = tuple[int, int, int]

_CAMVID_COLOURS: dict[str, Colour] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}

# name: (id in the *_labelIds.png, colour); 0 to 33 without these are not evaluated
_CITYSCAPES_CLASSES: dict[str, tuple[int, Colour]] = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}

_VOC_NAMES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
)

_CONTEXT_NAMES = (
    "background aeroplane bag bed bedclothes bench bicycle bird boat book bottle building bus cabinet car "
    "cat ceiling chair cloth computer cow cup curtain dog door fence floor flower food grass ground horse "
    "keyboard light motorbike mountain mouse person plate platform pottedplant road rock sheep shelves "
    "sidewalk sign sky snow sofa table track train tree truck tvmonitor wall water window wood"
)


def camvid() -> Classes:
    """Return the 11 classes; 11, and 255 in some copies, is void."""
    ids = {number: number for number in range(11)}
    return Classes(
        names=tuple(_CAMVID_COLOURS),
        palette=tuple(_CAMVID_COLOURS.values()),
        ids={**ids, 11: IGNORE, IGNORE: IGNORE},
    )


def cityscapes() -> Classes:
    """Return the 19 evaluated of the 34 ids; the others, and 255, are ignored."""
    ids = dict.fromkeys((*range(34), IGNORE), IGNORE)
    ids |= {number: train for train, (number, _) in enumerate(_CITYSCAPES_CLASSES.values())}
    return Classes(
        names=tuple(_CITYSCAPES_CLASSES),
        palette=tuple(colour for _, colour in _CITYSCAPES_CLASSES.values()),
        ids=ids,
    )


def ade20k() -> Classes:
    """Return the 150 classes, which the files number from 1; 0 is something else, and ignored."""
    text = Path(__file__).with_name("ade20k.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    return Classes(
        names=tuple(row["name"] for row in rows),
        palette=tuple((int(row["red"]), int(row["green"]), int(row["blue"])) for row in rows),
        ids={0: IGNORE} | {number: number - 1 for number in range(1, 151)},
    )


def voc() -> Classes:
    """Return 20 objects and background; 255 is the border around objects."""
    names = tuple(_VOC_NAMES.split())
    ids = {number: number for number in range(21)}
    return Classes(names=names, palette=_voc_colours(21), ids={**ids, IGNORE: IGNORE})


def context_60() -> Classes:
    """Return 59 classes and background, the files' 0."""
    ids = {number: number for number in range(60)}
    return Classes(names=tuple(_CONTEXT_NAMES.split()), palette=_voc_colours(60), ids=ids)


def context_59() -> Classes:
    """Return 59 classes, which the files number from 1; 0, the background, is ignored."""
    ids = {0: IGNORE} | {number: number - 1 for number in range(1, 60)}
    return Classes(names=tuple(_CONTEXT_NAMES.split())[1:], palette=_voc_colours(60)[1:], ids=ids)


def _voc_colours(count: int) -> tuple[Colour, ...]:
    return tuple(
        (_channel(number), _channel(number >> 1), _channel(number >> 2)) for number in range(count)
    )


def _channel(number: int) -> int:
    # Every third bit of the number, the lowest first, becomes a bit of the colour, the highest first.
    return sum(((number >> (3 * place)) & 1) << (7 - place) for place in range(3))
