"""What can be built, as data: sizes, blocks and networks, without torch.

A spec is frozen, keyword-only and checked once, when it is made; `ann.build` turns it into a
module, and `ann.catalogue` gives names to the ones that the documents describe.
"""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from ann.samplers import SAMPLER_RULES, Sampler

Kind = Literal["non-local", "disentangled", "common-fusion"]
Projection = Literal["shared", "separate", "plain"]
Output = Literal["context", "residual", "concat", "bottleneck"]
Head = Literal["ann", "fcn", "psa", "psp", "deeplabv3", "dense-aspp"]
Initialisation = Literal["torch", "mmseg"]
Preprocessing = Literal["imagenet-rgb", "caffe-bgr", "tf-lite"]
Mode = Literal["inference", "training"]
Entry = TypeVar("Entry")
Implementation = Literal[
    "plain",
    "fast",
    "sdpa",
    "sdpa-math",
    "sdpa-efficient",
    "sdpa-flash",
    "sdpa-cudnn",
    "chunked",
    "triton",
    "compiled",
    "fast-compiled",
    "onnxruntime",
]


def unknown(what: str, given: str, allowed: Collection[str]) -> str:
    """The message about a name that is not known: the nearest, and all that are allowed."""
    near = difflib.get_close_matches(given, allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {given!r}; {hint}allowed are {', '.join(allowed)}"


def look_up(what: str, name: str, table: Mapping[str, Entry]) -> Entry:
    """Return the entry of that name; an unknown one is a ValueError that says what is allowed."""
    if name not in table:
        msg = unknown(what, name, table)
        raise ValueError(msg)
    return table[name]


class UnavailableError(ValueError):
    """This machine lacks what is needed: a kernel, a number format, a compiler, a package."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """Height and width of an image or a feature map, in pixels; written WIDTHxHEIGHT as the documents do."""

    height: int
    width: int

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1:
            msg = f"size {self.width}x{self.height} is empty; both sides must be at least 1"
            raise ValueError(msg)

    @classmethod
    def parse(cls, text: str) -> "Size":
        """Read `WIDTHxHEIGHT`, so that 256x128 is a map 128 high and 256 wide; other text is a ValueError."""
        match = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", text)
        if match is None:
            msg = f"size {text!r} is not WIDTHxHEIGHT; write for example 256x128"
            raise ValueError(msg)
        width, height = map(int, match.groups())
        return cls(height=height, width=width)

    @property
    def pixels(self) -> int:
        """Number of positions, N."""
        return self.height * self.width

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def _check_allowed(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        msg = unknown(field, value, allowed)
        raise ValueError(msg)


def _check_channels(field: str, value: int | None) -> None:
    if value is not None and value < 1:
        msg = f"{field}={value} is not a number of channels; pass 1 or more"
        raise ValueError(msg)


def _check_share(field: str, value: float) -> None:
    if not 0 <= value < 1:
        msg = f"{field}={value} is not a share; pass 0 or more and less than 1"
        raise ValueError(msg)


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockSpec:
    """One block that relates positions of a feature map to each other or to those of another map."""

    channels: int = 2048  # C of the map that goes in and comes out; the high-level one of a fusion
    low_channels: int | None = None  # of a fusion block's low-level map; None for the self form
    key_channels: int = 256  # width of query and key (C-hat in the paper)
    value_channels: int | None = None  # width of the value; None for the same as `key_channels`
    # `non-local` (NB, APNB, FNB, AFNB), `disentangled` (DNL) or `common-fusion` (a convolution and a sum).
    kind: Kind = "non-local"
    # Which positions become anchors; `all` keeps every one, which makes an APNB an NB.
    sampler: Sampler = "all"
    # Side lengths n of the sampler's grids, n * n anchors each; a plain sampler has one.
    grids: tuple[int, ...] = ()
    seed: int = 0  # of the random samplers; the draw is fixed by it and by the size of the map
    # `shared` (query is key: one convolution, norm, ReLU), `separate` (the same, each its own) or `plain` (bare
    # convolutions).
    projection: Projection = "shared"
    # Divide the similarity by the root of `key_channels` (the code does, Eq. 2 does not).
    scaled: bool = True
    temperature: float = 1.0  # divides the similarity as well (DNL has 0.05)
    # `context` (W_o of the mixed values alone), `residual` (added to the input), `concat` (Eq. 11: beside the input, 2C
    # channels) or `bottleneck` (concat, then a 1x1 convolution back to C with batch norm).
    output: Output = "context"
    out_norm: bool = False  # batch norm after W_o
    norm_bias: bool = True  # of convolutions ahead of a batch norm (official code yes, mmseg no)
    bottleneck_relu: bool = True  # after the bottleneck's norm (APNB yes, AFNB no)
    dropout: float = 0.0  # share of channels dropped after the bottleneck in training

    def __post_init__(self) -> None:
        _check_allowed("kind", self.kind, get_args(Kind))
        _check_allowed("sampler", self.sampler, tuple(SAMPLER_RULES))
        _check_allowed("projection", self.projection, get_args(Projection))
        _check_allowed("output", self.output, get_args(Output))
        for field in ("channels", "low_channels", "key_channels", "value_channels"):
            _check_channels(field, getattr(self, field))
        self._check_grids()
        self._check_forms()

    def _check_grids(self) -> None:
        if any(grid < 1 for grid in self.grids):
            msg = f"grids={self.grids} has a side below 1; pass e.g. (1, 3, 6, 8)"
            raise ValueError(msg)
        number = SAMPLER_RULES[self.sampler].grids
        if number == "none" and self.grids:
            msg = f"sampler {self.sampler!r} keeps every position and has no grids, got {self.grids}; pass grids=()"
            raise ValueError(msg)
        if number == "many" and not self.grids:
            msg = "a pyramid needs at least one grid, got grids=(); pass e.g. (1, 3, 6, 8)"
            raise ValueError(msg)
        if number == "one" and len(self.grids) != 1:
            msg = f"sampler {self.sampler!r} has one grid, got grids={self.grids}; pass e.g. (15,)"
            raise ValueError(msg)

    def _check_forms(self) -> None:
        if self.projection == "shared" and self.is_fusion and self.kind == "non-local":
            msg = "a fusion block cannot share query and key: they read different maps; pass projection='separate'"
            raise ValueError(msg)
        if self.kind == "common-fusion" and not self.is_fusion:
            msg = "common fusion needs a second map; pass low_channels, e.g. 1024"
            raise ValueError(msg)
        _check_share("dropout", self.dropout)
        if self.temperature <= 0:
            msg = f"temperature={self.temperature} is not positive; pass e.g. 1.0"
            raise ValueError(msg)

    @property
    def is_fusion(self) -> bool:
        """Whether the block reads two maps, high and low."""
        return self.low_channels is not None

    @property
    def value_width(self) -> int:
        """Channels of the value."""
        return self.value_channels or self.key_channels

    @property
    def out_channels(self) -> int:
        """Channels that come out: C, or 2C where the input is concatenated."""
        return 2 * self.channels if self.output == "concat" else self.channels

    @property
    def keeps_all(self) -> bool:
        """Whether every position is an anchor."""
        return SAMPLER_RULES[self.sampler].grids == "none"

    def anchors(self, pixels: int) -> int:
        """Number of anchors S on a map of that many positions."""
        return pixels if self.keeps_all else sum(grid * grid for grid in self.grids)


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """A segmentation network: a dilated backbone, a head on its last two stages, an auxiliary head.

    Widths are those that the source has on its own backbone. On a narrower backbone the inputs of all parts follow its
    feature widths, and `channels`, `hidden_channels`, `auxiliary_channels` and the blocks' key and value widths are
    divided by the backbone's `head_divisor` (4 for resnet18, as in mmseg's own resnet18 configurations).
    """

    backbone: str  # one of `ann.backbones.BACKBONES`
    num_classes: int = 19
    # `ann` (fusion, 3x3 reduction, context, classifier; either block may be absent), `fcn` (NL, DNL: the context
    # between two 3x3 convolutions, and the input concatenated again), `psa`, `psp`, `deeplabv3` or `dense-aspp`.
    head: Head = "ann"
    channels: int = 512  # width of the head (of one branch of `dense-aspp`)
    hidden_channels: int | None = None  # of `dense-aspp`: ahead of a branch's dilated convolution
    fusion: BlockSpec | None = None  # of `ann`: block that brings stage 4 into stage 5
    # Of `ann` and `fcn`: block on the reduced map; its input width is that of the head.
    context: BlockSpec | None = None
    # Of `psa`: size of the point-wise attention, an odd number of places each way in the source.
    mask: Size | None = None
    projection_padding: int = 0  # of `psa`: zeros around its 1x1 projection (mmseg 1, semseg 0)
    # Convolutions ahead of a batch norm, outside of the blocks, have a bias (official).
    norm_bias: bool = False
    # Share of channels dropped ahead of the classifier, and in `ann` after the fusion as well: mmseg applies the same
    # module twice, the official code has 0 here and drops inside its blocks.
    dropout: float = 0.1
    auxiliary_channels: int | None = 256  # width of the head on stage 4; None for no such head
    auxiliary_dropout: float = 0.1  # the same share for that head
    align_corners: bool = False  # how logits (and PSP's and ASPP's pools) are enlarged
    # Of the head's convolutions: `torch` (PyTorch's own) or `mmseg` (Kaiming normal; classifiers with deviation 0.01).
    initialisation: Initialisation = "torch"
    # What the source's published weights were trained on: `imagenet-rgb` (0 to 1, less the ImageNet mean, over its
    # deviation), `caffe-bgr` (BGR from 0 to 255, less 102.9801, 115.9465, 122.7717; deviation 1), as the official ANN
    # weights want it, or `tf-lite` (less 127, over 128), as EfficientNet-Lite's do. Networks don't do it themselves.
    # Others of timm's weights are `imagenet-rgb` in any network.
    preprocessing: Preprocessing = "imagenet-rgb"

    def __post_init__(self) -> None:
        _check_allowed("head", self.head, get_args(Head))
        _check_allowed("initialisation", self.initialisation, get_args(Initialisation))
        _check_allowed("preprocessing", self.preprocessing, get_args(Preprocessing))
        for field in ("channels", "hidden_channels", "auxiliary_channels"):
            _check_channels(field, getattr(self, field))
        if self.num_classes < 1:
            msg = f"num_classes={self.num_classes} is not a number of classes; pass 1 or more"
            raise ValueError(msg)
        for field in ("dropout", "auxiliary_dropout"):
            _check_share(field, getattr(self, field))
        if not isinstance(self.backbone, str) or not self.backbone:
            msg = f"backbone={self.backbone!r} is not a name; pass e.g. 'resnet50c', 'resnet18' or 'tiny'"
            raise ValueError(msg)
        self._check_blocks()
        self._check_extras()

    def _check_blocks(self) -> None:
        if self.fusion is not None and (self.head != "ann" or not self.fusion.is_fusion):
            msg = "fusion is for head 'ann' and needs a block with low_channels, e.g. BLOCKS['afnb-bottleneck']"
            raise ValueError(msg)
        if self.context is not None and (self.head not in ("ann", "fcn") or self.context.is_fusion):
            msg = "context is for heads 'ann' and 'fcn' and needs a block without low_channels, e.g. BLOCKS['nl']"
            raise ValueError(msg)
        if self.head == "fcn" and self.context is None:
            msg = "head 'fcn' has a context block between its convolutions; pass e.g. context=BLOCKS['nl']"
            raise ValueError(msg)

    def _check_extras(self) -> None:
        if (self.mask is not None) != (self.head == "psa"):
            msg = f"mask={self.mask} with head {self.head!r}: head 'psa' needs one, e.g. 97x97, others have none"
            raise ValueError(msg)
        if (self.hidden_channels is not None) != (self.head == "dense-aspp"):
            msg = (
                f"hidden_channels={self.hidden_channels} with head {self.head!r}: "
                "head 'dense-aspp' needs them, e.g. 512, others have none"
            )
            raise ValueError(msg)
        if self.projection_padding < 0:
            msg = f"projection_padding={self.projection_padding} is negative; pass 0 (semseg) or 1 (mmseg)"
            raise ValueError(msg)


Spec = TypeVar("Spec", BlockSpec, NetworkSpec)
