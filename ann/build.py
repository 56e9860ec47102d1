"""From names and specs to modules: the only place where a name becomes a class."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from torch import nn

from ann.blocks import make_block
from ann.catalogue import BLOCKS, NETWORKS
from ann.network import SegmentationNetwork, make_network
from ann.spec import BlockSpec, NetworkSpec, Spec, unknown


def block_names() -> tuple[str, ...]:
    """Names that `block` takes."""
    return tuple(BLOCKS)


def network_names() -> tuple[str, ...]:
    """Names that `network` takes."""
    return tuple(NETWORKS)


def block_spec(name: str | BlockSpec, **changes: Any) -> BlockSpec:  # noqa: ANN401
    """Return the spec of a named block, with fields changed; errors are those of `block`."""
    return _changed("block", name, BLOCKS, changes)


def block(name: str | BlockSpec, **changes: Any) -> nn.Module:  # noqa: ANN401
    """Build a block by name or spec; it maps (b, C, h, w) to (b, C, h, w), the `-concat` forms to (b, 2C, h, w).

    Fusion blocks (`fnb`, `afnb`, `common-fusion`) are called with the high-level and the low-level map.

    Args:
        name: one of `block_names()`, or a spec.
        changes: fields of `BlockSpec` to change, such as `channels=512, key_channels=256`.

    Raises:
        ValueError: unknown name or field, or fields that don't go together; the message says what is allowed.
    """
    return make_block(block_spec(name, **changes))


def network_spec(name: str | NetworkSpec, **changes: Any) -> NetworkSpec:  # noqa: ANN401
    """Return the spec of a named network, with fields changed; arguments and errors are those of `network`."""
    if changes.get("backbone", "own") is None:
        del changes["backbone"]
    return _changed("network", name, NETWORKS, changes)


def network(
    name: str | NetworkSpec,
    *,
    pretrained: str | None = None,
    **changes: Any,  # noqa: ANN401
) -> SegmentationNetwork:
    """Build a segmentation network by name or spec.

    In eval mode it maps images (b, 3, H, W) to logits (b, classes, H, W); in training to a pair of
    those and the auxiliary head's logits at the same size. H and W are free.

    Args:
        name: one of `network_names()`, or a spec.
        pretrained: weights of the backbone: None for random ones, `package`, `timm:TAG` or `file:PATH`.
        changes: fields of `NetworkSpec` to change, such as `num_classes=11, backbone="tiny"`; a
            backbone of None is the source's own.

    Raises:
        ValueError: unknown name or field, fields that don't go together, or weights that can't be
            had; the message says what to do.
    """
    return make_network(network_spec(name, **changes), pretrained=pretrained)


def _changed(
    what: str, name: str | Spec, catalogue: Mapping[str, Spec], changes: Mapping[str, Any]
) -> Spec:
    if isinstance(name, str) and name not in catalogue:
        raise ValueError(unknown(what, name, catalogue))
    spec = catalogue[name] if isinstance(name, str) else name
    allowed = [field.name for field in fields(spec)]
    for field in changes:
        if field not in allowed:
            raise ValueError(unknown(f"argument of a {what}", field, allowed))
    return replace(spec, **changes)
