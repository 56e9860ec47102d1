"""Blocks and networks for inference: batch norms folded into their convolutions, products of weights made beforehand.

Axes: n images, c channels of the map that is refined, l of the low-level map, h and w their height and
width, o channels that come out, s anchors, v width of the value, k classes.
"""

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every torch program has for it
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ann.blocks import NonLocal
from ann.fast.blocks import FastNonLocal
from ann.fast.linear import Affine, Context, apply, rectify
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

    In all our blocks, heads and backbones it is that convolution which the norm follows.
    """
    before: nn.Module | None = None
    for name, part in list(module.named_children()):
        conv = before[-1] if isinstance(before, nn.Sequential) and len(before) else before
        if isinstance(part, nn.BatchNorm2d) and isinstance(conv, nn.Conv2d):
            folded = fuse_conv_bn_eval(conv.eval(), part.eval())
            conv.weight, conv.bias = folded.weight, folded.bias
            # timm's norms may have their activation inside.
            module.add_module(name, getattr(part, "act", nn.Identity()))
        before = part
        fold_norms(part)
    if isinstance(module, ConvNorm) and isinstance(module.relu, nn.ReLU):
        module.relu = nn.ReLU(inplace=True)


class FoldedNonLocal(EvalOnly, FastNonLocal):
    """A non-local block, folded in place for inference: `out` holds all that happens to the context."""

    def __init__(self, block: NonLocal) -> None:
        super().__init__(block)
        fold_norms(self)
        if self.spec.output == "bottleneck":
            conv = self.combine.bottleneck.conv
            first, second = conv.weight.flatten(1).chunk(2, dim=1)
            out = Affine(self.out.weight.flatten(1), self.out.bias)
            _set(self.out, Affine(first, conv.bias).after(out))
            _set(conv, Affine(second, None))
        self.requires_grad_(requires_grad=False).eval()

    def reduce(
        self, x: Float[Tensor, "n c h w"], context: Context, out: Affine
    ) -> Float[Tensor, "n c h w"]:
        """What is left of the bottleneck, onto which the context goes."""
        bottleneck = self.combine.bottleneck
        of_input = Affine(bottleneck.conv.weight.flatten(1), None)(x.flatten(2))
        return rectify(bottleneck, apply(out, context, like=x, onto=of_input))


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
        bias = fusion.out.bias
        assert bias is not None, "a folded norm leaves a bias"
        self.bias_kernel = nn.Parameter(_behind(kernel, bias[:, None, None, None]))
        reduce.conv.weight = nn.Parameter(_behind(kernel, fusion.combine.bottleneck.conv.weight))
        # They are in the kernels now.
        del fusion.out, fusion.combine
        self.requires_grad_(requires_grad=False).eval()

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
        self.eval()

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
        self.auxiliary = None
        fold_norms(self)
        if isinstance(self.head, AnnHead) and isinstance(self.head.fusion, FoldedNonLocal):
            spec = self.head.fusion.spec
            if spec.output == "bottleneck" and not spec.bottleneck_relu:
                self.head = FoldedAnnHead(self.head)
        for name, part in list(self.named_modules()):
            if isinstance(part, nn.Dropout2d):
                self.set_submodule(name, nn.Identity())
        self.requires_grad_(requires_grad=False).eval()
