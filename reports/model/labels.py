"""Names of points in a figure: beside its own point, or joined to it by a thin line where there is no room."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from reports.model.drawing import INK, Plot

if TYPE_CHECKING:
    from matplotlib.text import Annotation

# Points of type.
FONT_SIZE = 9
# How many times as far as its own point another one has to be from a name that no line joins to its point.
APART = 1.7
# Points so near are one place to the eye: less than the radius of a dot.
SAME_PLACE = 2.0
# What stays free about a dot, and between two names.
CLEAR, GAP = 4.0, 1.0
# Where a name may stand about its point: right, left, above, below, then aslant.
NEAR_PLACES = ((8, 0), (-8, 0), (0, 8), (0, -8), (6, 6), (6, -6), (-6, 6), (-6, -6))
# With a line: so far away, in so many directions.
FAR, DIRECTIONS = (16, 22, 30, 40, 52, 66, 82), 16
LEADER: Any = {"arrowstyle": "-", "color": INK, "alpha": 0.6, "linewidth": 0.7}

Spot = tuple[float, float]


class TextBox(NamedTuple):
    """What a name covers, in points of type."""

    left: float
    low: float
    right: float
    high: float

    def nearest(self, spot: Spot) -> Spot:
        """Give the place in it that is nearest to a spot."""
        return (
            min(max(spot[0], self.left), self.right),
            min(max(spot[1], self.low), self.high),
        )

    def distance(self, spot: Spot) -> float:
        """Of a spot; 0 inside."""
        return math.dist(self.nearest(spot), spot)

    def meets(self, other: "TextBox", gap: float = GAP) -> bool:
        """Whether both are nearer than a gap."""
        across = self.left < other.right + gap and other.left < self.right + gap
        return across and self.low < other.high + gap and other.low < self.high + gap

    def holds(self, other: "TextBox") -> bool:
        """Whether the other lies inside."""
        inside = self.left <= other.left and other.right <= self.right
        return inside and self.low <= other.low and other.high <= self.high


class _Room:
    """The axes with their dots, and what is taken."""

    def __init__(self, frame: TextBox, dots: Sequence[Spot]) -> None:
        self.frame = frame
        self.dots = dots
        self.boxes: list[TextBox] = []
        self.lines: list[tuple[Spot, Spot]] = []

    def is_free(self, box: TextBox) -> bool:
        """Whether a name covers no dot, name or line there, nor leaves the axes."""
        return (
            self.frame.holds(box)
            and not any(box.meets(other) for other in self.boxes)
            and all(box.distance(dot) >= CLEAR for dot in self.dots)
            and not any(
                box.distance(spot) < GAP for line in self.lines for spot in _spots_along(*line)
            )
        )

    def is_told_apart(self, box: TextBox, own: Spot) -> bool:
        """Whether no other point is nearly as near, whose name it could be taken for."""
        reach = APART * box.distance(own)
        return all(box.distance(dot) >= reach for dot in self._others(own))

    def is_clear(self, box: TextBox, own: Spot) -> bool:
        """Whether a line from a point to its name passes by every other point, name and line."""
        end = box.nearest(own)
        spots = list(_spots_along(own, end))
        return (
            all(math.dist(spot, dot) >= CLEAR for spot, dot in product(spots, self._others(own)))
            and not any(
                min(math.dist(spot, other) for other in _spots_along(*line)) < GAP
                for spot, line in product(spots, self.lines)
            )
            and not any(other.distance(spot) < GAP for spot, other in product(spots, self.boxes))
        )

    def _others(self, own: Spot) -> Iterator[Spot]:
        return (dot for dot in self.dots if math.dist(dot, own) >= SAME_PLACE)


def label_points(axes: Plot, points: Sequence[tuple[str, float, float]]) -> None:
    """Write each name within the axes, over no other name or point, where its own point is by far the nearest.

    Those with the fewest such places come first; a thin line joins a name to its point where there is none. Axes,
    ticks and labels have to be set by then.
    """
    from matplotlib.backends.backend_agg import RendererAgg

    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    scale = 72 / axes.figure.dpi
    renderer = RendererAgg(640, 380, axes.figure.dpi)  # type: ignore[no-untyped-call]
    frame = TextBox(*(end * scale for end in axes.get_window_extent(renderer).extents))
    places = [(float(x), float(y)) for x, y in axes.transData.transform([p[1:] for p in points])]
    dots = [(x * scale, y * scale) for x, y in places]
    room = _Room(frame, dots)
    sizes = []
    for name, x, y in points:
        text = _write_name(axes, name, (x, y), middle=(0, 0))
        extent = text.get_window_extent(renderer)
        sizes.append((extent.width * scale, extent.height * scale))
        text.remove()

    def near(at: int) -> list[TextBox]:
        own = dots[at]
        boxes = (_placed(own, offset, sizes[at]) for offset in NEAR_PLACES)
        return [box for box in boxes if room.is_free(box) and room.is_told_apart(box, own)]

    def far(at: int) -> TextBox:
        boxes = [_placed(dots[at], offset, sizes[at]) for offset in _far_offsets()]
        free = [box for box in boxes if room.is_free(box)]
        return next((box for box in free if room.is_clear(box, dots[at])), (free or boxes)[0])

    def write(at: int, box: TextBox, *, is_joined: bool) -> None:
        name, x, y = points[at]
        own = dots[at]
        room.boxes.append(box)
        middle = ((box.left + box.right) / 2 - own[0], (box.low + box.high) / 2 - own[1])
        relative: Spot | None = None
        if is_joined:
            end = box.nearest(own)
            room.lines.append((own, end))
            relative = (
                (end[0] - box.left) / (box.right - box.left),
                (end[1] - box.low) / (box.high - box.low),
            )
        _write_name(axes, name, (x, y), middle=middle, joined_at=relative)

    left = set(range(len(points)))
    while left:
        choices = {at: near(at) for at in left}
        at = min(left, key=lambda at: (not choices[at], len(choices[at]), at))
        if not choices[at]:
            break
        write(at, choices[at][0], is_joined=False)
        left.remove(at)
    for at in sorted(left):
        write(at, far(at), is_joined=True)


def _write_name(
    axes: Plot, name: str, point: Spot, *, middle: Spot, joined_at: Spot | None = None
) -> "Annotation":
    """Write a name with its middle so many points of type from its point; the line leaves it where that is said."""
    line = (
        {}
        if joined_at is None
        else {"arrowprops": {**LEADER, "relpos": joined_at, "shrinkA": 0, "shrinkB": CLEAR - 1}}
    )
    style: Any = {"ha": "center", "va": "center", "fontsize": FONT_SIZE, **line}
    return axes.annotate(name, point, xytext=middle, textcoords="offset points", **style)


def _placed(own: Spot, offset: Spot, size: Spot) -> TextBox:
    """Of a name whose edge or corner towards its point is so far from it."""
    (x, y), (width, height) = (own[0] + offset[0], own[1] + offset[1]), size
    left = x - width / 2 + math.copysign(width / 2, offset[0]) * (offset[0] != 0)
    low = y - height / 2 + math.copysign(height / 2, offset[1]) * (offset[1] != 0)
    return TextBox(left, low, left + width, low + height)


def _far_offsets() -> Iterator[Spot]:
    for distance, at in product(FAR, range(DIRECTIONS)):
        angle = 2 * math.pi * at / DIRECTIONS
        across, up = distance * math.cos(angle), distance * math.sin(angle)
        # What is all but zero is straight above or beside.
        yield (across if abs(across) > 1e-6 else 0.0, up if abs(up) > 1e-6 else 0.0)


def _spots_along(start: Spot, end: Spot) -> Iterator[Spot]:
    """Places along a line, a point of type apart."""
    count = max(1, math.ceil(math.dist(start, end)))
    for at in range(count + 1):
        share = at / count
        yield start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
