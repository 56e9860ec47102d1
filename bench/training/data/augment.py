"""Random augmentation of labelled images for training, and the normalisation that every network needs.

A view is drawn from (seed, epoch, index) alone: it is the same in whatever process, after whatever
other views, and the global random state is neither read nor changed.

Three things differ from the released code and from mmseg, none of which a network should notice. The
crop is cut before it is resized, which saves resizing what is thrown away; the edges of the cut fall
on whole pixels of the original. A preliminary resize (`short_side`) and the random one are a single
one. What a small image leaves empty is at a random side, as in the released code; mmseg fills right
and below. Empty pixels are 0 after normalisation in all three, and ignored.

Axes: h height and w width of the image.
"""

import hashlib
import math
from dataclasses import KW_ONLY, dataclass
from typing import Protocol

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad
from torch.utils.data import Dataset
from torchvision import tv_tensors  # type: ignore[import-untyped]
from torchvision.transforms.v2 import InterpolationMode, functional  # type: ignore[import-untyped]

from ann.spec import Preprocessing, Size
from bench.analysis import IGNORE
from experiments.recipes import Recipe

Box = tuple[int, int, int, int]  # top, left, height, width
_TRIES = 10  # more for a crop that cat_max_ratio accepts; mmseg's RandomCrop

# Order of the channels, mean and deviation for values from 0 to 255; sources at NetworkSpec.
_STATISTICS: dict[str, tuple[list[int], tuple[float, ...], tuple[float, ...]]] = {
    "imagenet-rgb": ([0, 1, 2], (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    "caffe-bgr": ([2, 1, 0], (102.9801, 115.9465, 122.7717), (1.0, 1.0, 1.0)),
    "tf-lite": ([0, 1, 2], (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
}


class Labelled(Protocol):
    """What can be augmented: a map from an index to (image uint8 [3, h, w], label uint8 [h, w])."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> tuple[Tensor, Tensor]: ...


@dataclass(eq=False)
class Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Views of a data set as a recipe has them, ready for a network and its loss.

    `data[epoch, index]` is the view of an image in an epoch: a sampler that yields such pairs needs
    no word to the workers.
    """

    dataset: Labelled
    recipe: Recipe
    _: KW_ONLY
    preprocessing: Preprocessing
    seed: int

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, visit: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return an image, float32 [3, h, w] of the crop's size, and its label, int64 [h, w]."""
        epoch, index = visit
        image, label = self.dataset[index]
        generator = generator_of(self.seed, epoch, index)
        image, label = augment(image, label, self.recipe, generator=generator)
        image = normalise(image, self.preprocessing)
        image, label = _padded(image, label, self.recipe.crop, generator)
        return image, label.long()


def generator_of(seed: int, epoch: int, index: int) -> Generator:
    """Return a generator whose draws depend on these three, and differ if one of them does."""
    digest = hashlib.sha256(f"{seed} {epoch} {index}".encode()).digest()
    return Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def normalise(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Bring uint8 [..., 3, h, w] in RGB to float32 in the order and range that the network was made for."""
    order, mean, deviation = _STATISTICS[preprocessing]
    statistics = torch.tensor((mean, deviation), device=image.device)[..., None, None]
    result = image[..., order, :, :].to(torch.float32)  # picking copies
    return result.sub_(statistics[0]).div_(statistics[1])


def augment(
    image: Tensor, label: Tensor, recipe: Recipe, *, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Draw one view: uint8 [3, h, w] and [h, w], at most as large as the crop, neither normalised nor filled."""
    box, size = _draw_box(label, recipe, generator)
    shape, mode = [size.height, size.width], InterpolationMode.BILINEAR
    cut = [
        functional.resized_crop(item, *box, shape, mode, antialias=False)
        # Without the wrapper a label would be resized as an image is: to classes that aren't there.
        for item in (tv_tensors.Image(image), tv_tensors.Mask(label))
    ]
    if _uniform(0, 1, generator) < recipe.flip:
        cut = [functional.horizontal_flip(item) for item in cut]
    image, label = (item.as_subclass(Tensor) for item in cut)
    if recipe.brightness:
        image = _shifted(image, _integer(-recipe.brightness, recipe.brightness, generator))
    return _distorted(image, generator) if recipe.photometric else image, label


def _draw_box(label: Tensor, recipe: Recipe, generator: Generator) -> tuple[Box, Size]:
    """Draw a box of the image, and the size that it is brought to."""
    full = Size(height=label.shape[0], width=label.shape[1])
    target, crop = _target(full, recipe, generator), recipe.crop
    size = Size(height=min(crop.height, target.height), width=min(crop.width, target.width))
    height = max(1, round(full.height * size.height / target.height))
    width = max(1, round(full.width * size.width / target.width))
    for _ in range(1 + _TRIES):
        top = _integer(0, full.height - height, generator)
        left = _integer(0, full.width - width, generator)
        if recipe.cat_max_ratio == 1:
            break
        part = label[top : top + height, left : left + width]
        counts = torch.bincount(part.flatten(), minlength=256)[:IGNORE]
        if 0 < int(counts.max()) < recipe.cat_max_ratio * int(counts.sum()):
            break
    return (top, left, height, width), size


def _target(full: Size, recipe: Recipe, generator: Generator) -> Size:
    short, long = sorted((full.height, full.width))
    factor = _uniform(*recipe.scale, generator)
    if recipe.short_side is not None:
        factor *= min(recipe.short_side / short, (recipe.long_side or math.inf) / long)
    stretch = math.sqrt(_uniform(*recipe.aspect, generator))
    return Size(
        height=max(1, int(full.height * factor / stretch)),
        width=max(1, int(full.width * factor * stretch)),
    )


def _distorted(image: Tensor, generator: Generator) -> Tensor:
    # mmseg's PhotoMetricDistortion: each step for half of the images, contrast before or after the hue.
    def coin() -> bool:
        return _uniform(0, 1, generator) < 0.5

    def contrasted(image: Tensor) -> Tensor:
        # mmseg multiplies, which is what torchvision calls brightness.
        factor = _uniform(0.5, 1.5, generator)
        return functional.adjust_brightness(image, factor) if coin() else image

    if coin():
        image = _shifted(image, _uniform(-32, 32, generator))
    first = coin()
    image = contrasted(image) if first else image
    if coin():
        image = _saturated(image, _uniform(0.5, 1.5, generator))
    if coin():  # up to 18 of OpenCV's 180 steps of hue
        image = functional.adjust_hue(image, _integer(-18, 18, generator) / 180)
    return image if first else contrasted(image)


def _shifted(image: Tensor, shift: float) -> Tensor:
    return (image.to(torch.int16) + round(shift)).clamp_(0, 255).to(torch.uint8)


def _saturated(image: Tensor, factor: float) -> Tensor:
    # The saturation of HSV times the factor: distances to the largest channel grow by it, up to black.
    bright = image.amax(dim=0, keepdim=True).float()
    span = (bright - image.amin(dim=0, keepdim=True)).clamp_(min=1)
    factors = (bright / span).clamp_(max=factor)
    return (bright - (bright - image) * factors).round_().clamp_(0, 255).to(torch.uint8)


def _padded(
    image: Tensor, label: Tensor, crop: Size, generator: Generator
) -> tuple[Tensor, Tensor]:
    down, right = crop.height - label.shape[0], crop.width - label.shape[1]
    if not down and not right:
        return image, label
    top, left = _integer(0, down, generator), _integer(0, right, generator)
    sides = (left, right - left, top, down - top)
    return pad(image, sides, value=0.0), pad(label, sides, value=IGNORE)


def _uniform(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator, dtype=torch.float64))


def _integer(low: int, high: int, generator: Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator))
