"""Training of heads alone, on cached maps of a backbone that stays as it was pretrained.

Axes: n images, h and w height and width of the maps, c channels of both stages together, l of stage 4, k classes.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ann.backbones import BACKBONES
from ann.layers import resize
from ann.network import SegmentationNetwork
from ann.spec import Preprocessing, Size, look_up
from bench.training.data import (
    Augmented,
    EvaluationSet,
    Labelled,
    LabelledImages,
    MirroredMaps,
    cache_maps,
    normalise,
)
from bench.training.evaluate import ConfusionMatrix, count_pixels
from bench.training.protocols import PROTOCOLS, EvaluationProtocol
from bench.training.resizing import resize_by_products
from experiments.recipes import Recipe

Logits = Float[Tensor, "n k h w"]


class FrozenHead(nn.Module):
    """Head and auxiliary head of a network, on maps of both stages side by side, [n, h, w, c].

    Logits have the size of the maps; in training mode they are a pair, as a network's.
    """

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.spec = network.spec
        self.head, self.auxiliary = network.head, network.auxiliary
        self._low = BACKBONES[network.spec.backbone].low_channels

    def forward(self, maps: Float[Tensor, "n h w c"]) -> Logits | tuple[Logits, Logits | None]:
        """Classify every position."""
        low, high = (
            part.to(self._dtype).contiguous(memory_format=torch.channels_last)
            for part in maps.permute(0, 3, 1, 2).tensor_split([self._low], dim=1)
        )
        logits = self.head(low, high)
        if not self.training:
            return logits
        return logits, None if self.auxiliary is None else self.auxiliary(low)

    @property
    def _dtype(self) -> torch.dtype:
        """Of maps on the way in: autocast's, which else would convert them for every convolution."""
        device = next(self.parameters()).device.type
        low = torch.is_autocast_enabled(device)
        return torch.get_autocast_dtype(device) if low else torch.float32


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingViews:
    """Images as a recipe brings them to a network, with nothing drawn."""

    files: LabelledImages
    recipe: Recipe
    preprocessing: Preprocessing

    @property
    def how(self) -> str:
        """All that a view depends on besides the files."""
        recipe = self.recipe
        return f"{recipe.crop} {recipe.short_side} {recipe.long_side} {self.preprocessing}"

    def view(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image and its label, both of the crop's size."""
        still = replace(self.recipe, flip=0.0)
        views = Augmented(self.files, still, preprocessing=self.preprocessing, seed=0)
        size, crop = self._size(self.files[index][1]), self.recipe.crop
        if size.height > crop.height or size.width > crop.width:
            msg = (
                f"{self.files.pairs[index].image} comes to {size} and the crop is {crop}, so that only a part would "
                "ever be seen; pass a recipe whose crop holds whole images"
            )
            raise ValueError(msg)
        image, label = views[0, index]
        return image, label.byte()

    def _size(self, label: Tensor) -> Size:
        recipe = self.recipe
        whole = EvaluationProtocol(short_side=recipe.short_side, long_side=recipe.long_side)
        return whole.target(Size(height=label.shape[0], width=label.shape[1]), 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationViews:
    """Images as a protocol of one view brings them to a network."""

    files: LabelledImages
    protocol: EvaluationProtocol
    preprocessing: Preprocessing

    @property
    def how(self) -> str:
        """All that a view depends on besides the files."""
        return f"{self.protocol.short_side} {self.protocol.long_side} {self.preprocessing}"

    def target(self, label: Tensor) -> torch.Size:
        """Size of the image that a network sees, for a label of the image's own."""
        size = self.protocol.target(Size(height=label.shape[0], width=label.shape[1]), 1.0)
        return torch.Size((size.height, size.width))

    def view(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image as the network sees it, and its label at the image's own size."""
        image, label = self.files[index]
        normal = normalise(image, self.preprocessing)[None]
        if self.target(label) != normal.shape[2:]:
            normal = resize(normal, self.target(label), align_corners=False)
        return normal[0], label


def check_frozen(recipe: Recipe | None = None, protocol: str = "whole") -> None:
    """Raise ValueError if maps can't be kept for that recipe, or not be evaluated by that protocol."""
    if recipe is not None:
        recipe.check_kept()
    chosen = look_up("protocol", protocol, PROTOCOLS)
    if replace(chosen, short_side=None, long_side=None) != EvaluationProtocol():
        msg = (
            f"protocol {protocol!r} looks at an image in several views, and frozen features are evaluated in one; "
            "pass e.g. 'whole' or 'short-side-180'"
        )
        raise ValueError(msg)


def training_maps(
    network: SegmentationNetwork, images: Labelled, recipe: Recipe, *, seed: int, folder: Path
) -> MirroredMaps:
    """Compute or find the maps of a training set; ValueError where its views can't be kept."""
    check_frozen(recipe)
    views = TrainingViews(
        files=_files(images), recipe=recipe, preprocessing=network.spec.preprocessing
    )
    maps = cache_maps(views, network.backbone, folder=folder, mirrored=recipe.flip > 0)
    return MirroredMaps(maps, recipe.flip, seed)


def evaluate_frozen(
    head: FrozenHead,
    network: SegmentationNetwork,
    dataset: EvaluationSet,
    *,
    protocol: str,
    folder: Path,
    device: str,
) -> ConfusionMatrix:
    """Count the pixels of a set as `evaluate` does for the whole network, but for maps in half precision."""
    check_frozen(protocol=protocol)
    views = EvaluationViews(
        files=_files(dataset),
        protocol=look_up("protocol", protocol, PROTOCOLS),
        preprocessing=network.spec.preprocessing,
    )
    cached = cache_maps(views, network.backbone, folder=folder, mirrored=False)
    aligned = network.spec.align_corners

    def predict(index: int) -> tuple[Tensor, Tensor]:
        maps, label = cached.view(index)
        logits = head(maps[None].to(device))
        for size in dict.fromkeys((views.target(label), label.shape)):
            logits = resize_by_products(logits, size, align_corners=aligned)
        return logits, label

    was_training = head.training
    head.eval().to(device)
    matrix = count_pixels(predict, dataset, device=device)
    head.train(was_training)
    return matrix


def _files(dataset: Labelled) -> LabelledImages:
    if isinstance(dataset, LabelledImages):
        return dataset
    msg = "frozen features are kept for sets of files, e.g. camvid; scenes have none"
    raise ValueError(msg)
