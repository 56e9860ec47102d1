"""Non-local blocks with less work, on the very parameters of the plain ones.

Why each step is exact:

- A shared query and key is one map, projected once. Key pooling stays behind its ReLU.
- Averages and single positions commute with the 1x1 convolution of the value: the map is sampled
  first and S anchors are projected in place of N positions. Maxima don't; there the plain order runs.
- W_o (V A) = (W_o V) A. Columns of A sum to 1, so that biases behind it go to W_o V as well, and so
  does the unary part of the disentangled block.
- The bottleneck over [context, x] is two products; its first one goes to W_o V, and no
  concatenation is made. A batch norm after W_o is in the way of that in training only.
- Norms are called, whatever they are, unless they were folded (`ann.fast.folded`).
- With every position an anchor attention is `scaled_dot_product_attention`, and tokens come out of
  their projection in the layout that its fused kernels take.

Axes: n images, c channels of the map that is refined, l channels of the map that is read, h and w, y and x their height
and width, p positions, s anchors, k width of query and key, v width of the value, o channels that come out.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ann.attention import attend_fused, whiten
from ann.blocks import NonLocal
from ann.fast.linear import (
    Affine,
    Context,
    apply,
    beside,
    linear,
    project,
    project_twice,
    projects_alike,
    rectify,
    rectify_in_place,
)
from ann.fast.pooling import make_linear_sampler
from ann.fast.preconditions import is_exactly
from ann.fast.products import multiply
from ann.samplers import SAMPLER_RULES
from ann.sampling import TakeAnchors


class FastNonLocal(NonLocal):
    """A non-local or disentangled block on another one's submodules: same results, gradients and statistics."""

    def __init__(self, block: NonLocal) -> None:
        nn.Module.__init__(self)
        self.spec = block.spec
        self.training = block.training
        for name, part in block.named_children():
            self.add_module(name, part)
        rectify_in_place(self)
        self.projects_alike = projects_alike(self.key)
        self.has_out_norm = not is_exactly(self.out_norm, nn.Identity)

    def forward(
        self, x: Float[Tensor, "n c h w"], low: Float[Tensor, "n l y x"] | None = None
    ) -> Float[Tensor, "n o h w"]:
        """Refine `x` by what its positions find among the anchors of `low`, or of `x` itself."""
        return self.finish(x, self.attend(x, low))

    def attend(self, x: Float[Tensor, "n c h w"], low: Tensor | None) -> Context:
        """Return the values and their weights for each position, or the mixed values where that is less."""
        source = x if low is None else low
        sample = make_linear_sampler(self.spec)
        query, key = self.embed(x, source, sample)
        value = self.answers(source, sample)
        if self.spec.keeps_all:  # without the map of weights
            tokens = (each.mT.contiguous() for each in (query, key, value))
            return attend_fused(*tokens, scale=self.scale).mT
        weight = multiply(key.mT * self.scale, query).softmax(dim=1)
        anchors, positions, out = key.shape[2], query.shape[2], self.spec.channels
        width = self.spec.value_width
        if positions * width * (anchors + out) < anchors * out * (width + positions):
            return multiply(value, weight)
        return value, weight

    def embed(
        self, x: Float[Tensor, "n c h w"], source: Float[Tensor, "n l y x"], sample: TakeAnchors
    ) -> tuple[Float[Tensor, "n k p"], Float[Tensor, "n k s"]]:
        """Queries of all positions and keys of the anchors; what is both is computed once.

        Only a disentangled block's queries are whitened: its keys' mean would add one number to all scores of a query.
        """
        by_token = self.spec.keeps_all
        shared = self.spec.projection == "shared"
        if shared and source is x and self.projects_alike:
            both = project_twice(self.key, x, by_token=by_token)
            query, key = both.flatten(2), sample(both)
        else:
            module = self.key if shared else self.query
            query = project(module, x, by_token=by_token).flatten(2)
            key = sample(project(self.key, source, by_token=by_token))
        return (whiten(query) if self.spec.kind == "disentangled" else query), key

    def answers(
        self, source: Float[Tensor, "n l y x"], sample: TakeAnchors
    ) -> Float[Tensor, "n v s"]:
        """Values of the anchors; in a disentangled block each has what the unary attention finds added."""
        value = self.sampled(self.value, source, sample)
        if self.spec.kind != "disentangled":
            return value
        assert isinstance(self.unary, nn.Conv2d), "the block's own"
        salience = self.sampled(self.unary, source, sample).softmax(dim=-1)
        return value + torch.bmm(value, salience.mT)

    def sampled(
        self, conv: nn.Conv2d, source: Float[Tensor, "n l y x"], sample: TakeAnchors
    ) -> Float[Tensor, "n v s"]:
        """Sampled projection; the sampler goes first where the two commute and that is less."""
        positions = source.shape[2] * source.shape[3]
        if SAMPLER_RULES[self.spec.sampler].linear and self.spec.anchors(positions) < positions:
            return linear(conv, sample(source))
        return sample(project(conv, source, by_token=self.spec.keeps_all))

    def finish(self, x: Float[Tensor, "n c h w"], context: Context) -> Float[Tensor, "n o h w"]:
        """W_o and what the block does with its input."""
        out = Affine(self.out.weight.flatten(1), self.out.bias)
        if self.spec.output == "bottleneck":
            return self.reduce(x, context, out)
        if self.has_out_norm:
            return self.combine(x, self.out_norm(apply(out, context, like=x)))
        if self.spec.output == "concat":
            return beside(x, context, out)
        onto = x.flatten(2).clone() if self.spec.output == "residual" else None
        return apply(out, context, like=x, onto=onto)

    def reduce(
        self, x: Float[Tensor, "n c h w"], context: Context, out: Affine
    ) -> Float[Tensor, "n c h w"]:
        """Concatenation and bottleneck as two products."""
        bottleneck = self.combine.bottleneck
        of_context, of_input = bottleneck.conv.weight.flatten(1).chunk(2, dim=1)
        first = Affine(of_context, bottleneck.conv.bias)
        projected = Affine(of_input, None)(x.flatten(2))
        if self.has_out_norm:
            context = self.out_norm(apply(out, context, like=x)).flatten(2)
        else:
            first = first.after(out)
        both = bottleneck.norm(apply(first, context, like=x, onto=projected))
        return self.combine.dropout(rectify(bottleneck, both))
