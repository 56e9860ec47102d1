"""Drawing of procedural scenes: a map of surface numbers, from back to front, painted in one go.

Axes: h and w height and width of the image, s surfaces.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ann.spec import Size

Map = NDArray[np.uint8]  # (h, w), or a part of one that is drawn into
Random = np.random.Generator

SCENE_SIZE = Size(height=64, width=256)
DISTANCE = 120  # pixels from a cue to what it decides, at least
END = 44  # cues stand within so many pixels of an end of the image
BONNET = 4  # rows of the car that looks
# The classes that each cue decides: where it shows red or orange, and where it shows green or blue.
CUES: dict[str, tuple[str, str]] = {
    "signal": ("waiting", "driving"),
    "billboard": ("shop", "office"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """What a part of a scene looks like, by name of its class, or of its look where a cue decides the class."""

    name: str
    colour: tuple[int, int, int]  # mean red, green and blue
    spread: int = 12  # standard deviation of each of them from scene to scene
    pattern: int = 0  # a row of `_patterns`
    contrast: int = 0  # by how much the pattern brightens and darkens
    cue: str | None = None  # which of `CUES` decides the class; None where the place itself tells


_BUILDING = Surface(name="building", colour=(125, 100, 90), spread=18, pattern=1, contrast=16)
_FACADE = Surface(
    name="facade", cue="billboard", colour=(170, 160, 150), spread=18, pattern=3, contrast=34
)
_VEHICLE = Surface(
    name="vehicle", cue="signal", colour=(120, 115, 140), spread=35, pattern=2, contrast=24
)
_HOUSING = Surface(name="red signal", colour=(165, 45, 40), spread=6)  # in the light of its lamp
_LAMP = Surface(name="red signal", colour=(240, 40, 30), spread=8)
_BOARD = Surface(name="orange board", colour=(235, 140, 30), spread=8, pattern=4, contrast=10)
SURFACES: dict[str, Surface] = {
    "sky": Surface(name="sky", colour=(165, 190, 215)),
    "road": Surface(name="road", colour=(85, 85, 90)),
    "mark": Surface(name="road", colour=(205, 205, 200)),
    "sidewalk": Surface(name="sidewalk", colour=(150, 145, 150), pattern=4, contrast=10),
    "fence": Surface(name="fence", colour=(120, 95, 60), pattern=5, contrast=34),
    "pole": Surface(name="pole", colour=(50, 55, 60)),
    "vegetation": Surface(name="vegetation", colour=(60, 105, 50), pattern=6, contrast=26),
    "person": Surface(name="person", colour=(170, 60, 110), spread=25),
    **{f"building {number}": _BUILDING for number in range(3)},
    **{f"facade {number}": _FACADE for number in range(2)},
    **{f"vehicle {number}": _VEHICLE for number in range(3)},
    "red signal": _HOUSING,
    "red lamp": _LAMP,
    "green signal": replace(_HOUSING, name="green signal", colour=(30, 140, 70)),
    "green lamp": replace(_LAMP, name="green signal", colour=(30, 230, 90)),
    "orange board": _BOARD,
    "blue board": replace(_BOARD, name="blue board", colour=(40, 80, 225)),
}
NUMBERS = {name: number for number, name in enumerate(SURFACES)}


def draw(random: Random, *, cues: tuple[int, ...], smallest: float = 1.0) -> Map:
    """Draw a scene as surface numbers (h, w); the cues come last, so that nothing hides them.

    Their sides are full size times something between `smallest` and 1.
    """
    scene = np.full((SCENE_SIZE.height, SCENE_SIZE.width), NUMBERS["sky"], dtype=np.uint8)
    horizon = int(random.integers(28, 33))
    kerb = horizon + int(random.integers(8, 11))
    signal_right, board_right = (bool(side) for side in random.integers(2, size=2))
    _draw_buildings(random, scene[:horizon])
    _draw_facades(random, _columns_far_from_end(scene[:horizon], from_right=board_right))
    scene[horizon:kerb] = NUMBERS["sidewalk"]
    scene[kerb:] = NUMBERS["road"]
    _draw_marks(random, scene[kerb:])
    _draw_sidewalk(random, scene[: kerb - 2])
    lanes = scene[kerb - 4 : -BONNET]
    _draw_vehicles(random, _columns_far_from_end(lanes, from_right=signal_right))
    ends = [_columns_at_end(scene, right=right) for right in (signal_right, board_right)]
    if smallest == 1:
        _draw_signal(random, ends[0], green=bool(cues[0]))
        _draw_board(random, ends[1], blue=bool(cues[1]))
    else:
        _draw_small_signal(_place(random, ends[0][20:57], (34, 20), smallest), green=bool(cues[0]))
        board = _place(random, ends[1][:20], (18, 40), smallest)
        board[:] = NUMBERS["blue board" if cues[1] else "orange board"]
    return scene


def _columns_at_end(part: Map, *, right: bool) -> Map:
    return part[:, -END:] if right else part[:, :END]


def _columns_far_from_end(part: Map, *, from_right: bool) -> Map:
    """Columns whose distance from a cue at that end is at least `DISTANCE`, wherever it stands there."""
    width = SCENE_SIZE.width - END - DISTANCE
    return part[:, :width] if from_right else part[:, -width:]


def _draw_buildings(random: Random, part: Map) -> None:
    """Side by side, 4 of 5 of the places taken, so that sky is seen between them."""
    horizon = len(part)
    widths = random.integers(18, 42, size=14)
    heights = random.integers(8, 24, size=14)
    kinds = random.integers(3, size=14)
    taken = random.random(14) < 0.8
    places = np.stack([widths, widths.cumsum(), heights, kinds], axis=1)[taken]
    for width, right, height, kind in places:
        part[horizon - height :, right - width : right] = NUMBERS[f"building {kind}"]


def _draw_facades(random: Random, part: Map) -> None:
    horizon, width = part.shape
    for number in range(2):
        wide, high = random.integers((26, 18), (40, 26))
        left = number * width // 2 + int(random.integers(max(1, width // 2 - wide)))
        part[horizon - high :, left : left + wide] = NUMBERS[f"facade {number}"]


def _draw_marks(random: Random, part: Map) -> None:
    top = int(random.integers(4, 14))
    for left in range(int(random.integers(24)), SCENE_SIZE.width, 24):
        part[top : top + 2, left : left + 12] = NUMBERS["mark"]


def _draw_sidewalk(random: Random, part: Map) -> None:
    """Fences, trees, people and poles, all of which stand on the sidewalk."""
    ground, width = part.shape
    for left, wide in random.integers((0, 24), (width, 60), size=(2, 2)):
        part[ground - 6 : ground, left : left + wide] = NUMBERS["fence"]
    for left, across in random.integers((0, 12), (width - 20, 20), size=(4, 2)):
        crown = part[ground - 8 - across : ground - 8, left : left + across]
        crown[_disc(int(across))] = NUMBERS["vegetation"]
        trunk = left + across // 2
        part[ground - 8 : ground, trunk - 1 : trunk + 2] = NUMBERS["vegetation"]
    for left, high in random.integers((0, 11), (width - 6, 16), size=(5, 2)):
        part[ground - high : ground, left : left + 6] = NUMBERS["person"]
    for left, high in random.integers((0, 24), (width - 4, 36), size=(3, 2)):
        part[ground - high : ground, left : left + 4] = NUMBERS["pole"]


def _draw_vehicles(random: Random, part: Map) -> None:
    height, width = part.shape
    for number in range(3):
        wide, high = random.integers((24, 12), (33, 18))
        left = number * width // 3 + int(random.integers(-4, 8))
        left = min(max(left, 0), width - int(wide))
        bottom = int(random.integers(high, height + 1))
        body = part[bottom - high : bottom, left : left + wide]
        body[high // 3 :] = NUMBERS[f"vehicle {number}"]
        body[: high // 3, wide // 5 : -(wide // 5)] = NUMBERS[f"vehicle {number}"]


def _draw_signal(random: Random, part: Map, *, green: bool) -> None:
    left, top = random.integers((0, 20), (END - 20, 23))
    state, lamp = ("green", top + 18) if green else ("red", top + 2)
    part[top + 34 : top + 38, left + 8 : left + 12] = NUMBERS["pole"]
    part[top : top + 34, left : left + 20] = NUMBERS[f"{state} signal"]
    part[lamp : lamp + 14, left + 2 : left + 18] = NUMBERS[f"{state} lamp"]


def _draw_board(random: Random, part: Map, *, blue: bool) -> None:
    left, top = random.integers((0, 0), (END - 39, 3))
    part[top : top + 18, left : left + 40] = NUMBERS["blue board" if blue else "orange board"]


def _place(random: Random, part: Map, full: tuple[int, int], smallest: float) -> Map:
    """A place anywhere in a part for a cue whose size is even on a logarithmic scale."""
    scale = smallest ** random.random()
    high, wide = (round(scale * side) for side in full)
    top, left = random.integers((0, 0), (part.shape[0] - high + 1, part.shape[1] - wide + 1))
    return part[top : top + high, left : left + wide]


def _draw_small_signal(place: Map, *, green: bool) -> None:
    state, (high, wide) = "green" if green else "red", place.shape
    edge, half = high // 12, high // 2
    place[:] = NUMBERS[f"{state} signal"]
    lamp = place[half : high - edge] if green else place[edge:half]
    lamp[:, wide // 10 : wide - wide // 10] = NUMBERS[f"{state} lamp"]


@cache
def _disc(across: int) -> NDArray[np.bool_]:
    places = np.arange(across) - (across - 1) / 2
    return places[:, None] ** 2 + places**2 <= across**2 / 4


def paint(random: Random, scene: Map) -> Map:
    """Give a scene its colours, patterns, light and noise: red, green and blue (h, w, 3).

    What is drawn at random here does not depend on the scene, so that two scenes from the same
    generator differ in their images only where they differ themselves.
    """
    surfaces = SURFACES.values()
    colours = np.array([surface.colour for surface in surfaces], dtype=np.float32)
    spreads = np.array([[surface.spread] for surface in surfaces], dtype=np.float32)
    contrasts = np.array([surface.contrast for surface in surfaces], dtype=np.float32)
    colours += spreads * random.standard_normal(colours.shape, dtype=np.float32)
    brightness = random.uniform(0.8, 1.1)
    left, right = random.uniform(0.85, 1.15, size=2)
    light = brightness * np.linspace(left, right, SCENE_SIZE.width)
    noise = random.integers(-14, 15, size=(*scene.shape, 3), dtype=np.int8)
    image = colours.take(scene, axis=0)
    image += _pattern(random, scene, contrasts)[..., None]
    image *= light.astype(np.float32)[:, None]
    image += noise
    return image.clip(0, 255).astype(np.uint8)


def _pattern(random: Random, scene: Map, contrasts: NDArray[np.float32]) -> NDArray[np.float32]:
    down, right = random.integers(16, size=2)
    rows = np.arange(down, down + SCENE_SIZE.height)[:, None]
    columns = np.arange(right, right + SCENE_SIZE.width)
    kinds = np.array([surface.pattern for surface in SURFACES.values()]).take(scene)
    return contrasts.take(scene) * _patterns()[kinds, rows % 16, columns % 16]


@cache
def _patterns() -> NDArray[np.float32]:
    """Tiles of 16x16 values from -1 to 1: flat, storeys, bands, windows, slabs, boards, leaves."""
    row, column = np.mgrid[:16, :16]
    leaves = np.kron(np.random.default_rng(0).integers(-1, 2, size=(8, 8)), np.ones((2, 2)))
    tiles = (
        np.zeros((16, 16)),
        np.where(row % 8 < 5, 1, -1),
        np.where(row % 4 < 2, 1, -1),
        np.where((row % 8 < 4) & (column % 8 < 4), -1, 1),
        np.where(column % 16 < 8, 1, -1),
        np.where(column % 4 < 2, 1, -1),
        leaves,
    )
    return np.stack(tiles).astype(np.float32)
