"""Other ways to compute the same block: fused attention, attention in chunks, compiled code.

`implement` returns a module that is equal to the one it is given and leaves that one alone; all but
`fast` in inference share its very parameters and buffers, and keep the keys of its state dict.

Axes: n images, q queries, s anchors, k width of query and key, v width of the value; c, h, w and
l, y, x channels, height and width of the map that is refined and of the one that is read.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor, nn

from ann.attention import CHUNK_BYTES, KERNELS, attend_fused, attend_in_chunks
from ann.blocks import Disentangled, NonLocal
from ann.sampling import Sample, make_sampler
from ann.spec import Implementation, UnavailableError

__all__ = ["Mode", "UnavailableError", "implement", "share"]

Mode = Literal["inference", "training"]
Attention = Callable[..., Tensor]  # (query, key, value, scale=) to the mixed values


def implement(
    module: nn.Module,
    implementation: Implementation,
    mode: Mode = "inference",
    *,
    chunk_bytes: int = CHUNK_BYTES,
) -> nn.Module:
    """Rewrite a block or a network into an equal module that computes in another way.

    - `plain`: the module itself, as the documents wrote it.
    - `fast`: `ann.fast.optimize`.
    - `sdpa`: attention through `scaled_dot_product_attention`, whose kernel torch chooses;
      `sdpa-math`, `sdpa-efficient`, `sdpa-flash` and `sdpa-cudnn` allow that kernel alone.
    - `chunked`: attention for some queries at a time, see `attend_in_chunks`.
    - `compiled`, `fast-compiled`: `torch.compile` for fixed shapes, of the plain and the fast one.

    Args:
        module: a block or a network; it stays as it is.
        implementation: one of the above.
        mode: what the result is for; only `fast` differs.
        chunk_bytes: of the attention map that `chunked` holds at once.

    Raises:
        ValueError: the implementation is unknown, or the module has no attention to rewrite.
        UnavailableError: `onnxruntime`, which runs files and not modules.
    """
    if implementation == "plain":
        return module
    if implementation in ("fast", "fast-compiled"):
        from ann.fast import optimize

        module = optimize(module, mode)
    if implementation in KERNELS:
        return _attending(module, partial(attend_fused, kernel=implementation))
    if implementation == "chunked":
        return _attending(module, partial(attend_in_chunks, chunk_bytes=chunk_bytes))
    if implementation.endswith("compiled"):
        module = share(module)
        module.compile(dynamic=False)
    elif implementation == "onnxruntime":
        msg = (
            "implementation 'onnxruntime' runs an exported file; export the module with its inputs"
        )
        raise UnavailableError(msg)
    elif implementation != "fast":
        allowed = ", ".join(get_args(Implementation))
        msg = f"implementation {implementation!r} is unknown; allowed are {allowed}"
        raise ValueError(msg)
    return module


def share(module: nn.Module) -> nn.Module:
    """Copy a module's structure; the copy has the very parameters and buffers of the original."""
    tensors = (*module.parameters(), *module.buffers())
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


def _attending(module: nn.Module, attend: Attention) -> nn.Module:
    own = share(module)
    if isinstance(own, NonLocal):
        return _rewritten(own, attend)
    found = [name for name, part in own.named_modules() if isinstance(part, NonLocal)]
    for name in found:
        own.set_submodule(name, _rewritten(own.get_submodule(name), attend))
    if not found:
        msg = (
            f"{type(module).__name__} has no non-local block, so no attention to rewrite; "
            "pass implementation='plain' or 'compiled'"
        )
        raise ValueError(msg)
    return own


def _rewritten(block: nn.Module, attend: Attention) -> nn.Module:
    assert isinstance(block, NonLocal), "only such blocks are looked for"
    kind = AttendingDisentangled if isinstance(block, Disentangled) else Attending
    return kind(block, attend)


class Attending(NonLocal):
    """A non-local block whose attention is another function; all else is that block's.

    Args:
        block: whose submodules become this one's.
        attend: maps query, key, value and `scale` to the mixed values.
    """

    def __init__(self, block: NonLocal, attend: Attention) -> None:
        nn.Module.__init__(self)
        self.spec = block.spec
        self.training = block.training
        for name, part in block.named_children():
            self.add_module(name, part)
        self.attend = attend

    def refine(
        self, x: Float[Tensor, "n c h w"], source: Float[Tensor, "n l y x"]
    ) -> Float[Tensor, "n c h w"]:
        """What each position of `x` finds among the anchors of `source`.

        Tokens are copied so that each lies in one piece: without it no fused kernel takes them.
        """
        sample = make_sampler(self.spec)
        query = self.embed_query(x).contiguous()
        key = self.embed_key(source, sample).mT.contiguous()
        value = sample(self.value(source)).mT.contiguous()
        context = self.find(query, key, value, source=source, sample=sample)
        context = context.mT.contiguous().unflatten(2, x.shape[2:])
        found: Tensor = self.out_norm(self.out(context))
        return found

    def find(
        self,
        query: Float[Tensor, "n q k"],
        key: Float[Tensor, "n s k"],
        value: Float[Tensor, "n s v"],
        *,
        source: Float[Tensor, "n l y x"],
        sample: Sample,
    ) -> Float[Tensor, "n q v"]:
        """Values of the anchors, mixed for every query."""
        del source, sample  # for the disentangled block
        return self.attend(query, key, value, scale=self.scale)


class AttendingDisentangled(Attending, Disentangled):
    """A disentangled block whose pairwise attention is another function."""

    def find(
        self,
        query: Float[Tensor, "n q k"],
        key: Float[Tensor, "n s k"],
        value: Float[Tensor, "n s v"],
        *,
        source: Float[Tensor, "n l y x"],
        sample: Sample,
    ) -> Float[Tensor, "n q v"]:
        """Pairwise part for every query, plus the unary part that all share."""
        pairwise = super().find(query, key, value, source=source, sample=sample)
        return pairwise + sample(self.unary(source)).softmax(dim=-1) @ value
