"""What has to hold for a rewriting to be exact: parts of exactly the types that it knows, as they were built.

A rewriting passes by some parts of a block, which are no longer called. Their hooks, parametrisations and
forward functions would be lost without a word, so that such a block is refused.
"""

from collections import Counter
from collections.abc import Iterator
from typing import TypeGuard, TypeVar

from torch import nn

from ann.attention import attend_fused, attend_in_chunks
from ann.blocks import AS_IT_IS, CommonFusion, NonLocal
from ann.layers import Combine, ConvNorm
from ann.network import SegmentationNetwork

Part = TypeVar("Part", bound=nn.Module)

# Norms of which it is known that they keep no state but their running statistics, draw no random numbers, and
# leave their result to whoever called them.
KNOWN_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, nn.GroupNorm, nn.Identity)
_FOLDED_NORMS = (
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.batchnorm.SyncBatchNorm",
    "timm.layers.norm_act.BatchNormAct2d",  # with its activation inside
)
_FOLDED_CONVS = ("torch.nn.modules.conv.Conv2d", "timm.layers.conv2d_same.Conv2dSame")
# Whose parts are called in the order in which they are registered, so that a norm follows the convolution ahead of it.
_ORDERED = (
    "torch.nn.modules.container.Sequential",
    "timm.models.resnet.BasicBlock",
    "timm.models.resnet.Bottleneck",
    "timm.models.densenet.DenseLayer",
    "timm.models._efficientnet_blocks.DepthwiseSeparableConv",
    "timm.models._efficientnet_blocks.InvertedResidual",
)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_SHARED_ATTENTION = (None, attend_fused, attend_in_chunks)  # all are equal to the map of weights


def alteration(part: nn.Module, *, but: str = "") -> str | None:
    """What was done to an instance that its class does not tell, or None; one function may be its own."""
    if any(getattr(part, hooks) for hooks in _HOOKS):
        return "has hooks"
    kind = type(part)
    names = [name for name in vars(part) if name != but and callable(getattr(kind, name, None))]
    return f"has a function {names[0]!r} of its own" if names else None


def is_exactly(part: object, *kinds: type[Part]) -> TypeGuard[Part]:
    """Whether a part is of one of the types themselves, and nothing was done to it."""
    return isinstance(part, nn.Module) and type(part) in kinds and alteration(part) is None


def is_foldable(conv: nn.Module | None, norm: nn.Module) -> bool:
    """Whether a norm is a batch norm in evaluation, with statistics, gain and shift, right behind a convolution."""
    return (
        conv is not None
        and _path(conv) in _FOLDED_CONVS
        and _path(norm) in _FOLDED_NORMS
        and alteration(conv) is alteration(norm) is None
        and not norm.training
        and is_exactly(getattr(norm, "drop", None) or nn.Identity(), nn.Identity)
        and all(
            getattr(norm, name) is not None
            for name in ("running_mean", "running_var", "weight", "bias", "momentum")
        )
        and bool(norm.track_running_stats)
    )


def calls_in_order(parent: nn.Module) -> bool:
    """Whether a module is of a type that calls its parts in the order in which they are registered."""
    ours = type(parent).__module__.split(".")[0] == "ann"
    return (ours or _path(parent) in _ORDERED) and "forward" not in vars(parent)


def is_idle(part: object) -> bool:
    """Whether a part gives what it is given, in evaluation: nothing at all, or channel dropout."""
    return is_exactly(part, nn.Identity) or (is_exactly(part, nn.Dropout2d) and not part.training)


def shared_parts(module: nn.Module) -> set[int]:
    """Identities of the parts that stand in several places."""
    places = Counter(id(part) for _, part in module.named_modules(remove_duplicate=False))
    return {key for key, number in places.items() if number > 1}


def _path(part: nn.Module) -> str:
    kind = type(part)
    return f"{kind.__module__}.{kind.__qualname__}"


def refuse_foreign(module: nn.Module) -> None:
    """Raise a ValueError if there is neither a block nor a network of this library in a module."""
    ours = (NonLocal, CommonFusion, SegmentationNetwork)
    if not any(isinstance(part, ours) for part in module.modules()):
        msg = (
            f"none of ours in {type(module).__name__}: only blocks and networks of this library are rewritten; "
            f"{AS_IT_IS}"
        )
        raise ValueError(msg)


def refuse_unfoldable(module: nn.Module) -> None:
    """Raise a ValueError unless all norms of a module stand where it is known what they follow."""
    parts = [module]
    if type(module) is SegmentationNetwork:
        reason = alteration(module, but="resize")
        if reason:
            msg = f"this network can't be folded: it {reason}, which would be lost; {AS_IT_IS}"
            raise ValueError(msg)
        blocks = (getattr(module.head, name, None) for name in ("fusion", "context"))
        parts = [block for block in blocks if isinstance(block, nn.Module)]
    for part in parts:
        if not isinstance(part, NonLocal) and type(part) is not CommonFusion:
            msg = (
                f"{type(part).__name__} is neither a block nor a network, so that its batch norms can't be "
                "folded; pass mode='training', or its blocks one by one"
            )
            raise ValueError(msg)


def refuse_altered(block: NonLocal) -> None:
    """Raise a ValueError if a part that rewriting a block passes by is not as the block made it."""
    reasons = {
        name: _refused_difference(block, part, kind) for name, part, kind in _passed_by(block)
    }
    if getattr(block.attention, "func", block.attention) not in _SHARED_ATTENTION:
        reasons["attention"] = "is a function of its own"
    for name, reason in reasons.items():
        if reason:
            where = f"its {name}" if name else "it"
            owner = type(block).__name__
            msg = f"this {owner} can't be rewritten: {where} {reason}, which would be lost; {AS_IT_IS}"
            raise ValueError(msg)


def _refused_difference(block: NonLocal, part: nn.Module, kind: type[nn.Module]) -> str | None:
    if type(part) is not kind:
        return f"is a {type(part).__name__} and not a {kind.__name__}"
    if isinstance(part, nn.Conv2d) and not _is_pointwise(part):
        return "is no 1x1 convolution"
    if isinstance(part, Combine) and part.output != block.spec.output:
        return f"gives {part.output!r} and not {block.spec.output!r}, as the spec has it"
    return alteration(part)


def _passed_by(block: NonLocal) -> Iterator[tuple[str, nn.Module, type[nn.Module]]]:
    """Parts whose own call a rewriting leaves out, and the type that each was built with."""
    yield "", block, type(block)
    names = ["value", "out", *(["unary"] if block.spec.kind == "disentangled" else [])]
    projections = ["key"] if block.spec.projection == "shared" else ["key", "query"]
    with_norm = [] if block.spec.projection == "plain" else projections
    names += [] if with_norm else projections
    yield "combine", block.combine, Combine
    if block.spec.output == "bottleneck":
        with_norm = [*with_norm, "combine.bottleneck"]
    for name in with_norm:
        part = block.get_submodule(name)
        yield name, part, ConvNorm
        if isinstance(part, ConvNorm):
            yield f"{name}.conv", part.conv, nn.Conv2d
    for name in names:
        yield name, block.get_submodule(name), nn.Conv2d


def _is_pointwise(conv: nn.Conv2d) -> bool:
    ones, nothing = (1, 1), (0, 0)
    return (conv.kernel_size, conv.stride, conv.groups) == (
        ones,
        ones,
        1,
    ) and conv.padding == nothing
