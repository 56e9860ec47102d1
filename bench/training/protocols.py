"""How a network is evaluated, as data: whole or in windows, at which scales, flipped or not; no torch.

The names say whose protocol it is. On Cityscapes the paper's ablations and the official code use
`whole`, mmseg `whole` for its 512x1024 configurations and `mmseg-slide-769` for those of 769x769.
"""

from dataclasses import dataclass
from typing import Literal

from ann.spec import Size

Average = Literal["logits", "probabilities"]
Resize = Literal["bilinear", "bicubic"]
Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationProtocol:
    """How logits for an image are made.

    Where windows overlap their logits are averaged, in every source. Over scales and flips mmseg
    averages probabilities; the official code sums logits, which has the same largest class as their
    mean.

    Attributes:
        window: size of a sliding window; None for the whole image at once.
        stride: from window to window.
        partial: windows on an image with a side smaller than theirs: `clip` that side of the window
            (mmseg) or take the image `whole` (official).
        scales: factors on the size of the image.
        flip: each scale a second time, mirrored.
        average: what is averaged over scales and flips.
        resize: how logits of another scale come back to the size of the image; `bilinear` follows
            the network's `align_corners`.
        short_side: pixels to which the shorter side is brought ahead of the scales; None to keep it.
        long_side: pixels that the longer side may then have at most.
        multiple: the image is filled up with zeros, right and below, to a multiple of so many pixels.
    """

    window: Size | None = None
    stride: Size | None = None
    partial: Literal["clip", "whole"] = "clip"
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    average: Average = "logits"
    resize: Resize = "bilinear"
    short_side: int | None = None
    long_side: int | None = None
    multiple: int = 1

    def __post_init__(self) -> None:
        if (self.window is None) != (self.stride is None):
            msg = (
                f"window={self.window} and stride={self.stride} belong together; pass both or none"
            )
            raise ValueError(msg)
        if self.window and self.stride:
            too_far = (
                self.stride.height > self.window.height or self.stride.width > self.window.width
            )
            if too_far:
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
        if self.window is None or self.stride is None:
            return (((0, size.height), (0, size.width)),)
        small = size.height < self.window.height or size.width < self.window.width
        if small and self.partial == "whole":
            return (((0, size.height), (0, size.width)),)
        rows = spans(size.height, self.window.height, self.stride.height)
        columns = spans(size.width, self.window.width, self.stride.width)
        return tuple((row, column) for row in rows for column in columns)


def spans(length: int, window: int, stride: int) -> tuple[Span, ...]:
    """Cover a side: one window every `stride`, the last one flush with the end."""
    if window >= length:
        return ((0, length),)
    last = length - window
    starts = [*range(0, last, stride), last]
    return tuple((start, start + window) for start in starts)


def _square(side: int) -> Size:
    return Size(height=side, width=side)


_MMSEG_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)

PROTOCOLS: dict[str, EvaluationProtocol] = {
    # The paper's ablations ("single scale whole image"), the official ss_test, mmseg's mode `whole`.
    "whole": EvaluationProtocol(),
    # mmseg's mode `slide` as its 769x769 Cityscapes configurations have it.
    "mmseg-slide-769": EvaluationProtocol(window=_square(769), stride=_square(513)),
    # mmseg's test-time augmentation, over either mode.
    "mmseg-multi-scale-flip": EvaluationProtocol(
        scales=_MMSEG_SCALES, flip=True, average="probabilities"
    ),
    "mmseg-slide-769-multi-scale-flip": EvaluationProtocol(
        window=_square(769),
        stride=_square(513),
        scales=_MMSEG_SCALES,
        flip=True,
        average="probabilities",
    ),
    # The paper's Cityscapes test: the official mscrop_test, stride int(864 * 0.667).
    "official-cityscapes-test": EvaluationProtocol(
        window=_square(864),
        stride=_square(576),
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
    # Ours: CamVid at half of its size; the logits are brought back and judged on all pixels of the labels.
    "short-side-180": EvaluationProtocol(short_side=180),
}
