"""The qualitative figure, as Fig. 5 of the paper: input, truth and what four networks say, differences ringed.

The figure carries its pictures in itself.
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from reports.model import Column, Figure, Frame, Table, Value, text_column
from reports.render import plain
from reports.training.captions import training_conditions
from reports.training.claims import arm_name
from reports.training.predictions import (
    NO_LABEL,
    Predictions,
    Ring,
    disagreement,
    gather_predictions,
    rings,
)
from reports.training.runs import trained_experiments, training_studies

if TYPE_CHECKING:
    from reports.training.predictions import Array, Mask

    Rings = Sequence[Sequence[Ring]]  # of each image

IMAGES = 4
LARGEST_SIDE = 480
WIDTH, GAP, TITLE, SWATCH = 160.0, 6.0, 22.0, 18.0
RING_NOTE = (
    "Rings stand round the largest regions in which these networks do not all say the same, at the same place in every "
    "picture; black is where nothing is labelled."
)
RING_STROKES = (("#ffffff", 3.5), ("#e3001b", 1.8))


def qualitative_figures(frame: Frame, folder: Path) -> tuple[Figure, ...]:
    """One figure for each setting of Table 6 in which two or more of the four networks left pictures."""
    files = {path.stem: path for path in sorted(folder.rglob("pictures/*.npz"))}
    if not files or "table6" not in trained_experiments(frame):
        return ()
    studies = (study for study in training_studies(frame) if study.experiment == "table6")
    gathered = (gather_predictions(study, files) for study in studies)
    return tuple(_figure_of(pictures) for pictures in gathered if pictures is not None)


def _figure_of(pictures: Predictions) -> Figure:
    """A row for each image, a column for input, truth and each network."""
    study, labels = pictures.study, pictures.labels[:IMAGES]
    ringed = [rings(pictures.of_image(at), label) for at, label in enumerate(labels)]
    names = [_short_name(network) for network in pictures.predictions]
    data = _pixel_table(pictures, ringed, names)
    name = study.file_name("pictures", study.experiment)
    return Figure(
        name=name,
        title=study.title("Fig. 5: what the networks see"),
        svg=_drawing(pictures, ringed, names, identifier=name),
        alternative=_alternative(pictures, ringed, names, data=data),
        data=data,
    )


def _short_name(network: str) -> str:
    return "full" if network == "paper/afnb+apnb" else arm_name((network,))


def _pixel_table(pictures: Predictions, ringed: "Rings", names: Sequence[str]) -> Table:
    percent = partial(Column, unit="%", digits=1, scale=0.01, base="share", source="measured")
    rows: list[tuple[Value, ...]] = []
    for at, regions in enumerate(ringed):
        label, predictions = pictures.labels[at], pictures.of_image(at)
        labelled = label != NO_LABEL
        right = [_share_of((each == label) & labelled, labelled) for each in predictions]
        differ = _share_of(disagreement(predictions, label), labelled)
        rows.append((f"image {at + 1}", *right, differ, len(regions)))
    return Table(
        name=pictures.study.file_name("pictures", pictures.study.experiment, after="data"),
        title="Pixels that are right",
        columns=(
            text_column("image"),
            *(percent(name) for name in names),
            percent("not all say the same"),
            Column("rings"),
        ),
        rows=tuple(rows),
        caption=training_conditions(pictures.study),
    )


def _share_of(part: "Mask", whole: "Mask") -> float | None:
    return float(part.sum() / whole.sum()) if whole.any() else None


def _alternative(
    pictures: Predictions, ringed: "Rings", names: Sequence[str], *, data: Table
) -> str:
    columns = f"each as input, as truth and as {', '.join(names)} label it"
    sentences = [f"{len(ringed)} validation images, {columns} (seed {pictures.seed}).", RING_NOTE]
    for row, regions in zip(data.rows, ringed, strict=True):
        shares = zip(names, row[1:], strict=False)
        right = ", ".join(f"{n} {100 * v:.0f} %" for n, v in shares if isinstance(v, float))
        places = ", ".join(f"{100 * ring.share:.1f} %" for ring in regions) or "nothing"
        image = str(row[0]).capitalize()
        sentences.append(f"{image}: right are {right}; ringed {places} of the image.")
    sentences += [f"Without {_short_name(name)}: {why}." for name, why in pictures.missing.items()]
    return plain(" ".join(sentences))


def _drawing(
    pictures: Predictions, ringed: "Rings", names: Sequence[str], *, identifier: str
) -> str:
    height, width = pictures.labels.shape[1:]
    tall = WIDTH * height / width
    size = f'width="{WIDTH:.1f}" height="{tall:.1f}"'
    heads = ("input", "truth", *names)
    colours = _colours(pictures.palette)
    parts = [_text(at * (WIDTH + GAP), TITLE - 8, head, bold=True) for at, head in enumerate(heads)]
    for at, regions in enumerate(ringed):
        ellipses = "".join(_ellipse(ring, scale=WIDTH / width) for ring in regions)
        maps = (pictures.labels[at], *pictures.of_image(at))
        panels = (pictures.images[at].transpose(1, 2, 0), *(colours[each] for each in maps))
        for column, panel in enumerate(panels):
            place = f"translate({column * (WIDTH + GAP):.1f} {TITLE + at * (tall + GAP):.1f})"
            image = f'<image {size} preserveAspectRatio="none" href="{data_uri(panel)}"/>'
            parts.append(
                f'<g transform="{place}" clip-path="url(#{identifier}-panel)">{image}{ellipses}</g>'
            )
    across = len(heads) * (WIDTH + GAP) - GAP
    legend, bottom = _legend(pictures, TITLE + len(ringed) * (tall + GAP) + SWATCH, across)
    clip = f'<clipPath id="{identifier}-panel"><rect {size}/></clipPath>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across:.1f} {bottom:.1f}" '
        f'font-family="sans-serif" font-size="12">{clip}{"".join((*parts, *legend))}</svg>\n'
    )


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="currentColor"{weight}>{escape(plain(text))}</text>'


def _ellipse(ring: Ring, *, scale: float) -> str:
    middle = f'cx="{ring.x * scale:.1f}" cy="{ring.y * scale:.1f}"'
    radii = f'rx="{ring.across * scale:.1f}" ry="{ring.down * scale:.1f}"'
    return "".join(
        f'<ellipse {middle} {radii} fill="none" stroke="{colour}" stroke-width="{width}"/>'
        for colour, width in RING_STROKES
    )


def _legend(pictures: Predictions, top: float, across: float) -> tuple[list[str], float]:
    """Swatches of the classes that are in the pictures, and where they end."""
    import numpy as np

    maps = (pictures.labels, *pictures.predictions.values())
    present: set[int] = set().union(*(np.unique(each[:IMAGES]).tolist() for each in maps))
    colours = _colours(pictures.palette)
    parts, x, y = [], 0.0, top
    for at in sorted(present - {NO_LABEL}):
        name = pictures.classes[at] if at < len(pictures.classes) else f"class {at}"
        wide = 26 + 7.2 * len(plain(name))
        x, y = (x, y) if x + wide <= across else (0.0, y + SWATCH)
        red, green, blue = colours[at].tolist()
        parts.append(
            f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="12" height="12" '
            f'fill="rgb({red},{green},{blue})" stroke="currentColor" stroke-width="0.5"/>'
        )
        parts.append(_text(x + 17, y, name))
        x += wide
    return parts, y + 8


def _colours(palette: "Array") -> "Array":
    """A colour for each of the 256 values; those without one are black."""
    import numpy as np

    table: Array = np.zeros((256, 3), np.uint8)
    table[: min(len(palette), NO_LABEL)] = palette[:NO_LABEL]
    return table


def data_uri(pixels: "Array") -> str:
    """A picture [h, w, 3] as a PNG in an address; of a large one every second, third ... pixel."""
    step = -(-max(pixels.shape[:2]) // LARGEST_SIDE)
    return f"data:image/png;base64,{base64.b64encode(_png(pixels[::step, ::step])).decode()}"


def _png(pixels: "Array") -> bytes:
    """Write uint8 [h, w, 3] as PNG (W3C PNG specification: signature, header, one block of unfiltered rows, end)."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")):
        check = struct.pack(">I", zlib.crc32(kind + body))
        parts += [struct.pack(">I", len(body)), kind, body, check]
    return b"".join(parts)
