"""The qualitative figure, as Fig. 5 of the paper, pictures inside: input, truth, four networks, differences ringed."""

import base64
import io
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path

import numpy as np

from reports.model import Column, Figure, Frame, Table, Value, plain, text_column
from reports.training import predictions
from reports.training.predictions import NO_LABEL, Array, Predictions, Ring, short_names
from reports.training.studies import trained_experiments, training_studies

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
    gathered = (predictions.gather_predictions(study, files) for study in studies)
    return tuple(_figure_of(pictures) for pictures in gathered if pictures is not None)


def _figure_of(pictures: Predictions) -> Figure:
    study, labels = pictures.study, pictures.labels[:IMAGES]
    rings = [predictions.rings(pictures.of_image(at), label) for at, label in enumerate(labels)]
    data = _pixel_table(pictures, rings)
    name = study.file_name("pictures", study.experiment)
    return Figure(
        name=name,
        title=study.title("Fig. 5: what the networks see"),
        svg=_drawing(pictures, rings, identifier=name),
        alternative=_alternative(pictures, rings, data),
        data=data,
    )


def _pixel_table(pictures: Predictions, rings: Rings) -> Table:
    percent = partial(Column, unit="%", digits=1, scale=0.01, base="share", source="measured")
    names = (*short_names(pictures.predictions), "not all say the same")
    rows: list[tuple[Value, ...]] = []
    for at, regions in enumerate(rings):
        label, masks = pictures.labels[at], pictures.of_image(at)
        labelled = label != NO_LABEL
        parts = [(mask == label) & labelled for mask in masks]
        parts.append(predictions.disagreement(masks, label))
        shares = [float(p.sum() / labelled.sum()) if labelled.any() else None for p in parts]
        rows.append((f"image {at + 1}", *shares, len(regions)))
    return Table(
        name=pictures.study.file_name("pictures", pictures.study.experiment, after="data"),
        title="Pixel accuracy",
        columns=(text_column("image"), *map(percent, names), Column("rings")),
        rows=tuple(rows),
        caption=pictures.study.conditions,
    )


def _alternative(pictures: Predictions, rings: Rings, data: Table) -> str:
    names = short_names(pictures.predictions)
    columns = f"each as input, as truth and as {', '.join(names)} label it"
    sentences = [f"{len(rings)} validation images, {columns} (seed {pictures.seed}).", RING_NOTE]
    for row, regions in zip(data.rows, rings, strict=True):
        shares = zip(names, row[1:], strict=False)
        right = ", ".join(f"{n} {100 * v:.0f} %" for n, v in shares if isinstance(v, float))
        places = ", ".join(f"{100 * ring.share:.1f} %" for ring in regions) or "nothing"
        image = str(row[0]).capitalize()
        sentences.append(f"{image}: right are {right}; ringed {places} of the image.")
    lacking = zip(short_names(pictures.missing), pictures.missing.values(), strict=True)
    sentences += [f"Without {name}: {why}." for name, why in lacking]
    return plain(" ".join(sentences))


def _drawing(pictures: Predictions, rings: Rings, *, identifier: str) -> str:
    height, width = pictures.labels.shape[1:]
    tall = WIDTH * height / width
    size = f'width="{WIDTH:.1f}" height="{tall:.1f}"'
    heads = ("input", "truth", *short_names(pictures.predictions))
    colours = _colours(pictures.palette)
    parts = [_text(at * (WIDTH + GAP), TITLE - 8, head, bold=True) for at, head in enumerate(heads)]
    for at, regions in enumerate(rings):
        ellipses = ""
        for ring in regions:
            x, y, across, down = (WIDTH / width * pixels for pixels in ring[:4])
            place = f'cx="{x:.1f}" cy="{y:.1f}" rx="{across:.1f}" ry="{down:.1f}"'
            for colour, stroke in RING_STROKES:
                line = f'fill="none" stroke="{colour}" stroke-width="{stroke}"'
                ellipses += f"<ellipse {place} {line}/>"
        maps = (pictures.labels[at], *pictures.of_image(at))
        panels = (pictures.images[at].transpose(1, 2, 0), *(colours[each] for each in maps))
        for column, panel in enumerate(panels):
            place = f"translate({column * (WIDTH + GAP):.1f} {TITLE + at * (tall + GAP):.1f})"
            image = f'<image {size} preserveAspectRatio="none" href="{data_uri(panel)}"/>'
            group = f'<g transform="{place}" clip-path="url(#{identifier}-panel)">'
            parts.append(f"{group}{image}{ellipses}</g>")
    across = len(heads) * (WIDTH + GAP) - GAP
    legend, bottom = _legend(pictures, TITLE + len(rings) * (tall + GAP) + SWATCH, across)
    clip = f'<clipPath id="{identifier}-panel"><rect {size}/></clipPath>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across:.1f} {bottom:.1f}" '
        f'font-family="sans-serif" font-size="12">{clip}{"".join((*parts, *legend))}</svg>\n'
    )


def _text(x: float, y: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="currentColor"{weight}>{escape(plain(text))}</text>'


def _legend(pictures: Predictions, top: float, across: float) -> tuple[list[str], float]:
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


def _colours(palette: Array) -> Array:
    table: Array = np.zeros((256, 3), np.uint8)
    table[: min(len(palette), NO_LABEL)] = palette[:NO_LABEL]
    return table


def data_uri(pixels: Array) -> str:
    """A picture [h, w, 3] as a PNG in an address; of a large one every second, third ... pixel."""
    from PIL import Image

    step = -(-max(pixels.shape[:2]) // LARGEST_SIDE)
    out = io.BytesIO()
    Image.fromarray(pixels[::step, ::step]).save(out, "png")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"
