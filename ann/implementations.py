"""Other ways to compute the same block: fused attention, attention in chunks, compiled code.

`implement` returns a module that is equal to the one it is given and leaves that one alone; all but
`fast` and `triton` in inference share its very parameters and buffers, and keep the keys of its state dict.
"""

from functools import partial
from typing import get_args

from torch import nn

from ann.attention import CHUNK_BYTES, KERNELS, Attention, attend_fused, attend_in_chunks
from ann.blocks import Disentangled, NonLocal, rewrite_blocks
from ann.layers import share
from ann.spec import Implementation, Mode, UnavailableError, unknown


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
    - `triton`: two passes over the map by kernels of our own, see `ann.kernels`; for a GPU.
    - `compiled`, `fast-compiled`: `torch.compile` for fixed shapes, of the plain and the fast one.

    Args:
        module: a block or a network; it stays as it is.
        implementation: one of the above.
        mode: what the result is for; only `fast` and `triton` differ.
        chunk_bytes: of the attention map that `chunked` holds at once.

    Raises:
        ValueError: the implementation is unknown, or the module has no attention to rewrite, or a
            block of a type that can't be rewritten.
        UnavailableError: `onnxruntime`, which runs files and not modules; a block that `triton` has no kernel for.
    """
    if implementation not in get_args(Implementation):
        allowed = ", ".join(get_args(Implementation))
        msg = unknown("implementation", implementation, allowed.split(", "))
        raise ValueError(msg)
    if implementation == "onnxruntime":
        msg = (
            "implementation 'onnxruntime' runs an exported file; export the module with its inputs"
        )
        raise UnavailableError(msg)
    if implementation in KERNELS:
        return _attend_by(module, partial(attend_fused, kernel=implementation))
    if implementation == "chunked":
        return _attend_by(module, partial(attend_in_chunks, chunk_bytes=chunk_bytes))
    if implementation == "triton":
        from ann.kernels import rewrite

        return rewrite(module, mode)
    if implementation in ("fast", "fast-compiled"):
        from ann.fast import optimize

        module = optimize(module, mode)
    if implementation in ("compiled", "fast-compiled"):
        module = share(module)
        module.compile(dynamic=False)
    return module


def _attend_by(module: nn.Module, attention: Attention) -> nn.Module:
    def hand_in(block: NonLocal) -> nn.Module:
        block.attention = attention
        return block

    if not any(isinstance(part, NonLocal) for part in module.modules()):
        msg = (
            f"none of our non-local blocks in {type(module).__name__}, so no attention to rewrite; "
            "pass implementation='plain' or 'compiled'"
        )
        raise ValueError(msg)
    return rewrite_blocks(share(module), {NonLocal: hand_in, Disentangled: hand_in})
