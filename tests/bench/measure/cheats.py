"""Blocks that cheat a timer, and some that only look like it."""

import threading
from dataclasses import dataclass

import torch
from torch import nn


class Block(nn.Module):
    """A convolution; subclasses cheat with its result."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(4, 4, 1)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.cheat(x, self.conv(x))

    def cheat(self, x, out):
        return out


class Cached(Block):
    kept = None

    def cheat(self, x, out):
        self.kept = out if self.kept is None else self.kept
        return self.kept


class CachedFromTheSecond(Block):
    def cheat(self, x, out):
        if self.calls == 2:
            self.kept = out
        return self.kept if self.calls > 2 else out


class FewCalls(Block):
    def cheat(self, x, out):
        return out if self.calls < 8 else torch.zeros_like(out)


class OtherType(Block):
    def cheat(self, x, out):
        return out if self.calls == 1 else out.half()


class OtherTypeLate(Block):
    def cheat(self, x, out):
        return out if self.calls < 8 else out.half()


class NotANumber(Block):
    def cheat(self, x, out):
        return out if self.calls == 1 else out * float("nan")


class Skipped(Block):
    """From the second step on the convolution's weight is passed by."""

    def forward(self, x):
        self.calls += 1
        weight = self.conv.weight if self.calls == 1 else self.conv.weight.detach()
        return nn.functional.conv2d(x, weight, self.conv.bias)


class Nowhere(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        return x * weight.sum()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


class WithoutBackward(Block):
    def cheat(self, x, out):
        return out + Nowhere.apply(x, self.conv.weight.detach()) * 0 + self.scaled(x)

    def scaled(self, x):
        return Nowhere.apply(x, self.weight)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))


class LazyTensor(torch.Tensor):
    """Computes when it is read."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            args = tuple(x.as_subclass(torch.Tensor) + 1 if type(x) is cls else x for x in args)
            return func(*args, **(kwargs or {}))


class Wrapped(torch.Tensor):
    """Has no memory at all."""

    @staticmethod
    def __new__(cls, shape):
        return torch.Tensor._make_wrapper_subclass(cls, shape)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return torch.zeros(1)


class Promise:
    """Computes when it is asked."""

    def __init__(self, x):
        self.x = x


class Lazy(Block):
    def cheat(self, x, out):
        return out.as_subclass(LazyTensor)


class Empty(Block):
    def cheat(self, x, out):
        return Wrapped(out.shape)


class Promising(Block):
    def cheat(self, x, out):
        return Promise(x)


class WorksOn(Block):
    """Leaves its work to a thread."""

    def __init__(self, stop):
        super().__init__()
        self.stop = [stop]

    def cheat(self, x, out):
        threading.Thread(target=self.spin, name="hidden worker", daemon=True).start()
        return out

    def spin(self):
        while not self.stop[0].is_set():
            pass


class WrittenLater(Block):
    """What it returns is filled by somebody else."""

    def cheat(self, x, out):
        self.result = torch.zeros_like(out)
        self.pending = lambda: self.result.copy_(out)
        return self.result


class InPlace(Block):
    def cheat(self, x, out):
        return out + x.relu_()


class HalfResult(Block):
    def cheat(self, x, out):
        return out.half()


class Views(Block):
    def cheat(self, x, out):
        return out, x[:, 1:]


class Constant(Block):
    def cheat(self, x, out):
        return torch.ones_like(x)


class Infinite(Block):
    def cheat(self, x, out):
        return out / 0


class OwnNumbers(Block):
    """Draws from a generator of its own, that nobody seeds."""

    def __init__(self):
        super().__init__()
        self.generator = torch.Generator()

    def cheat(self, x, out):
        return out + torch.randn(out.shape, generator=self.generator)


class CountsInBuffer(Block):
    def __init__(self):
        super().__init__()
        self.register_buffer("number", torch.zeros(()))

    def cheat(self, x, out):
        self.number += 1
        return out * self.number


class Table(Block):
    """Keeps its table of positions by size, and how often it was called."""

    def __init__(self):
        super().__init__()
        self.tables = {}
        self.register_buffer("number", torch.zeros(()))

    def cheat(self, x, out):
        self.number += 1
        size = x.shape[2:]
        if size not in self.tables:
            self.tables[size] = torch.linspace(0, 1, size.numel()).reshape(size)
        return out + self.tables[size]


class OneSize(Block):
    def cheat(self, x, out):
        assert x.shape[2:] == (128, 128), "made for one size"
        return out


class Ruled(Block):
    def cheat(self, x, out):
        assert x.abs().max() < 6, "inputs are standardised"
        return out


@dataclass
class Outputs:
    out: torch.Tensor
    note: str


class Named(Block):
    def cheat(self, x, out):
        return {"a": [Outputs(out, "b")], "size": 3}


class Random(Block):
    def cheat(self, x, out):
        return nn.functional.dropout(out, 0.5) + torch.rand(())


class Square(Block):
    """Even in its input, and the same for all its orders."""

    def cheat(self, x, out):
        return x.square().mean((2, 3)).softmax(1)
