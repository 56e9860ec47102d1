"""Pictures that trainings left, gathered for one figure: the same images with each network's prediction.

A training leaves `pictures/<cell>.npz` beside its records: `images` uint8 [k, 3, h, w], `labels` and `predictions`
[k, h, w] with 255 for pixels that don't count, `palette` uint8 [classes, 3]; k images of height h and width w.
"""

import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reports.training.claims import arm_name
from reports.training.runs import TrainingStudy

Array = npt.NDArray[np.uint8]
SHOWN_NETWORKS = ("paper/baseline", "paper/nb", "paper/apnb", "paper/afnb+apnb")
NO_LABEL = 255
PICTURE_ARRAYS = ("images", "labels", "predictions", "palette")
UNREADABLE = (OSError, TypeError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)
RINGS = 3
# Smaller regions are not ringed, nor what an opening by 3x3 takes away: the borders of objects.
LEAST_SHARE = 0.002


@dataclass(frozen=True, slots=True)
class Predictions:
    """Images with their truth and each network's prediction, at one seed."""

    study: TrainingStudy
    seed: object
    images: Array
    labels: Array
    predictions: Mapping[str, Array]
    palette: Array
    classes: tuple[str, ...]
    missing: Mapping[str, str] = field(default_factory=dict)

    def of_image(self, at: int) -> list[Array]:
        """Each network's prediction of one image [h, w]."""
        return [prediction[at] for prediction in self.predictions.values()]


def short_names(networks: Iterable[str]) -> list[str]:
    """Name each network in a word."""
    return ["full" if name == "paper/afnb+apnb" else arm_name((name,)) for name in networks]


class Ring(NamedTuple):
    """An ellipse about a region in which the networks differ, in pixels."""

    x: float
    y: float
    across: float
    down: float
    share: float  # of the region in the image


def gather_predictions(study: TrainingStudy, files: Mapping[str, Path]) -> Predictions | None:
    """Gather the pictures of the seed that has most of the four networks; None where there are fewer than two."""
    runs = {name: arm.runs for name in SHOWN_NETWORKS if (arm := study.arm((name,))) is not None}
    available = {
        seed: [name for name in runs if seed in runs[name] and runs[name][seed]["cell"] in files]
        for seed in study.seeds
    }
    seed = max(available, key=lambda seed: len(available[seed]), default=None)
    if seed is None or len(available[seed]) < 2:
        return None
    arrays, missing = _read_alike({n: files[runs[n][seed]["cell"]] for n in available[seed]})
    if len(arrays) < 2:
        return None
    first = next(iter(arrays.values()))
    predictions = {name: each["predictions"] for name, each in arrays.items()}
    shared = (first["images"], first["labels"], predictions, first["palette"])
    classes = runs[available[seed][0]][seed]["accuracy"].classes
    return Predictions(study, seed, *shared, classes, missing)


def _read_alike(paths: Mapping[str, Path]) -> tuple[dict[str, dict[str, Array]], dict[str, str]]:
    alike: dict[str, dict[str, Array]] = {}
    missing = dict.fromkeys(SHOWN_NETWORKS, "no pictures of it")
    for name, path in paths.items():
        try:
            arrays = read_pictures(path)
        except ValueError as error:
            missing[name] = str(error)
            continue
        first = next(iter(alike.values()), arrays)
        if all(np.array_equal(first[key], arrays[key]) for key in ("images", "labels")):
            alike[name] = arrays
            del missing[name]
        else:
            missing[name] = f"{path.name} shows other images"
    return alike, missing


def read_pictures(path: Path) -> dict[str, Array]:
    """Read one file of pictures; ValueError names one that is damaged or of another form."""
    try:
        # Opened here, because numpy leaves a file open that turns out to be none of its own.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key]) for key in PICTURE_ARRAYS}
    except UNREADABLE as error:
        msg = f"{path.name} can't be read ({type(error).__name__}); delete it and train that cell again"
        raise ValueError(msg) from error
    shape = arrays["labels"].shape
    expected = {
        "images": (*shape[:1], 3, *shape[1:]),
        "predictions": shape,
        "palette": (*arrays["palette"].shape[:1], 3),
    }
    if len(shape) != 3 or 0 in shape or any(arrays[k].shape != v for k, v in expected.items()):
        shapes = ", ".join(f"{key} {array.shape}" for key, array in arrays.items())
        msg = f"{path.name} has {shapes}; images are [k, 3, h, w], labels and predictions [k, h, w]"
        raise ValueError(msg)
    return {key: array.astype(np.uint8) for key, array in arrays.items()}


def rings(predictions: Sequence[Array], label: Array) -> tuple[Ring, ...]:
    """Ring the largest connected regions of one image [h, w] in which the networks do not all say the same."""
    from scipy import ndimage

    differs = disagreement(predictions, label)
    parts, count = ndimage.label(ndimage.binary_opening(differs, np.ones((3, 3))))
    shares = np.bincount(parts.ravel(), minlength=count + 1)[1:] / label.size
    boxes = ndimage.find_objects(parts)
    largest = np.argsort(-shares, kind="stable")[:RINGS].tolist()
    regions = []
    for at in (at for at in largest if shares[at] >= LEAST_SHARE):
        # About the box of a region, at most as wide and as high as the image.
        down, across = (
            min(max((side.stop - side.start) / 2**0.5 + 1, min(label.shape) / 16), whole / 2)
            for side, whole in zip(boxes[at], label.shape, strict=True)
        )
        y, x = ((side.start + side.stop) / 2 for side in boxes[at])
        regions.append(Ring(x, y, across, down, float(shares[at])))
    return tuple(regions)


def disagreement(predictions: Sequence[Array], label: Array) -> npt.NDArray[np.bool_]:
    """Mark the pixels [h, w] that count and on which the networks do not all say the same."""
    stack = np.stack(predictions)
    mask: npt.NDArray[np.bool_] = (stack != stack[:1]).any(axis=0) & (label != NO_LABEL)
    return mask
