"""Blocks and networks rewritten into equal ones that do less work.

`optimize` is the whole of it. What is rewritten, and why it is exact, stands in `ann.fast.blocks`; what inference
allows beyond that in `ann.fast.folded`; what may be rewritten in `ann.fast.preconditions`.
"""

import copy
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import get_args

from torch import nn

from ann.blocks import Disentangled, NonLocal, rewrite_blocks
from ann.fast.blocks import FastNonLocal
from ann.fast.check import GivenFailsError, can_be_called, check_block, check_network
from ann.fast.folded import FoldedNetwork, FoldedNonLocal, fold_norms
from ann.fast.preconditions import (
    refuse_altered,
    refuse_foreign,
    refuse_unfoldable,
    shared_parts,
)
from ann.layers import share
from ann.network import SegmentationNetwork
from ann.spec import Mode, unknown

# What has a rewriting, by its exact type.
_REWRITTEN = (NonLocal, Disentangled, FastNonLocal)


def optimize(module: nn.Module, mode: Mode = "inference", *, check: bool = True) -> nn.Module:
    """Rewrite a block or a network into an equal, cheaper module; the given one is left as it is.

    Maxima as samplers don't commute with a projection: values are projected at all positions there,
    as in the plain block, and only the rest is rewritten. Parts that are no block, and common
    fusion, have nothing to rewrite but their batch norms in inference. Folded are `BatchNorm2d` and
    `SyncBatchNorm` themselves, with statistics, gain and shift, behind a convolution; any other norm, one
    with hooks, or one inside a module of yours stays as it is and is called.

    Args:
        module: a block of `ann.build.block`, a network of `ann.build.network`, or a module of yours
            with such blocks inside (`training` only).
        mode: `training` shares the very parameters and buffers of the given module and keeps the keys of its state
            dict; gradients and running statistics come out the same, in train and eval mode. `inference` has tensors
            and keys of its own, batch norms folded, no auxiliary head, and no training mode.
        check: compare the rewritten module with the given one on small random maps before it is returned: a block's
            results (in `training` also those of a step, its gradients and statistics), a network's logits. APNB of 64
            and of 2048 channels 2 and 10 ms (`training` 14 and 80), a network of a ResNet-50 half a second, as its
            copy. What is on meta or has fake tensors has no values to compare, nor has what can't be called on such
            maps; it is returned without.

    Raises:
        ValueError: the mode is unknown; no block or network of ours is in the module; a block can't be rewritten (a
            subclass, or hooks, a parametrisation, a function of its own on what rewriting passes by); a module of yours
            is to be folded for inference; or the two differ, with how far they are apart.
    """
    if mode not in get_args(Mode):
        msg = unknown("mode", mode, get_args(Mode))
        raise ValueError(msg)
    refuse_foreign(module)
    for part in module.modules():
        if isinstance(part, NonLocal) and type(part) in _REWRITTEN:
            refuse_altered(part)
    if mode == "training":
        fast = rewrite_blocks(_copied(module, share), dict.fromkeys(_REWRITTEN, FastNonLocal))
    else:
        fast = _folded(module)
    if check and can_be_called(module):
        _compare(module, fast, mode)
    return fast


def _folded(module: nn.Module) -> nn.Module:
    folded = _copied(module, copy.deepcopy)
    if folded.training:  # otherwise parts that compute as in training are meant to
        folded.eval()
    fold = partial(FoldedNonLocal.of, shared=shared_parts(folded))
    folded = rewrite_blocks(folded, dict.fromkeys(_REWRITTEN, fold))
    refuse_unfoldable(module)
    if type(folded) is SegmentationNetwork:
        return FoldedNetwork(folded)
    fold_norms(folded)
    return folded.requires_grad_(requires_grad=False)


def _copied(module: nn.Module, copier: Callable[[nn.Module], nn.Module]) -> nn.Module:
    try:
        return copier(module)
    except RuntimeError as error:
        if "deepcopy" not in str(error):
            raise
        msg = (
            f"{type(module).__name__} can't be copied: one of its parts holds a tensor that follows from its weights, "
            "as pruning and the old weight norm leave one; make it permanent first (torch.nn.utils.prune.remove, "
            "torch.nn.utils.remove_weight_norm)"
        )
        raise ValueError(msg) from error


def _compare(module: nn.Module, fast: nn.Module, mode: Mode) -> None:
    """Compare the whole if it is a network or a block for inference, otherwise each block by itself."""
    rewrite = partial(optimize, mode=mode, check=False)
    blocks = {name: part for name, part in module.named_modules() if type(part) in _REWRITTEN}
    with suppress(GivenFailsError):  # there is nothing to hold it against
        if mode == "training":
            for name, block in blocks.items():
                check_block(block, fast.get_submodule(name), rewrite, trains=True)
            return
        if type(module) is not SegmentationNetwork:
            check_block(module, fast, rewrite, trains=False)
            return
        try:
            check_network(module, fast, rewrite)
        except GivenFailsError:  # a backbone that takes no such images
            for block in blocks.values():
                check_block(block, rewrite(block), rewrite, trains=False)
