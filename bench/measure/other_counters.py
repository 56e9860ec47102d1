"""Counts of one call by other tools, to compare with our ledger.

Each tool is used as its documentation says, nothing added, on real tensors on the CPU, in a process of its own: some
of them patch torch for the whole process. A tool that is not installed or that fails says so in its row.
"""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.records import Failure, ToolCount
from bench.workers import ask_in_fork
from bench.workloads import make_workload
from experiments.spec import Cell

Counter = Callable[[nn.Module, tuple[Tensor, ...]], float]
TOOL_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Tool:
    """A counter: the package that it is in, how it is called, and the unit of its count."""

    name: str
    package: str
    count: Counter
    unit: Literal["MAC", "FLOP"] = "MAC"


def _fvcore(module: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(module, inputs)
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
    return analysis.tracer_warnings("none").total()


def _torch(module: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops()


def _ptflops(module: nn.Module, inputs: tuple[Tensor, ...], *, backend: str) -> float:
    from ptflops import get_model_complexity_info

    names = inspect.signature(module.forward).parameters
    macs, _ = get_model_complexity_info(
        module,
        tuple(inputs[0].shape[1:]),
        input_constructor=lambda _: dict(zip(names, inputs, strict=False)),
        as_strings=False,
        print_per_layer_stat=False,
        backend=backend,
    )
    if macs is None:
        msg = "ptflops gave no count; it prints why"
        raise RuntimeError(msg)
    return float(macs)


def _thop(module: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from thop import profile

    return float(profile(module, inputs=inputs, verbose=False)[0])


def _torchinfo(module: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from torchinfo import summary

    return float(summary(module, input_data=inputs, verbose=0).total_mult_adds)


def _deepspeed(module: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    from deepspeed.profiling.flops_profiler import get_model_profile, profiler

    # Of these it counts FLOPs, and says 0 where it is asked for MACs.
    is_recurrent = any(isinstance(part, nn.RNNBase | nn.RNNCellBase) for part in module.modules())
    without_macs = {"recurrent layers"} if is_recurrent else set[str]()
    for name in EINSUMS:
        count = getattr(profiler, name)
        setattr(profiler, name, partial(_noted, count, without_macs))
    _, macs, _ = get_model_profile(
        module, args=list(inputs), print_profile=False, as_string=False, warm_up=0
    )
    if without_macs:
        msg = (
            f"DeepSpeed says 0 MACs for {' and '.join(sorted(without_macs))}, so its sum lacks them"
        )
        raise RuntimeError(msg)
    return float(macs)


# DeepSpeed's own names, looked up when it patches torch.
EINSUMS = ("_einsum_flops_compute", "_einops_einsum_flops_compute")


def _noted(count: Callable[..., Any], names: set[str], *given: object, **options: object) -> object:
    names.add("einsum")
    return count(*given, **options)


TOOLS: tuple[Tool, ...] = (
    Tool("fvcore", "fvcore", _fvcore),
    Tool("torch", "torch", _torch, unit="FLOP"),
    Tool("ptflops", "ptflops", partial(_ptflops, backend="pytorch")),
    Tool("ptflops, aten", "ptflops", partial(_ptflops, backend="aten")),
    Tool("thop", "thop", _thop),
    Tool("torchinfo", "torchinfo", _torchinfo),
    Tool("DeepSpeed", "deepspeed", _deepspeed),
)


def count_with_other_tools(cell: Cell, tools: tuple[str, ...] = ()) -> tuple[ToolCount, ...]:
    """Count one call of a cell by other tools, all in `TOOLS` or those of these names, in inference.

    The cell is built and executed once for each, on the CPU, in a fork of this process, so that torch is
    loaded once, before anything has run: here nothing may have run either.

    Raises:
        ValueError: the cell trains, for which these tools have no count.
    """
    if cell.mode != "eval":
        msg = f"other counters are asked about inference alone, got mode={cell.mode!r}; pass mode='eval'"
        raise ValueError(msg)
    if not tools:
        import_module("torch._dynamo")  # what dispatch modes such as torch's counter load, seconds
    return tuple(count_with(tool, cell) for tool in TOOLS if not tools or tool.name in tools)


def count_with(tool: Tool, cell: Cell) -> ToolCount:
    """Count one call of a cell by one tool in a fork, or say why there is no count."""
    try:
        installed = version(tool.package)
    except PackageNotFoundError:
        return ToolCount(tool=tool.name, unit=tool.unit, reason=f"{tool.package} is not installed")
    answer = ask_in_fork(_count_here, (tool, cell), limit_s=TOOL_LIMIT_S)
    outcome = {"reason": answer.reason} if isinstance(answer, Failure) else {"reported": answer}
    return ToolCount(tool=tool.name, version=installed, unit=tool.unit, **outcome)


def _count_here(message: tuple[Tool, Cell]) -> int:
    tool, cell = message
    warnings.simplefilter("ignore")
    work = make_workload(cell, "cpu")
    with torch.no_grad():
        return round(tool.count(work.module, work.inputs))
