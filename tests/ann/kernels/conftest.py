"""Memory in which a kernel that reads or writes beside its tensors, or leaves an element unwritten, is seen."""

import pytest
import torch

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
