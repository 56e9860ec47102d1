"""Blocks and networks rewritten into equal ones that do less work.

`optimize` is the whole of it. What is rewritten, and why it is exact, stands in `ann.fast.blocks`;
what inference allows beyond that in `ann.fast.folded`.
"""

import copy
from typing import Literal, get_args

from torch import nn

from ann.blocks import Disentangled, NonLocal
from ann.fast.blocks import FastDisentangled, FastNonLocal
from ann.fast.folded import FoldedDisentangled, FoldedNonLocal, fold_norms

Mode = Literal["inference", "training"]


def optimize(module: nn.Module, mode: Mode = "inference") -> nn.Module:
    """Rewrite a block or a network into an equal, cheaper module; the given one is left as it is.

    Maxima as samplers don't commute with a projection: values are projected at all positions there,
    as in the plain block, and only the rest is rewritten. Parts that are no block, and common
    fusion, have nothing to rewrite but their batch norms in inference.

    Args:
        module: a block of `ann.build.block`, a network of `ann.build.network`, or a module of yours
            with such blocks inside (`training` only).
        mode: `training` shares the very parameters and buffers of the given module and keeps the
            keys of its state dict; gradients and running statistics come out the same, in train and
            eval mode. `inference` has tensors and keys of its own, batch norms folded, no auxiliary
            head, and no training mode.

    Raises:
        ValueError: the mode is unknown, or a module of yours is to be folded for inference.
    """
    if mode not in get_args(Mode):
        msg = f"mode={mode!r} is unknown; pass 'inference' or 'training'"
        raise ValueError(msg)
    if mode == "inference":
        return _folded(copy.deepcopy(module).eval())
    tensors = (*module.parameters(), *module.buffers())
    shared = copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})
    return _with_blocks(shared, FastNonLocal, FastDisentangled)


def _with_blocks(
    module: nn.Module, kind: type[FastNonLocal], disentangled: type[FastNonLocal]
) -> nn.Module:
    if isinstance(module, NonLocal):
        return (disentangled if isinstance(module, Disentangled) else kind)(module)
    found = [name for name, part in module.named_modules() if isinstance(part, NonLocal)]
    for name in found:
        block = module.get_submodule(name)
        module.set_submodule(name, _with_blocks(block, kind, disentangled))
    return module


def _folded(module: nn.Module) -> nn.Module:
    from ann.blocks import CommonFusion
    from ann.fast.networks import FoldedNetwork
    from ann.network import SegmentationNetwork

    module = _with_blocks(module, FoldedNonLocal, FoldedDisentangled)
    if isinstance(module, SegmentationNetwork):
        return FoldedNetwork(module)
    if isinstance(module, CommonFusion):
        fold_norms(module)
        return module.requires_grad_(requires_grad=False)
    if isinstance(module, FoldedNonLocal):
        return module
    msg = (
        f"{type(module).__name__} is neither a block nor a network, so that its batch norms can't be "
        "folded; pass mode='training', or its blocks one by one"
    )
    raise ValueError(msg)
