"""Products of matrices on a processor by whichever of torch's two libraries is the quicker one there.

torch's own products go to the BLAS that it was built with, usually MKL, whose widest kernels are for the processors of
one maker alone. oneDNN, which torch has for convolutions, takes the widest instructions that a processor has. Which of
the two is ahead is measured, once in a process, and not told from a name.

Axes: n images, o rows that come out, c what is summed over, p positions.
"""

import time
from functools import cache, partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes, _get_current_dispatch_mode

# Of multiply-adds: what takes less than a few milliseconds is left to BLAS.
LEAST_MACS = 2**28
# oneDNN has to be ahead by so much: where the two are alike, noise must not choose.
MOST_SHARE = 0.85
# A millisecond of both threads: short enough that some of many turns are undisturbed.
PROBE_SHAPE = (256, 1024, 512)
PROBE_TURNS = 60
MOST_PROBE_S = 1.0


def multiply(left: Float[Tensor, "n o c"], right: Float[Tensor, "n c p"]) -> Float[Tensor, "n o p"]:
    """Multiply two matrices, as `torch.bmm` does: through it, or through oneDNN where that is quicker."""
    if prefers_onednn(left, right, macs=left.numel() * right.shape[2]):
        return _by_onednn(left[0], right[0]).unsqueeze(0)
    return torch.bmm(left, right)


def prefers_onednn(*operands: Tensor, macs: int) -> bool:
    """Whether products of these are oneDNN's: large ones of one image, in float32, with nothing that looks on.

    What records gradients, traces, compiles, counts or casts has no rule for oneDNN's operator.
    """
    if torch.compiler.is_compiling() or not all(map(_is_plain, operands)):
        return False
    if macs < LEAST_MACS or torch.are_deterministic_algorithms_enabled():
        return False
    if not all(x.is_contiguous() or x.mT.is_contiguous() for x in operands):
        return False
    return _is_unwatched(operands) and onednn_is_quicker()


def _is_plain(x: Tensor) -> bool:
    return (
        type(x) in (Tensor, nn.Parameter)
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and len(x) == 1
        and not (x.requires_grad and torch.is_grad_enabled())
    )


def _is_unwatched(operands: tuple[Tensor, ...]) -> bool:
    return (
        not torch._C._is_tracing()  # noqa: SLF001  # torch.jit's, untyped
        and not any(map(torch._C._functorch.is_functorch_wrapped_tensor, operands))  # noqa: SLF001
        and not torch.is_autocast_enabled("cpu")
        and _get_current_dispatch_mode() is None
        and _has_onednn()
    )


def _has_onednn() -> bool:
    enabled = bool(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled)
    return enabled and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _by_onednn(left: Float[Tensor, "o c"], right: Float[Tensor, "c p"]) -> Float[Tensor, "o p"]:
    """Multiply as a linear layer whose weights are the columns, so that neither side is laid out anew."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001  # the compiler's own way to it
        left, right.mT, None, "none", [], ""
    )
    return product


@cache
def onednn_is_quicker() -> bool:
    """Whether oneDNN takes clearly less time for a product like a block's: measured, in a sixth of a second, once."""
    blas_s, onednn_s = probe()
    return onednn_s <= MOST_SHARE * blas_s


def probe() -> tuple[float, float]:
    """Seconds of one product by BLAS and by oneDNN: by turns, the best of each.

    By the clock of the thread that asks, which others on the machine disturb least, in as many threads as products
    have: torch's number of threads can't be changed for one thread alone. Beside four jobs on two cores the ratio was
    0.96 to 1.24 with AVX-512 and 0.58 to 1.8 with AVX2, alone on them 0.95 to 1.09 and 0.64 to 0.76: who disturbs it
    may keep BLAS in place, and does not put oneDNN in its.
    """
    rows, width, columns = PROBE_SHAPE
    with _disable_current_modes(), torch.inference_mode():
        left, right = torch.full((rows, width), 0.5), torch.full((width, columns), 0.5)
        ways = (partial(torch.mm, left, right), partial(_by_onednn, left, right))
        best_s = [float("inf")] * len(ways)
        ends_s = time.monotonic() + MOST_PROBE_S
        for _ in range(PROBE_TURNS):
            for place, way in enumerate(ways):
                began_s = time.thread_time()
                way()
                best_s[place] = min(best_s[place], time.thread_time() - began_s)
            if time.monotonic() > ends_s:
                break
    return best_s[0], best_s[1]
