"""Non-local blocks on the kernels: two passes over the map, in training with the block's norms between and behind them.

What happens to the anchors alone (projection of the values, W_o) is left to torch: 110 columns.

Axes: n images, c channels of the map that is refined, l of the map that is read, h and w, y and x their height and
width, p positions, s anchors, o channels that come out.
"""

import copy
from collections.abc import Set as AbstractSet
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ann.blocks import NonLocal, rewrite_blocks
from ann.fast.blocks import FastNonLocal
from ann.fast.folded import FoldedNonLocal
from ann.fast.linear import Affine, InPlaceReLU, linear, moves_twice, rectify
from ann.fast.preconditions import is_exactly, refuse_altered, shared_parts
from ann.kernels import functions
from ann.kernels.launch import require_kernels
from ann.kernels.relatives import rewrite_relative
from ann.kernels.tiles import LEAST_SIDE, MOST_ANCHORS
from ann.layers import ConvNorm, share
from ann.samplers import SAMPLER_RULES, average_cells
from ann.spec import BlockSpec, Mode, UnavailableError


def rewrite(module: nn.Module, mode: Mode) -> nn.Module:
    """Put blocks on kernels in place of a module's non-local ones; the given module stays as it is.

    `training` shares the parameters of the given module, `inference` has folded ones of its own, as with
    `ann.fast.optimize`.

    A module without a block of ours may have attention to few keys (`ann.kernels.relatives`).

    Raises:
        ValueError: a block of ours can't be rewritten.
        UnavailableError: a block that the kernels can't compute, and why.
    """
    blocks = [part for part in module.modules() if isinstance(part, NonLocal)]
    if not blocks:
        return rewrite_relative(module)
    for block in blocks:
        require_block(block.spec)
        if type(block) is NonLocal:
            refuse_altered(block)
    if mode == "training":
        return rewrite_blocks(share(module), {NonLocal: KernelNonLocal})
    folded = copy.deepcopy(module)
    if folded.training:
        folded.eval()
    fold = partial(_folded_block, shared=shared_parts(folded))
    return rewrite_blocks(folded, {NonLocal: fold}).requires_grad_(requires_grad=False)


def _folded_block(block: NonLocal, shared: AbstractSet[int]) -> nn.Module:
    folded = FoldedNonLocal.of(block, shared)
    if folded.drops or folded.has_out_norm or not _is_folded(folded):
        msg = (
            "triton: a norm that can't be folded, or a dropout that drops in evaluation, has no kernel; use "
            "implementation 'fast'"
        )
        raise UnavailableError(msg)
    folded.__class__ = FoldedKernelNonLocal
    return folded


def require_block(spec: BlockSpec) -> None:
    """Refuse a block that the kernels can't compute.

    Raises:
        UnavailableError: what it has, and what they compute.
    """
    reason = None
    if spec.kind != "non-local":
        reason = f"a {spec.kind} block has no kernel"
    elif SAMPLER_RULES[spec.sampler].pool is not average_cells:
        reason = f"sampler {spec.sampler!r} has no kernel; average and pyramid-average have"
    elif spec.key_channels % LEAST_SIDE:
        reason = f"key_channels={spec.key_channels} is not a multiple of {LEAST_SIDE}"
    elif spec.anchors(0) > MOST_ANCHORS:
        reason = f"{spec.anchors(0)} anchors, a tile of queries holds at most {MOST_ANCHORS}"
    if reason:
        msg = f"triton: {reason}; use implementation 'fast'"
        raise UnavailableError(msg)


def _is_folded(block: FoldedNonLocal) -> bool:
    """Whether there is nothing between or behind the products but the ReLUs that the kernels have."""
    with_norm = [part for part in block.modules() if isinstance(part, ConvNorm)]
    return (block.spec.output != "bottleneck" or block.is_composed) and all(
        is_exactly(part.norm, nn.Identity) and is_exactly(part.relu, InPlaceReLU, nn.Identity)
        for part in with_norm
    )


def _rectifies(module: nn.Module) -> bool:
    return isinstance(module, ConvNorm) and type(module.relu) is InPlaceReLU


def _weights(module: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Weight (o, c) and bias of a 1x1 `Conv2d` or `ConvNorm` in a number format, each in one piece."""
    conv = module.conv if isinstance(module, ConvNorm) else module
    assert isinstance(conv, nn.Conv2d), "projections are convolutions"
    weight, bias = conv.weight.flatten(1), conv.bias
    return weight.to(dtype).contiguous(), None if bias is None else bias.to(dtype).contiguous()


def _format(x: Tensor) -> torch.dtype:
    """Number format of products: autocast's where it is on, else the map's."""
    device = x.device.type
    if device != "meta" and torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return x.dtype


class KernelNonLocal(FastNonLocal):
    """A non-local block on the kernels, on another one's submodules: same results, gradients and statistics."""

    def forward(
        self, x: Float[Tensor, "n c h w"], low: Float[Tensor, "n l y x"] | None = None
    ) -> Float[Tensor, "n o h w"]:
        """Refine `x` by what its positions find among the anchors of `low`, or of `x` itself."""
        source = x if low is None else low
        dtype = _format(x)
        require_kernels(x.new_empty(0, dtype=dtype) if dtype != x.dtype else x)
        query, key, pooled = self.embed_on_kernels(x, source, dtype)
        value = linear(self.value, pooled.mT)
        attend = partial(
            functions.attend_anchors,
            query,
            key,
            scale=self.scale,
            anchors=self.spec.anchors(0),
        )
        return self.finish_on_kernels(x, value, attend)

    def embed_on_kernels(
        self, x: Tensor, source: Tensor, dtype: torch.dtype
    ) -> tuple[Float[Tensor, "n k p"], Float[Tensor, "n s k"], Float[Tensor, "n s l"]]:
        """Queries of all positions, keys of the anchors, and the anchors of the map that is read."""
        grids = self.spec.grids
        shared = self.spec.projection == "shared"
        twice = shared and source is x
        if twice and self.projects_alike:
            with moves_twice(self.key):
                query, pooled = self._projected(self.key, x, dtype, grids=grids)
            return query.flatten(2), functions.pool_pyramid(query, grids=grids), pooled
        key, pooled = self._projected(self.key, source, dtype, grids=grids)
        query, _ = self._projected(self.key if shared else self.query, x, dtype, grids=None)
        return query.flatten(2), functions.pool_pyramid(key, grids=grids), pooled

    def _projected(
        self, module: nn.Module, x: Tensor, dtype: torch.dtype, *, grids: tuple[int, ...] | None
    ) -> tuple[Tensor, Tensor]:
        weight, bias = _weights(module, dtype)
        if grids is None:
            out, pooled = functions.project_map(x, weight, bias), x
        else:
            out, pooled = functions.project_and_pool(x, weight, bias, grids=grids)
        out = out.unflatten(2, x.shape[2:])
        return rectify(module, module.norm(out)) if isinstance(module, ConvNorm) else out, pooled

    def finish_on_kernels(
        self, x: Float[Tensor, "n c h w"], value: Tensor, attend: "partial[Tensor]"
    ) -> Float[Tensor, "n o h w"]:
        """W_o, and what the block does with its input."""
        out = Affine(self.out.weight.flatten(1), self.out.bias)
        sides, output = x.shape[2:], self.spec.output
        if self.has_out_norm:
            context = attend(out(value)).unflatten(2, sides)
            return self.combine(x, self.out_norm(context))
        if output == "bottleneck":
            bottleneck = self.combine.bottleneck
            of_context, of_input = bottleneck.conv.weight.flatten(1).chunk(2, dim=1)
            first = Affine(of_context, bottleneck.conv.bias).after(out)
            both = attend(
                first(value),
                x=x,
                reduction=of_input.to(value.dtype).contiguous(),
                output=output,
            ).unflatten(2, sides)
            return self.combine.dropout(rectify(bottleneck, bottleneck.norm(both)))
        given = None if output == "context" else x
        return attend(out(value), x=given, output=output).unflatten(2, sides)


class FoldedKernelNonLocal(FoldedNonLocal):
    """A non-local block on the kernels, folded for inference: two passes, and the queries between them."""

    def forward(
        self, x: Float[Tensor, "n c h w"], low: Float[Tensor, "n l y x"] | None = None
    ) -> Float[Tensor, "n o h w"]:
        """Refine `x` by what its positions find among the anchors of `low`, or of `x` itself.

        Raises:
            ValueError: a gradient is asked for.
        """
        source = x if low is None else low
        if torch.is_grad_enabled() and (x.requires_grad or source.requires_grad):
            msg = "kernels for inference have no gradient; use implement(module, 'triton', 'training')"
            raise ValueError(msg)
        dtype = _format(x)
        require_kernels(x.new_empty(0, dtype=dtype) if dtype != x.dtype else x)
        spec = self.spec
        shared = spec.projection == "shared"
        both = partial(
            functions.project_and_pool_both,
            source,
            *_weights(self.key, dtype),
            grids=spec.grids,
            rectifies=_rectifies(self.key),
        )
        if shared and source is x:
            query, pooled, key = both()
            assert query is not None, "it is stored"
        else:
            module = self.key if shared else self.query
            query = functions.project_map(x, *_weights(module, dtype), rectifies=_rectifies(module))
            _, pooled, key = both(stores=False)
        value = linear(self.value, pooled.mT)
        weight, bias = self.out.weight.flatten(1), self.out.bias
        attend = partial(
            functions.attend_anchors,
            query,
            key,
            torch.bmm(weight.to(dtype).expand(len(value), -1, -1), value),
            scale=self.scale,
            anchors=spec.anchors(0),
            bias=None if bias is None else bias.to(dtype).contiguous(),
            output=spec.output,
        )
        sides = x.shape[2:]
        if spec.output == "bottleneck":
            bottleneck = self.combine.bottleneck
            reduction, _ = _weights(bottleneck, dtype)
            out = attend(x=x, reduction=reduction, rectifies=_rectifies(bottleneck))
            return out.unflatten(2, sides)
        given = None if spec.output == "context" else x
        return attend(x=given).unflatten(2, sides)
