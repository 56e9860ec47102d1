"""Blocks and networks for inference: batch norms folded into their convolutions, products of weights made beforehand.

Axes: n images, c channels of the map that is refined, l of the low-level map, h and w their height and
width, o channels that come out, s anchors, v width of the value, k classes.
"""

import copy
from collections.abc import Set as AbstractSet
from typing import TypeGuard

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ann.blocks import NonLocal
from ann.fast.blocks import FastNonLocal
from ann.fast.linear import Affine, Context, apply, rectify, rectify_in_place
from ann.fast.preconditions import calls_in_order, is_exactly, is_foldable, is_idle, shared_parts
from ann.heads.context import AnnHead
from ann.layers import ConvNorm
from ann.network import SegmentationNetwork


class EvalOnly(nn.Module):
    """A module without a training mode: its weights are no longer those that are trained."""

    def train(self, mode: bool = True) -> "EvalOnly":  # noqa: FBT001, FBT002  # as in torch
        """Switch to eval mode, or raise a ValueError."""
        if mode:
            msg = "this module was folded for inference and can't be trained; use optimize(module, 'training')"
            raise ValueError(msg)
        super().train(mode)
        return self


def fold_norms(module: nn.Module) -> None:
    """Fold each batch norm, inside and in place, into the convolution registered just before it.

    In all our blocks, heads and backbones it is that convolution which the norm follows. Whatever else is there as
    a norm, or in a module of another kind, stays and is called (`preconditions`).
    """
    _fold(module, shared=shared_parts(module))
    rectify_in_place(module)


def _fold(module: nn.Module, *, shared: AbstractSet[int]) -> None:
    before: nn.Module | None = None
    if not calls_in_order(module):
        return
    for name, part in list(module.named_children()):
        conv = before
        if is_exactly(before, nn.Sequential) and len(before):
            conv = before[-1]
        if is_foldable(conv, part) and shared.isdisjoint((id(conv), id(part))):
            assert isinstance(conv, nn.Conv2d), "is_foldable has seen it"
            assert isinstance(part, nn.BatchNorm2d | nn.SyncBatchNorm), "is_foldable has seen it"
            folded = fuse_conv_bn_eval(conv.eval(), part)
            conv.weight, conv.bias = folded.weight, folded.bias
            # timm's norms may have their activation inside.
            module.add_module(name, getattr(part, "act", nn.Identity()))
        before = part
        _fold(part, shared=shared)


class FoldedNonLocal(EvalOnly, FastNonLocal):
    """A non-local block, folded in place for inference: `out` holds all that happens to the context."""

    def __init__(self, block: NonLocal) -> None:
        super().__init__(block)
        fold_norms(self)
        self.has_out_norm = not is_exactly(self.out_norm, nn.Identity)
        # Whether the bottleneck is one product with W_o: no norm, which was not folded, is between or behind them.
        self.is_composed = (
            self.spec.output == "bottleneck"
            and not self.has_out_norm
            and is_exactly(self.combine.bottleneck.norm, nn.Identity)
        )
        self.drops = self.is_composed and not is_idle(self.combine.dropout)
        if self.is_composed:
            conv = self.combine.bottleneck.conv
            first, second = conv.weight.flatten(1).chunk(2, dim=1)
            out = Affine(self.out.weight.flatten(1), self.out.bias)
            _set(self.out, Affine(first, conv.bias).after(out))
            _set(conv, Affine(second, None))
        self.requires_grad_(requires_grad=False)
        self.training = False

    @classmethod
    def of(cls, block: NonLocal, shared: AbstractSet[int]) -> "FoldedNonLocal":
        """Fold a block; of one that has parts which stand elsewhere as well, a copy."""
        alone = shared.isdisjoint(map(id, list(block.modules())[1:]))
        return cls(block if alone else copy.deepcopy(block))

    def reduce(
        self, x: Float[Tensor, "n c h w"], context: Context, out: Affine
    ) -> Float[Tensor, "n c h w"]:
        """What is left of the bottleneck, onto which the context goes."""
        if not self.is_composed:
            return super().reduce(x, context, out)
        bottleneck = self.combine.bottleneck
        of_input = Affine(bottleneck.conv.weight.flatten(1), None)(x.flatten(2))
        reduced = rectify(bottleneck, apply(out, context, like=x, onto=of_input))
        return self.combine.dropout(reduced) if self.drops else reduced


def _set(conv: nn.Conv2d, affine: Affine) -> None:
    conv.out_channels, conv.in_channels = affine.weight.shape
    conv.weight = nn.Parameter(affine.weight.detach()[:, :, None, None].contiguous())
    conv.bias = None if affine.bias is None else nn.Parameter(affine.bias.detach())


class FoldedReduction(EvalOnly):
    """Fusion and the 3x3 convolution behind it as one: nothing non-linear is between the two in inference.

    The 1x1 products of the bottleneck, which has no ReLU, vanish in the kernels of the 3x3 convolution.
    """

    def __init__(self, fusion: FoldedNonLocal, reduce: ConvNorm) -> None:
        super().__init__()
        kernel = reduce.conv.weight
        self.fusion, self.reduce = fusion, reduce
        self.context_kernel = nn.Parameter(_behind(kernel, fusion.out.weight))
        out_bias = fusion.out.bias
        bias = kernel.new_zeros(kernel.shape[1]) if out_bias is None else out_bias
        self.bias_kernel = nn.Parameter(_behind(kernel, bias[:, None, None, None]))
        reduce.conv.weight = nn.Parameter(_behind(kernel, fusion.combine.bottleneck.conv.weight))
        # They are in the kernels now.
        del fusion.out, fusion.combine
        self.requires_grad_(requires_grad=False)
        self.training = False

    def forward(
        self, high: Float[Tensor, "n c h w"], low: Float[Tensor, "n l h w"]
    ) -> Float[Tensor, "n o h w"]:
        """Fuse and reduce."""
        context = self.fusion.attend(high, low)
        reduced = self.reduce.conv(high)
        reduced += self.reduce_context(context, like=high)
        return rectify(self.reduce, reduced)

    def reduce_context(
        self, context: Context, *, like: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n o h w"]:
        """The share of the context; where weights are at hand, the values go into the kernel."""
        size, padding = like.shape[2:], self.reduce.conv.padding
        if isinstance(context, Tensor):
            ones = like.new_ones(1, 1, *size)
            bias = F.conv2d(ones, self.bias_kernel, padding=padding)
            return F.conv2d(context.unflatten(2, size), self.context_kernel, padding=padding) + bias
        value, weight = context
        kernel = torch.einsum("ovyx,nvs->nosyx", self.context_kernel, value) + self.bias_kernel
        maps = weight.flatten(0, 1).unflatten(1, size).unsqueeze(0)
        kernel = kernel.flatten(0, 1).contiguous()
        out = F.conv2d(maps, kernel, padding=padding, groups=len(value))
        return out.squeeze(0).unflatten(0, (len(value), -1))


def _behind(kernel: Float[Tensor, "o c y x"], weight: Float[Tensor, "c v 1 1"]) -> Tensor:
    """Kernel of one convolution that equals a 1x1 convolution and then the given one, which pads with zeros."""
    behind = torch.einsum("ocyx,cv->ovyx", kernel.detach(), weight.detach().flatten(1))
    # As einsum leaves it, it would make the convolution, and all that follows, channels-last.
    return behind.contiguous()


class FoldedAnnHead(EvalOnly):
    """ANN's head for inference, its fusion block (with a bottleneck without ReLU) and reduction as one."""

    def __init__(self, head: AnnHead) -> None:
        super().__init__()
        assert isinstance(head.fusion, FoldedNonLocal), "only for heads with a non-local fusion"
        self.reduce = FoldedReduction(head.fusion, head.reduce)
        self.context = head.context or nn.Identity()
        self.classifier = head.classifier
        self.training = False

    def forward(
        self, low: Float[Tensor, "n l h w"], high: Float[Tensor, "n c h w"]
    ) -> Float[Tensor, "n k h w"]:
        """Classify every position."""
        return self.classifier(self.context(self.reduce(high, low)))


class FoldedNetwork(EvalOnly, SegmentationNetwork):
    """A network whose blocks are folded already, less its auxiliary head, dropout and batch norms."""

    def __init__(self, network: SegmentationNetwork) -> None:
        nn.Module.__init__(self)
        self.spec, self.backbone, self.head = network.spec, network.backbone, network.head
        self.resize = network.resize
        self.auxiliary = None
        fold_norms(self)
        if _reduces_at_once(self.head):
            self.head = FoldedAnnHead(self.head)
        for name, part in list(self.named_modules(remove_duplicate=False)):
            if is_idle(part):
                self.set_submodule(name, nn.Identity())
        self.requires_grad_(requires_grad=False)
        self.training = False

    def forward(self, images: Float[Tensor, "n 3 height width"]) -> Tensor:
        """Classify every pixel; on a processor with each position's channels side by side throughout.

        So oneDNN's convolutions leave maps as they lie, where they would otherwise lay out anew what goes in and what
        comes out of each.
        """
        maps = images
        is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor(images)  # noqa: SLF001
        if images.device.type == "cpu" and not (is_wrapped or torch.compiler.is_compiling()):
            maps = images.contiguous(memory_format=torch.channels_last)
        logits, _ = self.classify(*self.backbone(maps))
        return self._enlarge(logits.contiguous(), images)


def _reduces_at_once(head: nn.Module) -> TypeGuard[AnnHead]:
    """Whether nothing but linear steps is between a head's fusion and its 3x3 convolution."""
    if not is_exactly(head, AnnHead):
        return False
    fusion, reduce = head.fusion, head.reduce
    if not is_exactly(fusion, FoldedNonLocal) or not fusion.is_composed:
        return False
    nothing = (fusion.combine.bottleneck.relu, fusion.combine.dropout, head.dropout, reduce.norm)
    conv = reduce.conv
    return (
        all(map(is_idle, nothing))
        and is_exactly(reduce, ConvNorm)
        and is_exactly(conv, nn.Conv2d)
        and (conv.padding_mode, conv.groups) == ("zeros", 1)
        and (conv.stride, conv.dilation) == ((1, 1), (1, 1))
    )
