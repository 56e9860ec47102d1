"""1x1 convolutions as bare matrix products, alone, composed, and applied to what attention found.

oneDNN's 1x1 convolution makes a reordered copy of its input; a product with the map's columns as they lie needs none.

Axes: n images, c channels, h and w height and width, p positions, s anchors, k and o channels that
come out, v width of the value.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ann.fast.preconditions import KNOWN_NORMS, is_exactly
from ann.fast.products import multiply
from ann.layers import ConvNorm

# What was found at each position, or the values and their weights there.
Context = Float[Tensor, "n v p"] | tuple[Float[Tensor, "n v s"], Float[Tensor, "n s p"]]


class Affine:
    """Weight and bias of a 1x1 convolution, from a module or composed."""

    def __init__(self, weight: Float[Tensor, "o c"], bias: Float[Tensor, " o"] | None) -> None:
        self.weight, self.bias = weight, bias

    def after(self, other: "Affine") -> "Affine":
        """Compose the two into one, `other` first."""
        bias = self.bias
        if other.bias is not None:
            moved = self.weight @ other.bias
            bias = moved if bias is None else bias + moved
        return Affine(self.weight @ other.weight, bias)

    def __call__(self, tokens: Float[Tensor, "n c p"]) -> Float[Tensor, "n o p"]:
        """Apply to each column."""
        out = multiply(self.weight.expand(len(tokens), -1, -1), tokens)
        return out if self.bias is None else out.add_(self.bias[:, None])


def apply(
    affine: Affine,
    context: Context,
    *,
    like: Float[Tensor, "n c h w"],
    onto: Float[Tensor, "n o p"] | None = None,
    keep: int = 1,
) -> Float[Tensor, "n o h w"]:
    """Apply W_o, and whatever follows, to what attention gave; the result has the height and width of `like`.

    It goes `onto` a tensor in place: added where `keep` is 1, instead of what is there where it is 0.
    """
    if isinstance(context, Tensor):
        left, right, bias = affine.weight.expand(len(context), -1, -1), context, affine.bias
    else:
        left, right, bias = affine(context[0]), context[1], None
    if onto is not None:  # under autocast the map may be of another type than the weights
        left, right = left.to(onto.dtype), right.to(onto.dtype)
    out = multiply(left, right) if onto is None else onto.baddbmm_(left, right, beta=keep)
    if bias is not None:
        out.add_(bias[:, None])
    return out.unflatten(2, like.shape[2:])


def beside(x: Float[Tensor, "n c h w"], context: Context, out: Affine) -> Float[Tensor, "n o h w"]:
    """Concatenation; without gradients the context is written into its place as it is made."""
    if torch.is_grad_enabled():  # going back, writing in place would copy the whole
        return torch.cat([apply(out, context, like=x), x], dim=1)
    channels = x.shape[1]
    both = x.new_empty(len(x), 2 * channels, *x.shape[2:])
    both[:, channels:] = x
    apply(out, context, like=x, onto=both.flatten(2)[:, :channels], keep=0)
    return both


def linear(conv: nn.Conv2d, tokens: Float[Tensor, "n c p"]) -> Float[Tensor, "n o p"]:
    """Apply a 1x1 convolution to columns: a bare matrix product, no reordered copy as oneDNN makes one."""
    return Affine(conv.weight.flatten(1), conv.bias)(tokens)


def project(
    module: nn.Module, x: Float[Tensor, "n c h w"], *, by_token: bool
) -> Float[Tensor, "n k h w"]:
    """Apply a 1x1 `Conv2d`, or a `ConvNorm`.

    With `by_token` each position's channels lie together in memory, as fused attention wants them.
    """
    conv = module.conv if isinstance(module, ConvNorm) else module
    assert isinstance(conv, nn.Conv2d), "projections are convolutions"
    tokens = x.flatten(2)
    if by_token:
        weight = conv.weight.flatten(1).mT.expand(len(x), -1, -1)
        out = multiply(tokens.mT, weight).mT
        out = out if conv.bias is None else out.add_(conv.bias[:, None])
    else:
        out = linear(conv, tokens)
    out = out.unflatten(2, x.shape[2:])
    return rectify(module, module.norm(out)) if isinstance(module, ConvNorm) else out


class InPlaceReLU(nn.ReLU):
    """A ReLU of which it is known that nothing else needs what it is given."""

    def __init__(self) -> None:
        super().__init__(inplace=True)


def rectify(module: ConvNorm, x: Tensor) -> Tensor:
    """Apply the activation of a convolution with norm, which works in place where `rectify_in_place` had it so."""
    return x.relu_() if type(module.relu) is InPlaceReLU else module.relu(x)


def rectify_in_place(module: nn.Module) -> None:
    """Have each ReLU behind a known norm of a block work in place: nothing else has or needs the norm's result."""
    for part in module.modules():
        if isinstance(part, ConvNorm) and is_exactly(part.norm, *KNOWN_NORMS):
            part.relu = InPlaceReLU() if is_exactly(part.relu, nn.ReLU) else part.relu


def projects_alike(module: nn.Module) -> bool:
    """Whether a second call of a projection gives the first one's result, and moves nothing but known statistics."""
    if not isinstance(module, ConvNorm):
        return True
    activation = is_exactly(module.relu, nn.ReLU, InPlaceReLU, nn.Identity)
    return activation and is_exactly(module.norm, *KNOWN_NORMS)


def project_twice(
    module: nn.Module, x: Float[Tensor, "n c h w"], *, by_token: bool
) -> Float[Tensor, "n k h w"]:
    """Project once; running statistics move as if it had been twice, as in the plain block."""
    with moves_twice(module):
        return project(module, x, by_token=by_token)


@contextmanager
def moves_twice(module: nn.Module) -> Iterator[None]:
    """Have the running statistics of a `ConvNorm` move in one call as in two calls with the same map."""
    norm = module.norm if isinstance(module, ConvNorm) else None
    if (
        not isinstance(norm, nn.modules.batchnorm._BatchNorm)  # noqa: SLF001  # base of all kinds
        or not norm.training
        or norm.num_batches_tracked is None
    ):
        yield
        return
    kept = norm.momentum
    if kept is None:  # running statistics are means over all batches
        norm.momentum = 2 / (int(norm.num_batches_tracked) + 2)
    else:  # one step that is equal to two towards the same statistics
        norm.momentum = 1 - (1 - kept) ** 2
    try:
        yield
    finally:
        norm.momentum = kept
    norm.num_batches_tracked.add_(1)
