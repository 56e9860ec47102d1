"""What a device would do with a call, on meta tensors: autocast's casts and the choice of an attention kernel.

Neither happens on meta by itself: torch's autocast passes meta tensors by, and its attention falls to
the plain products. So both are done here, ahead of the operators, by the rules of the device that is
imitated; gradients follow from the operators that were put in. The tests hold the rules against
torch's own, on the processor and on fake CUDA tensors.
"""

# ruff: noqa: SIM905  # tables of names are read as words

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from bench.predict import attention_kernels

Device = Literal["cpu", "cuda"]

# By the names that the functions have in Python, those that blocks and networks call; after the
# lists of PyTorch 2.15 (aten/src/ATen/autocast_mode.h for CUDA, autocast_mode.cpp for the CPU).
PRODUCTS = frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear matmul __matmul__ "
    "__rmatmul__ mm bmm addmm baddbmm addbmm prelu scaled_dot_product_attention".split()
)
ONLY_CUDA_PRODUCTS = frozenset("mv addmv addr einsum".split())
IN_FLOAT32: Mapping[Device, frozenset[str]] = {
    "cpu": frozenset("cross_entropy nll_loss l1_loss smooth_l1_loss mse_loss kl_div prod".split()),
    "cuda": frozenset(
        "cross_entropy nll_loss l1_loss smooth_l1_loss mse_loss kl_div prod sum cumsum cumprod exp log "
        "log1p expm1 pow __pow__ rsqrt reciprocal softplus layer_norm group_norm rms_norm norm "
        "cosine_similarity logsumexp interpolate".split()
    ),
}
SOFTMAXES = ("softmax", "log_softmax")
WIDEST_WINS = ("cat", "stack")  # on the CPU by casts, on CUDA inside the operator


class Imitation(TorchFunctionMode):
    """Treats calls on meta tensors as a device would; others are left alone. Use `around`.

    Args:
        device: which is imitated.
        lower: type that autocast casts to; None without autocast.
        gpu: for `cuda`, by whose rules an attention kernel is chosen; that of this machine, or else
            what `kernels.Gpu.meant` says, if None.
    """

    def __init__(
        self,
        device: Device,
        lower: torch.dtype | None = None,
        *,
        gpu: attention_kernels.GpuRules | None = None,
    ) -> None:
        super().__init__()
        self.device: Device = device
        self.gpu = gpu or (attention_kernels.GpuRules.meant() if device == "cuda" else None)
        self.lower = lower
        self.changed = lower is not None
        self._casting = False
        self._casts: dict[int, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def around(self, module: nn.Module) -> Iterator[Self]:
        """Imitate whatever is called inside; casts are made in the module's forward passes alone.

        Those of weights are dropped at the end of a pass in training, where each step has an autocast of
        its own. In inference all calls share one, and so what it has cast.
        """
        hooks = (
            module.register_forward_pre_hook(self._enter),
            module.register_forward_hook(self._leave, always_call=True),
        )
        try:
            with self:
                yield self
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, *_: object) -> None:
        self._casting = self.lower is not None

    def _leave(self, module: nn.Module, *_: object) -> None:
        self._casting = False
        if module.training:
            self._casts.clear()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Cast what the device casts, choose the kernel that it chooses, and call."""
        del types
        given = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name == "backward" and self.lower is not None and not given.get("inputs"):
            return self._go_back(args[0], given.get("gradient", given.get("grad_tensors")))
        # A copy is given all that was copied before it, too much to look through.
        if name == "__deepcopy__" or not any(map(_is_meta, tree_leaves((args, given)))):
            return func(*args, **given)
        if self._casts_now():
            if self._is_fused_softmax(name, args):
                return torch.ops.aten._softmax(args[0], _axis(args, given), True)  # noqa: FBT003, SLF001
            args, given = self._cast(name, args, given)
        if name == "scaled_dot_product_attention":
            return self._attend(func, args, given)
        return func(*args, **given)

    def _go_back(self, outputs: Any, gradients: Any) -> None:  # noqa: ANN401
        """Go back with this mode on, for what is computed again; torch's own functions would go without it."""
        starts = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        given = map(torch.ones_like, starts) if gradients is None else tree_leaves(gradients)
        keep = again = False
        engine = torch.autograd.Variable._execution_engine  # noqa: SLF001
        with self:
            engine.run_backward(
                starts, tuple(given), keep, again, (), allow_unreachable=True, accumulate_grad=True
            )

    def _casts_now(self) -> bool:
        """In a forward pass, or where one is computed again on the way back."""
        going_back = torch._C._current_autograd_node() is not None  # noqa: SLF001  # no public way
        return self._casting or (going_back and self.lower is not None)

    def _cast(
        self, name: str, args: tuple[Any, ...], given: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        is_cuda = self.device == "cuda"
        if name in PRODUCTS or (is_cuda and name in ONLY_CUDA_PRODUCTS):
            return tree_map(self._lowered, (args, given))
        if name in IN_FLOAT32[self.device] or (is_cuda and name in SOFTMAXES):
            return tree_map(_raised, (args, given))
        if name in WIDEST_WINS and not is_cuda:
            types = {leaf.dtype for leaf in tree_leaves(args) if _is_meta(leaf)}
            if torch.float32 in types:
                return tree_map(_raised, (args, given))
        return args, given

    def _is_fused_softmax(self, name: str, args: tuple[Any, ...]) -> bool:
        """Of float16 alone CUDA has a softmax that writes float32; others are copied to float32 first."""
        return self.device == "cuda" and name == "softmax" and args[0].dtype == torch.float16

    def _lowered(self, leaf: Any) -> Any:  # noqa: ANN401
        assert self.lower is not None, "called under autocast alone"
        if not _is_meta(leaf) or leaf.dtype in (self.lower, torch.float64):
            return leaf
        if not (leaf.is_leaf and leaf.requires_grad and leaf.dtype == torch.float32):
            return leaf.to(self.lower)
        # Weights are cast once and kept, with gradients where any are taken.
        if id(leaf) not in self._casts:
            self._casts[id(leaf)] = (leaf, leaf.to(self.lower))
        return self._casts[id(leaf)][1]

    def _attend(
        self, func: Callable[..., Any], args: tuple[Any, ...], given: dict[str, Any]
    ) -> Tensor:
        tensors = dict(zip(("query", "key", "value"), args, strict=False)) | given
        options = set(tensors) - {"query", "key", "value", "scale"}
        heads = [tensors[name] for name in ("query", "key", "value")]
        if options or len(args) > 3 or heads[0].dim() != 4:  # masks and the like
            return func(*args, **given)
        self.changed = True
        trains = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in heads)
        gpu = self.gpu if self.device == "cuda" else None
        kernel = attention_kernels.choose(*heads, gpu=gpu, trains=trains)
        if kernel == "math":
            return func(*args, **given)
        return attention_kernels.fused(kernel, *heads, scale=tensors.get("scale"), trains=trains)


def _axis(args: tuple[Any, ...], given: Mapping[str, Any]) -> int:
    axis: int = args[1] if len(args) > 1 else given["dim"]
    return axis


def _is_meta(leaf: object) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_meta and leaf.is_floating_point()


def _raised(leaf: Any) -> Any:  # noqa: ANN401
    low = _is_meta(leaf) and leaf.dtype in (torch.float16, torch.bfloat16)
    return leaf.float() if low else leaf
