"""Blocks and networks rewritten into equal ones that do less work.

`optimize` is the whole of it. What is rewritten, and why it is exact, stands in `ann.fast.blocks`;
what inference allows beyond that in `ann.fast.folded`.
"""

import copy
from typing import get_args

from torch import nn

from ann.blocks import CommonFusion, Disentangled, NonLocal, rewrite_blocks
from ann.fast.blocks import FastNonLocal
from ann.fast.folded import FoldedNetwork, FoldedNonLocal, fold_norms
from ann.layers import share
from ann.network import SegmentationNetwork
from ann.spec import Mode

# What has a rewriting, by its exact type.
_REWRITTEN = (NonLocal, Disentangled, FastNonLocal)


def optimize(module: nn.Module, mode: Mode = "inference") -> nn.Module:
    """Rewrite a block or a network into an equal, cheaper module; the given one is left as it is.

    Maxima as samplers don't commute with a projection: values are projected at all positions there,
    as in the plain block, and only the rest is rewritten. Parts that are no block, and common
    fusion, have nothing to rewrite but their batch norms in inference.

    Args:
        module: a block of `ann.build.block`, a network of `ann.build.network`, or a module of yours
            with such blocks inside (`training` only).
        mode: `training` shares the very parameters and buffers of the given module and keeps the keys of its state
            dict; gradients and running statistics come out the same, in train and eval mode. `inference` has tensors
            and keys of its own, batch norms folded, no auxiliary head, and no training mode.

    Raises:
        ValueError: the mode is unknown, a block is of a type that can't be rewritten (a subclass of
            one that can), or a module of yours is to be folded for inference.
    """
    if mode not in get_args(Mode):
        msg = f"mode={mode!r} is unknown; pass 'inference' or 'training'"
        raise ValueError(msg)
    if mode == "training":
        return rewrite_blocks(share(module), dict.fromkeys(_REWRITTEN, FastNonLocal))
    module = rewrite_blocks(copy.deepcopy(module).eval(), dict.fromkeys(_REWRITTEN, FoldedNonLocal))
    if type(module) is SegmentationNetwork:
        for name in ("fusion", "context"):
            _needs_known_norms(getattr(module.head, name, None))
        return FoldedNetwork(module)
    _needs_known_norms(module)
    fold_norms(module)
    return module.requires_grad_(requires_grad=False)


def _needs_known_norms(block: nn.Module | None) -> None:
    if block is not None and type(block) not in (FoldedNonLocal, CommonFusion):
        msg = (
            f"{type(block).__name__} is neither a block nor a network, so that its batch norms can't be "
            "folded; pass mode='training', or its blocks one by one"
        )
        raise ValueError(msg)
