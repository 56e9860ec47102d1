"""How a network is evaluated, as data: whole or in windows, at which scales, flipped or not; no torch.

The names say whose protocol it is. On Cityscapes the paper's ablations and the official code use
`whole`, mmseg `whole` for its 512x1024 configurations and `mmseg-slide-769` for those of 769x769. Which one each source
has for each data set is in `experiments.training.EVALUATIONS`.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

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
    # Windows on an image with a side smaller than theirs: `clip` that side of the window (mmseg), take the image
    # `whole` (official), or `pad` it on both sides with what is 0 after normalisation (semseg).
    partial: Literal["clip", "whole", "pad"] = "clip"
    # Mirror each window by itself and average its probabilities (semseg), rather than those of whole views.
    by_window: bool = False
    scales: tuple[float, ...] = (1.0,)  # factors on the size of the image
    flip: bool = False  # each scale a second time, mirrored
    average: Literal["logits", "probabilities"] = "logits"  # over scales and flips
    # How logits of another scale come back to the size of the image; `bilinear` follows the network's `align_corners`.
    resize: Literal["bilinear", "bicubic"] = "bilinear"
    # Whether networks of the source keep corners where this is its protocol; None for as they are built.
    align_corners: bool | None = None
    # What a resized image has: exact numbers, or those of 8 bits that OpenCV makes of such.
    pixels: Literal["exact", "opencv"] = "exact"
    # Scales are made of the image that has its sides and is normalised: corners kept, sides rounded down (official).
    scales_keep_corners: bool = False
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
        if self.by_window and (self.window is None or self.average != "probabilities"):
            msg = "by_window=True averages probabilities of windows; pass a window and average='probabilities'"
            raise ValueError(msg)
        if self.multiple < 1:
            msg = f"multiple={self.multiple} is not a number of pixels; pass 1 or more"
            raise ValueError(msg)

    def target(self, size: Size, scale: float) -> Size:
        """Size to which an image is brought for one of the scales, each side rounded to the nearest pixel."""
        if self.scales_keep_corners and scale != 1:
            base = self.target(size, 1.0)
            return Size(height=int(base.height * scale), width=int(base.width * scale))
        short, long = sorted((size.height, size.width))
        factor = 1.0 if self.short_side is None else self.short_side / short
        if self.long_side is not None:
            factor = min(factor, self.long_side / long)
        return Size(
            height=max(1, int(size.height * factor * scale + 0.5)),
            width=max(1, int(size.width * factor * scale + 0.5)),
        )

    def padding(self, size: Size) -> tuple[int, int, int, int]:
        """Pixels of zeros on the left, right, top and bottom of a normalised image of that size."""
        if self.partial == "pad" and self.window:
            across = max(self.window.width - size.width, 0)
            down = max(self.window.height - size.height, 0)
            return across // 2, across - across // 2, down // 2, down - down // 2
        return 0, -size.width % self.multiple, 0, -size.height % self.multiple

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
_MMSEG = EvaluationProtocol(pixels="opencv")
_MMSEG_AUGMENTED = replace(_MMSEG, scales=_MMSEG_SCALES, flip=True, average="probabilities")
_MMSEG_769: dict[str, Any] = {
    "window": Size.parse("769x769"),
    "stride": Size.parse("513x513"),
    "short_side": 1025,
    "long_side": 2049,
    "align_corners": True,
}
_MMSEG_512: dict[str, Any] = {"short_side": 512, "long_side": 2048}
# The longer side gets that length. Strides are two thirds of the window, rounded up (semseg, tool/test.py).
_SEMSEG = EvaluationProtocol(
    window=Size.parse("465x465"),
    stride=Size.parse("310x310"),
    partial="pad",
    flip=True,
    average="probabilities",
    by_window=True,
    short_side=512,
    long_side=512,
)

PROTOCOLS: dict[str, EvaluationProtocol] = {
    # The paper's ablations ("single scale whole image"), the official ss_test; mmseg's mode `whole` on Cityscapes,
    # whose images have the size to which its pipeline brings them.
    "whole": EvaluationProtocol(),
    # mmseg's mode `slide` as its 769x769 Cityscapes configurations have it, on images brought to 2049x1025.
    "mmseg-slide-769": replace(_MMSEG, **_MMSEG_769),
    # mmseg's pipeline for ADE20K, PASCAL VOC and COCO-Stuff.
    "mmseg-short-side-512": replace(_MMSEG, **_MMSEG_512),
    # mmseg's pipeline and mode `slide` for PASCAL Context.
    "mmseg-pascal-context": replace(
        _MMSEG,
        window=Size.parse("480x480"),
        stride=Size.parse("320x320"),
        short_side=520,
        long_side=520,
    ),
    # mmseg's test-time augmentation, over each; its version 1 scales the file's own size on all sets, while the pages
    # of its model zoo were made by version 0, which scaled that of the pipeline.
    "mmseg-multi-scale-flip": _MMSEG_AUGMENTED,
    "mmseg-slide-769-multi-scale-flip": replace(_MMSEG_AUGMENTED, **_MMSEG_769),
    "mmseg-short-side-512-multi-scale-flip": replace(_MMSEG_AUGMENTED, **_MMSEG_512),
    # semseg's single-scale test of PSANet on ADE20K and PASCAL VOC, and on Cityscapes.
    "semseg-465": _SEMSEG,
    "semseg-705": replace(
        _SEMSEG,
        window=Size.parse("705x705"),
        stride=Size.parse("470x470"),
        short_side=2048,
        long_side=2048,
    ),
    # The paper's Cityscapes test: the official mscrop_test, stride int(864 * 0.667).
    "official-cityscapes-test": EvaluationProtocol(
        window=Size.parse("864x864"),
        stride=Size.parse("576x576"),
        partial="whole",
        scales=(0.75, 1.0, 1.25),
        flip=True,
        resize="bicubic",
        pixels="opencv",
        scales_keep_corners=True,
    ),
    # The official ms_test on ADE20K and PASCAL Context. Its json has a max_side_length of 1040 beside min_side_length,
    # which its transform does not read then (datasets/tools/cv2_aug_transforms.py).
    "official-ade20k": EvaluationProtocol(
        scales=_MMSEG_SCALES,
        flip=True,
        resize="bicubic",
        pixels="opencv",
        scales_keep_corners=True,
        short_side=520,
        multiple=8,
    ),
    "official-pascal-context": EvaluationProtocol(
        scales=(*_MMSEG_SCALES, 2.0),
        flip=True,
        resize="bicubic",
        pixels="opencv",
        scales_keep_corners=True,
        multiple=8,
    ),
    # Ours: CamVid at half of its size; the logits are brought back and evaluated on all pixels of the labels.
    "short-side-180": EvaluationProtocol(short_side=180),
}
