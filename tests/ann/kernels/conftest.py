"""Memory in which a kernel that reads or writes beside its tensors, or leaves an element unwritten, is seen.

Tensors lie between NaN, new ones are full of it, and every address that the interpreter reads or writes is looked at.
"""

import numpy as np
import pytest
import torch
from packaging.version import Version

from ann.kernels import operators
from ann.kernels.launch import is_interpreted

GUARD = 1024  # elements on either side
NAN = float("nan")


class Guarded:
    """Copies of tensors, and new ones full of NaN, with NaN before and behind them."""

    def __init__(self):
        self.buffers = []

    def empty(self, shape, dtype):
        numel = torch.Size(shape).numel()
        buffer = torch.full((numel + 2 * GUARD,), NAN, dtype=dtype)
        self.buffers.append(buffer)
        return buffer[GUARD : GUARD + numel].view(shape)

    def copy(self, tensor):
        return self.empty(tensor.shape, tensor.dtype).copy_(tensor)

    def check(self):
        """Nothing was written outside."""
        assert self.buffers
        for buffer in self.buffers:
            assert buffer[:GUARD].isnan().all()
            assert buffer[-GUARD:].isnan().all()


class Addresses:
    """In place of what reads and writes for the interpreter: every address is in a tensor of the launch."""

    def __init__(self, inner):
        self.inner = inner
        self.allow()

    def allow(self, tensors=()):
        spans = [(x.data_ptr(), x.data_ptr() + span_bytes(x)) for x in tensors]
        self.starts, self.stops = map(np.array, zip((0, 0), *sorted(spans), strict=True))

    def check(self, pointers, mask, itemsize):
        asked = pointers.reshape(-1)[np.broadcast_to(mask, pointers.shape).reshape(-1)].astype(int)
        # Of nested and neighbouring tensors the furthest stop so far counts.
        stops = np.maximum.accumulate(self.stops)
        inside = asked + itemsize <= stops[np.searchsorted(self.starts, asked, side="right") - 1]
        assert inside.all(), f"{np.count_nonzero(~inside)} addresses outside of all tensors"

    def load(self, pointers, mask, other, dtype):
        self.check(pointers, mask, np.dtype(dtype).itemsize)
        return self.inner.load(pointers, mask, other, dtype)

    def store(self, pointers, values, mask):
        self.check(pointers, mask, values.dtype.itemsize)
        return self.inner.store(pointers, values, mask)

    def __getattr__(self, name):
        return getattr(self.inner, name)


def span_bytes(tensor):
    if not tensor.numel():
        return 0
    last = sum(
        (side - 1) * stride for side, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )
    return (last + 1) * tensor.element_size()


@pytest.fixture
def interpreter(monkeypatch):
    """Looks at every address of kernels that are interpreted."""
    triton = pytest.importorskip("triton", reason="torch has Triton on Linux alone")
    from triton.runtime import interpreter

    if not is_interpreted():
        pytest.skip("TRITON_INTERPRET is not set: kernels are compiled, for a GPU")
    is_older = Version(triton.__version__) < Version("3.9")
    if is_older and Version(np.__version__) >= Version("2.4"):
        pytest.skip("an older Triton's interpreter takes no number from an array of numpy 2.4")
    looked_at = Addresses(interpreter._interpreter)
    launch = operators.launch

    def allow_and_launch(kernel, grid, tiles, **arguments):
        looked_at.allow(x for x in arguments.values() if isinstance(x, torch.Tensor))
        launch(kernel, grid, tiles, **arguments)

    monkeypatch.setattr(interpreter, "_interpreter", looked_at)
    monkeypatch.setattr(operators, "launch", allow_and_launch)


@pytest.fixture
def guarded(monkeypatch):
    """Has `new_empty` make such tensors."""
    made, plain = Guarded(), torch.Tensor.new_empty

    def new_empty(tensor, *shape, **others):
        if others or not tensor.is_floating_point():  # the interpreter's own
            return plain(tensor, *shape, **others)
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return made.empty(shape, tensor.dtype)

    monkeypatch.setattr(torch.Tensor, "new_empty", new_empty)
    yield made
    made.check()
