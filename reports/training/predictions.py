"""Pictures that trainings left, gathered for one figure: the same images with each network's prediction.

A training leaves `pictures/<cell>.npz` beside its records: `images` uint8 [k, 3, h, w], `labels` and `predictions`
[k, h, w] with 255 for pixels that don't count, `palette` uint8 [classes, 3].

Axes: k images, h and w height and width.
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports.training.runs import TrainingStudy

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.uint8]
    Mask = npt.NDArray[np.bool_]

SHOWN_NETWORKS = ("paper/baseline", "paper/nb", "paper/apnb", "paper/afnb+apnb")
UNLABELLED = 255
PICTURE_ARRAYS = ("images", "labels", "predictions", "palette")
RINGS = 3
# Smaller regions are not ringed, nor what an opening by 3x3 takes away: the borders of objects.
LEAST_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class Predictions:
    """Images with their truth and each network's prediction, at one seed."""

    study: TrainingStudy
    seed: object
    images: "Array"
    labels: "Array"
    predictions: "Mapping[str, Array]"
    palette: "Array"
    classes: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ring:
    """An ellipse about a region in which the networks differ, in pixels; `share` is the region's of the image."""

    x: float
    y: float
    across: float
    down: float
    share: float


def gather_predictions(study: TrainingStudy, files: Mapping[str, Path]) -> Predictions | None:
    """Gather the pictures of the seed that has most of the four networks; None where there are fewer than two."""
    arms = {name: found for name in SHOWN_NETWORKS if (found := study.arm((name,))) is not None}
    having = {
        seed: [n for n, arm in arms.items() if seed in arm.runs and arm.runs[seed]["cell"] in files]
        for seed in study.seeds
    }
    seed = max(having, key=lambda one: len(having[one]), default=None)
    if seed is None or len(having[seed]) < 2:
        return None
    rows = {name: arms[name].runs[seed] for name in having[seed]}
    return _joined(study, seed, {name: (row, files[row["cell"]]) for name, row in rows.items()})


def _joined(
    study: TrainingStudy, seed: object, found: Mapping[str, tuple[Any, Path]]
) -> Predictions | None:
    import numpy as np

    first: dict[str, Array] = {}
    predictions, missing = {}, dict.fromkeys(SHOWN_NETWORKS, "no pictures of it")
    for name, (_, path) in found.items():
        try:
            arrays = read_pictures(path)
        except ValueError as error:
            missing[name] = str(error)
            continue
        first = first or arrays
        if all(np.array_equal(first[key], arrays[key]) for key in ("images", "labels")):
            predictions[name] = arrays["predictions"]
        else:
            missing[name] = f"{path.name} shows other images"
    if len(predictions) < 2:
        return None
    missing = {name: why for name, why in missing.items() if name not in predictions}
    classes = next(iter(found.values()))[0]["accuracy"].classes
    return Predictions(
        study,
        seed,
        first["images"],
        first["labels"],
        predictions,
        first["palette"],
        classes,
        missing,
    )


def read_pictures(path: Path) -> "dict[str, Array]":
    """Read one file of pictures.

    Raises:
        ValueError: it is damaged or of another form; the message names it.
    """
    import numpy as np

    try:
        # Opened here, because numpy leaves a file open that turns out to be none of its own.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key]) for key in PICTURE_ARRAYS}
    except (
        OSError,
        TypeError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        msg = f"{path.name} can't be read ({type(error).__name__}); delete it and train that cell again"
        raise ValueError(msg) from error
    shape = arrays["labels"].shape
    expected = {
        "images": (*shape[:1], 3, *shape[1:]),
        "predictions": shape,
        "palette": (len(arrays["palette"]) if arrays["palette"].ndim else 0, 3),
    }
    if len(shape) != 3 or 0 in shape or any(arrays[k].shape != v for k, v in expected.items()):
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
        msg = f"{path.name} has {shapes}; images are [k, 3, h, w], labels and predictions [k, h, w]"
        raise ValueError(msg)
    return {key: array.astype(np.uint8) for key, array in arrays.items()}


def rings(predictions: "Sequence[Array]", label: "Array") -> tuple[Ring, ...]:
    """Ring the largest connected regions of one image [h, w] in which the networks do not all say the same."""
    import numpy as np
    from scipy import ndimage

    differ = disagreement(predictions, label)
    parts, count = ndimage.label(ndimage.binary_opening(differ, np.ones((3, 3))))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    largest = np.argsort(-sizes, kind="stable")[:RINGS].tolist()
    boxes = ndimage.find_objects(parts)
    found = []
    for at in largest:
        share = float(sizes[at] / label.size)
        if share >= LEAST_SHARE:
            rows, columns = boxes[at]
            found.append(
                Ring(
                    (columns.start + columns.stop) / 2,
                    (rows.start + rows.stop) / 2,
                    min(_reach(columns, label.shape), label.shape[1] / 2),
                    min(_reach(rows, label.shape), label.shape[0] / 2),
                    share,
                )
            )
    return tuple(found)


def _reach(side: slice, shape: tuple[int, ...]) -> float:
    """Half an axis of the ellipse about a box, of which this is one side."""
    length: int = side.stop - side.start
    return max(length / 2**0.5 + 1, min(shape) / 16)


def disagreement(predictions: "Sequence[Array]", label: "Array") -> "Mask":
    """Mark the pixels [h, w] that count and on which the networks do not all say the same."""
    import numpy as np

    stack = np.stack(predictions)
    mask: Mask = (stack != stack[:1]).any(axis=0) & (label != UNLABELLED)
    return mask
