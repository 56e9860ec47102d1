"""Names of points: each is nearest to its own point, or joined to it by a line."""

import math
from itertools import combinations, product

import matplotlib as mpl
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from reports.crossover.gallery_figure import _draw_gallery
from reports.model.drawing import STYLE, WIDTH
from reports.model.labels import SAME_PLACE, label_points

# G MACs and MiB of the gallery at its own map, as `python -m bench.efficiency --gallery --device meta` predicts them.
GALLERY = [
    *(("nb-residual", 38.65, 536.0), ("apnb-residual", 4.756, 35.65), ("dnl", 38.66, 536.0)),
    *(("ema", 6.174, 82.13), ("cc", 7.181, 96.0), ("ocr", 7.225, 89.26), ("psp", 38.66, 80.02)),
    *(("aspp", 32.75, 96.0), ("mha", 77.31, 80.0), ("segformer", 11.01, 50.0)),
    *(("pvtv2-linear", 4.745, 48.19), ("p2t", 8.682, 264.9), ("swin", 10.23, 157.0)),
    *(("nystrom", 10.12, 176.6), ("linformer", 12.88, 145.0), ("msca", 6.874, 80.0)),
    *(("efficient-attention", 4.429, 64.03), ("lka", 6.753, 48.0)),
]
# Of one study: six arms within a tenth of a point and of a GMAC.
CROWD = [(f"common-fusion+arm{at}", 20 + at % 3 * 0.05, 50 + at // 3 * 0.05) for at in range(6)]
CROWD.append(("far", 30.0, 60.0))


def draw_crowd(axes, points):
    for _, x, y in points:
        axes.errorbar(x, y, marker="o")
    axes.margins(x=0.3, y=0.3)
    label_points(axes, points)


DRAWN = {"gallery": (_draw_gallery, GALLERY, 4.6), "crowd": (draw_crowd, CROWD, 3.6)}


@pytest.fixture(scope="module", params=DRAWN)
def laid(request):
    """Of each name its box, its own point and whether a line joins them; and the frame."""
    draw, points, height = DRAWN[request.param]
    with mpl.rc_context(STYLE):
        canvas = Figure(figsize=(WIDTH, height), dpi=72)
        FigureCanvasSVG(canvas)
        axes = canvas.add_subplot()
        draw(axes, points)
        canvas.draw_without_rendering()
        places = {name: axes.transData.transform((x, y)) for name, x, y in points}
        names = {
            # Of the text alone, without its line.
            note.get_text(): (
                Text.get_window_extent(note),
                places[note.get_text()],
                note.arrow_patch is not None,
            )
            for note in axes.texts
        }
        return names, axes.get_window_extent()


def distance(box, spot):
    across = max(box.x0 - spot[0], 0, spot[0] - box.x1)
    return math.hypot(across, max(box.y0 - spot[1], 0, spot[1] - box.y1))


def test_a_name_without_a_line_is_nearer_to_its_own_point_than_to_any_other(laid):
    names, _ = laid
    mistaken = [
        (name, other)
        for (name, (box, own, is_joined)), (other, (_, spot, _)) in product(
            names.items(), names.items()
        )
        if not is_joined
        and math.dist(own, spot) > SAME_PLACE
        and distance(box, spot) <= distance(box, own)
    ]
    assert not mistaken


def test_no_name_covers_another_or_a_point(laid):
    names, _ = laid
    covered = [
        (one, other)
        for (one, (box, _, _)), (other, (second, _, _)) in combinations(names.items(), 2)
        if box.overlaps(second)
    ]
    hidden = [
        (name, other)
        for (name, (box, _, _)), (other, (_, spot, _)) in product(names.items(), names.items())
        if distance(box, spot) == 0
    ]
    assert (covered, hidden) == ([], [])


def test_names_stay_within_the_axes(laid):
    names, frame = laid
    outside = [
        name
        for name, (box, _, _) in names.items()
        if not (frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1))
    ]
    assert not outside


@pytest.mark.parametrize("laid", ["gallery"], indirect=True)
def test_most_names_of_the_gallery_need_no_line(laid):
    names, _ = laid
    assert len(names) == len(GALLERY)
    assert sum(is_joined for _, _, is_joined in names.values()) <= 4
