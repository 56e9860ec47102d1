"""How a network is evaluated, as data: whole or in windows, at which scales, flipped or not; no torch.

The names say whose protocol it is. On Cityscapes the paper's ablations and the official code use
`whole`, mmseg `whole` for its 512x1024 configurations and `mmseg-slide-769` for those of 769x769.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ann.spec import Size

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationProtocol:
    """How logits for an image are made.

    Where windows overlap their logits are averaged, in every source. Over scales and flips mmseg averages
    probabilities; the official code sums logits, which has the same largest class as their mean.
    """

    window: Size | None = None  # of a sliding window; None for the whole image at once
    stride: Size | None = None  # from window to window
    # Windows on an image with a side smaller than theirs: `clip` that side of the window (mmseg), or
    # take the image `whole` (official).
    partial: Literal["clip", "whole"] = "clip"
    scales: tuple[float, ...] = (1.0,)  # factors on the size of the image
    flip: bool = False  # each scale a second time, mirrored
    average: Literal["logits", "probabilities"] = "logits"  # over scales and flips
    # How logits of another scale come back to the size of the image; `bilinear` follows the network's `align_corners`.
    resize: Literal["bilinear", "bicubic"] = "bilinear"
    short_side: int | None = None  # pixels that the shorter side gets ahead of the scales
    long_side: int | None = None  # pixels that the longer side may then have at most
    multiple: int = 1  # zeros fill the image up, right and below, to a multiple of so many pixels

    def __post_init__(self) -> None:
        if (self.window is None) != (self.stride is None):
            msg = (
                f"window={self.window} and stride={self.stride} belong together; pass both or none"
            )
            raise ValueError(msg)
        if self.stride and not _fits_within(self.stride, self.window):
            msg = f"stride {self.stride} leaves gaps between windows of {self.window}; pass a smaller one"
            raise ValueError(msg)
        if not self.scales or min(self.scales) <= 0:
            msg = f"scales={self.scales} has none, or one that is not positive; pass e.g. (1.0,)"
            raise ValueError(msg)
        if self.multiple < 1:
            msg = f"multiple={self.multiple} is not a number of pixels; pass 1 or more"
            raise ValueError(msg)

    def target(self, size: Size, scale: float) -> Size:
        """Size to which an image is brought for one of the scales, each side rounded to the nearest pixel."""
        short, long = sorted((size.height, size.width))
        factor = 1.0 if self.short_side is None else self.short_side / short
        if self.long_side is not None:
            factor = min(factor, self.long_side / long)
        return Size(
            height=max(1, int(size.height * factor * scale + 0.5)),
            width=max(1, int(size.width * factor * scale + 0.5)),
        )

    def windows(self, size: Size) -> tuple[tuple[Span, Span], ...]:
        """Rows and columns, each from a first to before a last one, of the windows that cover an image."""
        window, stride = self.window or size, self.stride or size
        if self.partial == "whole" and not _fits_within(window, size):
            window = size
        rows = spans(size.height, window.height, stride.height)
        columns = spans(size.width, window.width, stride.width)
        return tuple((row, column) for row in rows for column in columns)


def _fits_within(inner: Size, outer: Size | None) -> bool:
    return outer is not None and inner.height <= outer.height and inner.width <= outer.width


def spans(length: int, window: int, stride: int) -> tuple[Span, ...]:
    """Cover a side: one window every `stride`, the last one flush with the end."""
    if window >= length:
        return ((0, length),)
    last = length - window
    starts = [*range(0, last, stride), last]
    return tuple((start, start + window) for start in starts)


_MMSEG_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
_MMSEG_SLIDE = EvaluationProtocol(window=Size.parse("769x769"), stride=Size.parse("513x513"))
_MMSEG_AUGMENTED = EvaluationProtocol(scales=_MMSEG_SCALES, flip=True, average="probabilities")

PROTOCOLS: dict[str, EvaluationProtocol] = {
    # The paper's ablations ("single scale whole image"), the official ss_test, mmseg's mode `whole`.
    "whole": EvaluationProtocol(),
    # mmseg's mode `slide` as its 769x769 Cityscapes configurations have it.
    "mmseg-slide-769": _MMSEG_SLIDE,
    # mmseg's test-time augmentation, over either mode.
    "mmseg-multi-scale-flip": _MMSEG_AUGMENTED,
    "mmseg-slide-769-multi-scale-flip": replace(
        _MMSEG_AUGMENTED, window=_MMSEG_SLIDE.window, stride=_MMSEG_SLIDE.stride
    ),
    # The paper's Cityscapes test: the official mscrop_test, stride int(864 * 0.667).
    "official-cityscapes-test": EvaluationProtocol(
        window=Size.parse("864x864"),
        stride=Size.parse("576x576"),
        partial="whole",
        scales=(0.75, 1.0, 1.25),
        flip=True,
        resize="bicubic",
    ),
    # The official ms_test on ADE20K and PASCAL Context.
    "official-ade20k": EvaluationProtocol(
        scales=_MMSEG_SCALES,
        flip=True,
        resize="bicubic",
        short_side=520,
        long_side=1040,
        multiple=8,
    ),
    "official-pascal-context": EvaluationProtocol(
        scales=(*_MMSEG_SCALES, 2.0), flip=True, resize="bicubic", multiple=8
    ),
    # Ours: CamVid at half of its size; the logits are brought back and evaluated on all pixels of the labels.
    "short-side-180": EvaluationProtocol(short_side=180),
}
