"""Cross-checks MACs from the dispatch ledger, the closed form of a block and fvcore; raises if they disagree.

The ledger and the formula are compared at the size of the cell, the ledger and fvcore at a small
one, since fvcore has to execute the module.
"""

import copy
import warnings
from collections.abc import Callable, Hashable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from math import prod
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from ann.spec import BlockSpec, Size
from bench.predict import fake, formulas, ledger, released_scripts
from bench.predict.fake import Arguments, Keywords, Overload
from bench.predict.ledger import Context, Step
from bench.records import Counts, Measures
from bench.workloads import make_workload
from experiments.spec import Measurement

TOLERANCE = 1e-3
NO_FIGURE = "; no figure is told, report the module as a bug"
SMALL_MAP = Size(height=16, width=24)
SMALL_IMAGE = Size(height=65, width=97)
IMAGE_CHANNELS = 4  # a map has more
DEEP_NETWORK_MACS = 5_000_000_000


TracedValue: TypeAlias = Any  # a value of the traced graph
Handle = Callable[[list[TracedValue], list[TracedValue]], int]


class DisagreementError(ValueError):
    """Two counters saw different matrix work in one call; `measures` has the count of the first, if there is one."""

    measures: Measures | None = None


def analytic_macs(
    spec: BlockSpec, size: Size, *, batch: int = 1, mode: Step = "eval"
) -> int | None:
    """MACs of a block as executed: a shared query and key is computed twice; None for a kind without a formula.

    Args:
        spec: the block.
        size: of its maps; a fusion block's low-level map has the same.
        batch: maps at once.
        mode: in `train`, each product has one more for the gradient of either operand, but for the
            gradients of the maps that come in.
    """
    channels, low, pixels = spec.channels, spec.low_channels or spec.channels, size.pixels
    # What reads the block's inputs directly, and the rest.
    if spec.kind == "common-fusion":
        embeddings, inner = low * channels * pixels, 0
    elif spec.kind in ("non-local", "disentangled"):
        key, value, anchors = spec.key_channels, spec.value_width, spec.anchors(pixels)
        embeddings = (channels * key + low * key + low * value) * pixels
        inner = pixels * anchors * (key + value) + value * channels * pixels
        if spec.kind == "disentangled":
            embeddings += low * pixels
            inner += anchors * value
        if spec.output == "bottleneck":
            inner += 2 * channels * channels * pixels
    else:
        return None
    return batch * (embeddings + inner if mode == "eval" else 2 * embeddings + 3 * inner)


def fvcore_macs(module: nn.Module, inputs: tuple[Tensor, ...]) -> int | None:
    """Matrix work of one forward pass by fvcore, which executes it; None where it is not installed.

    What it lacks or has wrong is given to it: attention, baddbmm and its relatives, products that
    broadcast or have a vector. Its norms, pools and interpolations are left out. The module is
    copied and the copy set to eval; meta and fake tensors become zeros on the CPU.
    """
    traced = _traced_by_fvcore(module, inputs)
    return traced and traced[0]


def _traced_by_fvcore(
    module: nn.Module, inputs: tuple[Tensor, ...]
) -> tuple[int, frozenset[str]] | None:
    """MACs by fvcore, and the names of operators of which it knows nothing."""
    try:
        with warnings.catch_warnings():
            # fvcore's focal loss is scripted at import; torch says that scripting is going away.
            warnings.simplefilter("ignore")
            from fvcore.nn import FlopCountAnalysis
    except ImportError:
        return None
    copied = copy.deepcopy(module).eval()
    with fake.off(), torch.no_grad(), ledger.plain_attention(), warnings.catch_warnings():
        executed = fake.replace_tensors(copied, _executable)
        analysis = FlopCountAnalysis(executed, tuple(map(_executable, inputs)))
        analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
        analysis.tracer_warnings("none").set_op_handle(**_HANDLES)
        warnings.simplefilter("ignore")  # the tracer's, on shapes that it makes constant
        macs = int(analysis.total())
        unknown = (name.rpartition("::")[2] for name in analysis.unsupported_ops())
        return macs, frozenset(unknown)


def small_counts(cell: Measurement) -> dict[str, tuple[float, ...]]:
    """MACs of somebody's own module on a small map, by the ledger and by fvcore, which executes it.

    It is built anew for that. Nothing is told where it takes no such map, where fvcore is not installed or can't trace
    it, and where fvcore has less since it knows nothing of some operator.
    """
    small = replace(
        cell, size=SMALL_MAP, batch=1, dtype="float32", mode="eval", implementation="plain"
    )
    try:
        work = make_workload(small, "cpu")
        counts = ledger.count(work.module, work.inputs, mode="eval")
        traced = _traced_by_fvcore(work.module, work.inputs)
    except Exception:  # noqa: BLE001  # foreign code, which may raise anything
        return {}
    if traced is None:
        return {}
    macs, unknown = traced
    is_free = {row.name.partition(".")[2] for row in counts.ledger if not row.macs}
    if macs < counts.macs and unknown - is_free:
        return {}
    return {"small_macs": (counts.macs,), "small_fvcore_macs": (macs,)}


def torch_macs(func: Overload, args: Arguments, kwargs: Keywords, result: object) -> int | None:
    """MACs of a dispatched operator by torch's own counter; None where that has no formula, or it fails."""
    from torch.utils.flop_counter import flop_registry  # a third of a second

    formula = flop_registry.get(func.overloadpacket)
    try:
        return formula and int(formula(*args, **kwargs, out_val=result)) // 2
    except Exception:  # noqa: BLE001  # its assertions are about calls that it does not know
        return None


def _executable(tensor: Tensor) -> Tensor:
    has_values = not (tensor.is_meta or isinstance(tensor, fake.FakeTensor))
    return tensor if has_values else torch.zeros(tensor.shape, dtype=tensor.dtype)


def _shape(value: TracedValue) -> list[int]:
    return list(value.type().sizes())


def _product_of(left: int) -> Handle:
    """Handle of a product whose argument `left` is summed over its last axis."""
    return lambda given, results: prod(_shape(results[0])) * _shape(given[left])[-1]


def _attention(given: list[TracedValue], results: list[TracedValue]) -> int:
    query, key = _shape(given[0]), _shape(given[1])
    return prod(query[:-1]) * key[-2] * (query[-1] + _shape(results[0])[-1])


_NO_MATRIX_WORK = (
    *("batch_norm", "group_norm", "layer_norm", "instance_norm", "adaptive_avg_pool2d"),
    *("upsample_nearest2d", "upsample_bilinear2d", "grid_sampler"),
)
_HANDLES: Mapping[str, Handle] = {
    **dict.fromkeys(("aten::matmul", "aten::mv", "aten::dot"), _product_of(0)),
    **dict.fromkeys(("aten::addmv", "aten::baddbmm", "aten::baddbmm_"), _product_of(1)),
    "aten::addbmm": lambda given, results: _product_of(1)(given, results) * _shape(given[1])[0],
    "aten::scaled_dot_product_attention": _attention,
    **{f"aten::{name}": lambda *_: 0 for name in _NO_MATRIX_WORK},
}


def check(counts: Mapping[str, int | None], *, where: str) -> None:
    """Compare the MACs of several counters by name; None of one that has no rule.

    Raises:
        DisagreementError: two differ by more than 0.1 %; the message has every figure, and `where`.
    """
    figures = {name: macs for name, macs in counts.items() if macs is not None}
    if not figures:
        return
    least, most = min(figures.values()), max(figures.values())
    if most - least > TOLERANCE * least:
        listed = ", ".join(f"{name} {macs:,}" for name, macs in figures.items())
        disagreement = (
            f"{where}: the counters disagree by more than {TOLERANCE:.1%} on MACs: {listed}"
        )
        raise DisagreementError(disagreement + NO_FIGURE)


_verified: dict[Hashable, tuple[int, int] | None] = {}


def verify(
    module: nn.Module, inputs: tuple[Tensor, ...], *, kind: Hashable | None = None
) -> tuple[int, int] | None:
    """Compare the ledger with fvcore on one small item of the inputs; return the MACs by both.

    Modules of one `kind` do the same in inference, so that one of them is compared for all: the sizes of
    a table are cut to the same small one.

    Maps are cut to 24x16, images of up to 4 channels to 97x65. There is no second count, and so None,
    where fvcore is not installed or can't trace the module (somebody's own may not take maps of another
    size, or branch on what it reads), or the module is a deep network, which it takes seconds to trace;
    the network's parts are checked. Nor is there one of our kernels, which are for a GPU.

    Raises:
        DisagreementError: they differ by more than 0.1 %.
    """
    small = tuple(map(_cut, inputs))
    if kind is None:
        return _compared(module, small)
    key = (kind, small[0].shape)
    if key not in _verified:
        _verified[key] = _compared(module, small)
    return _verified[key]


def _compared(module: nn.Module, small: tuple[Tensor, ...]) -> tuple[int, int] | None:
    try:
        counts = ledger.count(module, small, mode="eval")
        first = counts.macs
        is_traced = first <= DEEP_NETWORK_MACS and not any(
            row.name in formulas.OURS for row in counts.ledger
        )
        second = fvcore_macs(module, small) if is_traced else None
    except Exception:  # noqa: BLE001  # tracing runs foreign code, which may raise anything
        return None
    if second is None:
        return None
    shapes = " and ".join("x".join(map(str, tensor.shape)) for tensor in small)
    check({"ledger": first, "fvcore": second}, where=f"{type(module).__name__} on {shapes}")
    return first, second


def _cut(tensor: Tensor) -> Tensor:
    if tensor.dim() < 3:
        return tensor
    is_image = tensor.dim() == 3 or tensor.shape[1] <= IMAGE_CHANNELS
    size = SMALL_IMAGE if is_image else SMALL_MAP
    return tensor[:1, ..., : size.height, : size.width].contiguous()


def cross_checked_counts(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    *,
    mode: Step = "eval",
    numbers: Context = nullcontext,
    spec: BlockSpec | None = None,
    size: Size | None = None,
    execute: bool = True,
    kind: Hashable | None = None,
) -> Counts:
    """Count one call, and compare the count with all others that there are.

    Nothing is executed of what is fake or on meta, but by fvcore a small copy: not to `execute` leaves
    that out for code that is not known, of which torch's counter is asked in the same call, after one that
    may have made what is made once. `spec` and `size` are a block's, for its formula and the released
    script's count. Of modules of one `kind` one copy is executed.

    Raises:
        DisagreementError: two counts of the matrix work differ by more than 0.1 %.
    """
    counts = ledger.count(
        module,
        inputs,
        mode=mode,
        first=execute and numbers is nullcontext,
        numbers=numbers,
        # A module that is not known is not executed, and has no formula.
        second=None if execute else torch_macs,
    )
    analytic = paper = small = by_fvcore = None
    try:
        if spec is not None and size is not None:
            analytic = analytic_macs(spec, size, batch=inputs[0].shape[0], mode=mode)
            figures = {"ledger": counts.macs, "formula": analytic}
            check(figures, where=f"{spec.kind} block at {size}")
            paper = released_scripts.paper_operations(spec, size)
        small, by_fvcore = (verify(module, inputs, kind=kind) if execute else None) or (None, None)
    except DisagreementError as error:
        disputed = str(error).removesuffix(NO_FIGURE)
        error.measures = Measures(counts=counts.model_copy(update={"disputed": disputed}))
        raise
    update = {"small_macs": small, "fvcore_macs": by_fvcore}
    update |= {"analytic_macs": analytic, "paper_operations": paper}
    return counts.model_copy(update=update)
