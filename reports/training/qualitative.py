"""The qualitative figure, as Fig. 5 of the paper: input, truth and what four networks say, differences ringed.

The figure carries its pictures in itself.
"""

import base64
import struct
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from reports.model import Column, Figure, Table, Value
from reports.render import plain
from reports.training import runs
from reports.training.captions import training_conditions
from reports.training.claims import arm_name
from reports.training.predictions import (
    UNLABELLED,
    Predictions,
    Ring,
    disagreement,
    gather_predictions,
    rings,
)

if TYPE_CHECKING:
    import pandas as pd

    from reports.training.predictions import Array, Mask

IMAGES = 4
LARGEST_SIDE = 480
WIDTH, GAP, TITLE, SWATCH = 160.0, 6.0, 22.0, 18.0
RINGED = (
    "Rings stand round the largest regions in which these networks do not all say the same, at the same place in every "
    "picture; black is where nothing is labelled."
)
RING = (("#ffffff", 3.5), ("#e3001b", 1.8))


def qualitative_figures(frame: "pd.DataFrame", folder: Path) -> tuple[Figure, ...]:
    """One figure for each setting of Table 6 in which two or more of the four networks left pictures."""
    files = {path.stem: path for path in sorted(folder.rglob("pictures/*.npz"))}
    if not files or "table6" not in runs.trained_experiments(frame):
        return ()
    studies = (study for study in runs.training_studies(frame) if study.experiment == "table6")
    sheets = (gather_predictions(study, files) for study in studies)
    return tuple(qualitative_figure(found) for found in sheets if found is not None)


def qualitative_figure(found: Predictions) -> Figure:
    """Draw a sheet: a row for each image, a column for input, truth and each network."""
    shown = min(IMAGES, len(found.labels))
    ringed_in = [
        rings([p[at] for p in found.predictions.values()], found.labels[at]) for at in range(shown)
    ]
    data = _numbers(found, ringed_in)
    name = found.study.file_name("pictures", found.study.experiment)
    return Figure(
        name=name,
        title=", ".join(filter(None, ("Fig. 5: what the networks see", found.study.name))),
        svg=_drawing(found, ringed_in, name),
        alternative=_words(found, ringed_in, data),
        data=data,
    )


def _numbers(found: Predictions, ringed_in: "Sequence[Sequence[Ring]]") -> Table:
    percent = partial(Column, unit="%", digits=1, scale=0.01, base="share", source="measured")
    names = [_name(name) for name in found.predictions]
    rows = []
    for at, ringed in enumerate(ringed_in):
        label = found.labels[at]
        counted = label != UNLABELLED
        right = [_share((p[at] == label) & counted, counted) for p in found.predictions.values()]
        differ = disagreement([p[at] for p in found.predictions.values()], label)
        line: tuple[Value, ...] = (f"image {at + 1}", *right, _share(differ, counted), len(ringed))
        rows.append(line)
    return Table(
        name=found.study.file_name("pictures", found.study.experiment, after="data"),
        title="Pixels that are right",
        columns=(
            Column("image", align="left"),
            *(percent(name) for name in names),
            percent("not all say the same"),
            Column("rings"),
        ),
        rows=tuple(rows),
        caption=training_conditions(found.study),
    )


def _share(part: "Mask", whole: "Mask") -> float | None:
    return float(part.sum() / whole.sum()) if whole.any() else None


def _name(network: str) -> str:
    return "full" if network == "paper/afnb+apnb" else arm_name((network,))


def _words(found: Predictions, ringed_in: "Sequence[Sequence[Ring]]", data: Table) -> str:
    names = [_name(name) for name in found.predictions]
    pictures = f"{len(ringed_in)} validation images, each as input, as truth and as {', '.join(names)} label it"
    said = [f"{pictures} (seed {found.seed}).", RINGED]
    for row, ringed in zip(data.rows, ringed_in, strict=True):
        shares = zip(names, row[1:], strict=False)
        right = ", ".join(f"{n} {100 * v:.0f} %" for n, v in shares if isinstance(v, float))
        regions = ", ".join(f"{100 * ring.share:.1f} %" for ring in ringed)
        said.append(
            f"{str(row[0]).capitalize()}: right are {right}; ringed {regions or 'nothing'} of the image."
        )
    said += [f"Without {_name(name)}: {why}." for name, why in found.missing.items()]
    return plain(" ".join(said))


def _drawing(found: Predictions, ringed_in: "Sequence[Sequence[Ring]]", name: str) -> str:
    height, width = found.labels.shape[1:]
    tall = WIDTH * height / width
    heads = ("input", "truth", *(_name(network) for network in found.predictions))
    clip = f'<clipPath id="{name}-panel"><rect width="{WIDTH:.1f}" height="{tall:.1f}"/></clipPath>'
    parts = [_text(at * (WIDTH + GAP), TITLE - 8, head, bold=True) for at, head in enumerate(heads)]
    for at, ringed in enumerate(ringed_in):
        rings_in = "".join(_ellipse(ring, scale=WIDTH / width) for ring in ringed)
        maps = (found.labels[at], *(p[at] for p in found.predictions.values()))
        panels = (found.images[at].transpose(1, 2, 0), *(_coloured(m, found.palette) for m in maps))
        for column, panel in enumerate(panels):
            place = f"translate({column * (WIDTH + GAP):.1f} {TITLE + at * (tall + GAP):.1f})"
            drawn = f"{_image(tall, data=data_uri(panel))}{rings_in}"
            parts.append(f'<g transform="{place}" clip-path="url(#{name}-panel)">{drawn}</g>')
    across = len(heads) * (WIDTH + GAP) - GAP
    legend, bottom = _legend(found, TITLE + len(ringed_in) * (tall + GAP) + SWATCH, across)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across:.1f} {bottom:.1f}" '
        f'font-family="sans-serif" font-size="12">{clip}{"".join((*parts, *legend))}</svg>\n'
    )


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="currentColor"{weight}>{escape(plain(text))}</text>'


def _image(height: float, *, data: str) -> str:
    return f'<image width="{WIDTH:.1f}" height="{height:.1f}" preserveAspectRatio="none" href="{data}"/>'


def _ellipse(ring: Ring, *, scale: float) -> str:
    middle = f'cx="{ring.x * scale:.1f}" cy="{ring.y * scale:.1f}"'
    radii = f'rx="{ring.across * scale:.1f}" ry="{ring.down * scale:.1f}"'
    return "".join(
        f'<ellipse {middle} {radii} fill="none" stroke="{colour}" stroke-width="{width}"/>'
        for colour, width in RING
    )


def _legend(found: Predictions, top: float, across: float) -> tuple[list[str], float]:
    """Swatches of the classes that are seen, and where they end."""
    import numpy as np

    maps = (found.labels[:IMAGES], *(p[:IMAGES] for p in found.predictions.values()))
    seen: set[int] = set().union(*(np.unique(one).tolist() for one in maps))
    parts, x, y = [], 0.0, top
    for at in sorted(seen - {UNLABELLED}):
        name = found.classes[at] if at < len(found.classes) else f"class {at}"
        wide = 26 + 7.2 * len(plain(name))
        x, y = (x, y) if x + wide <= across else (0.0, y + SWATCH)
        red, green, blue = _colours(found.palette)[at].tolist()
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
    table[: min(len(palette), UNLABELLED)] = palette[:UNLABELLED]
    return table


def _coloured(labels: "Array", palette: "Array") -> "Array":
    return _colours(palette)[labels]


def data_uri(pixels: "Array") -> str:
    """A picture [h, w, 3] as a PNG in an address; of a large one every second, third ... pixel."""
    step = -(-max(pixels.shape[:2]) // LARGEST_SIDE)
    return f"data:image/png;base64,{base64.b64encode(png(pixels[::step, ::step])).decode()}"


def png(pixels: "Array") -> bytes:
    """Write uint8 [h, w, 3] as PNG (W3C PNG specification: signature, header, one block of unfiltered rows, end)."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunks(((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")))
    )


def _chunks(chunks: Sequence[tuple[bytes, bytes]]) -> Iterator[bytes]:
    for kind, body in chunks:
        check = struct.pack(">I", zlib.crc32(kind + body))
        yield struct.pack(">I", len(body)) + kind + body + check
