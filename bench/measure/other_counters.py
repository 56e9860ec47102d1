"""What other tools count for one call, so that it can be held against our ledger.

Each tool is asked as its documentation says, nothing added, on real tensors on the CPU, in a process of its own: some
of them patch torch for the whole process. A tool that is not installed or that fails says so in its row.

`python -m bench.measure.other_counters` is the process that asks them: a cell comes in on standard
input, one line of JSON a tool goes out. It is forked once for each tool, before anything has run, so that
torch is imported only once.
"""

import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Literal

from bench.records import ToolCount
from experiments.spec import Cell

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    Ask = Callable[[nn.Module, tuple[Tensor, ...]], float]

LIMIT_S = 300.0  # for one tool


@dataclass(frozen=True, slots=True)
class Tool:
    """A counter: the package that it is in, how it is asked, and the unit of its answer."""

    name: str
    package: str
    ask: "Ask"
    unit: Literal["MAC", "FLOP"] = "MAC"


def _fvcore(module: "nn.Module", inputs: "tuple[Tensor, ...]") -> float:
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(module, inputs)
    analysis.unsupported_ops_warnings(enabled=False).uncalled_modules_warnings(enabled=False)
    return analysis.tracer_warnings("none").total()


def _torch(module: "nn.Module", inputs: "tuple[Tensor, ...]") -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops()


def _ptflops(backend: str) -> "Ask":
    def ask(module: "nn.Module", inputs: "tuple[Tensor, ...]") -> float:
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

    return ask


def _thop(module: "nn.Module", inputs: "tuple[Tensor, ...]") -> float:
    from thop import profile

    return float(profile(module, inputs=inputs, verbose=False)[0])


def _torchinfo(module: "nn.Module", inputs: "tuple[Tensor, ...]") -> float:
    from torchinfo import summary

    return float(summary(module, input_data=inputs, verbose=0).total_mult_adds)


def _deepspeed(module: "nn.Module", inputs: "tuple[Tensor, ...]") -> float:
    from deepspeed.profiling.flops_profiler import get_model_profile

    told = get_model_profile(
        module, args=list(inputs), print_profile=False, as_string=False, warm_up=0
    )
    return float(told[1])


TOOLS: tuple[Tool, ...] = (
    Tool("fvcore", "fvcore", _fvcore),
    Tool("torch", "torch", _torch, unit="FLOP"),
    Tool("ptflops", "ptflops", _ptflops("pytorch")),
    Tool("ptflops, aten", "ptflops", _ptflops("aten")),
    Tool("thop", "thop", _thop),
    Tool("torchinfo", "torchinfo", _torchinfo),
    Tool("DeepSpeed", "deepspeed", _deepspeed),
)


def count_with_other_tools(cell: Cell, tools: tuple[str, ...] = ()) -> tuple[ToolCount, ...]:
    """Ask other counters about one call of a cell, in inference.

    Args:
        cell: what to count; it is built and executed once for each tool, on the CPU.
        tools: names in `TOOLS`; all of them by default.

    Raises:
        ValueError: the cell trains, for which these tools have no count.
        RuntimeError: the process that asks them came to an end.
    """
    if cell.mode != "eval":
        msg = f"other counters are asked about inference alone, got mode={cell.mode!r}; pass mode='eval'"
        raise ValueError(msg)
    done = subprocess.run(  # noqa: S603  # this very program
        [sys.executable, "-m", "bench.measure.other_counters", *tools],
        input=pickle.dumps(cell),
        capture_output=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        msg = f"the process that asks other counters ended with {done.returncode}: {' '.join(last)}"
        raise RuntimeError(msg)
    return tuple(map(ToolCount.model_validate_json, done.stdout.splitlines()))


def main(names: list[str]) -> None:
    """Ask the tools of those names, or all, about the cell on standard input."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # some of them print
    cell = pickle.load(sys.stdin.buffer)  # noqa: S301  # written by `compare`
    import_module("bench.workloads.workload")  # brings torch, ahead of the forks
    if not names:
        import_module("torch._dynamo")  # what dispatch modes such as torch's counter load, seconds
    for tool in TOOLS:
        if not names or tool.name in names:
            answer.write(_apart(tool, cell).model_dump_json() + "\n")
    answer.close()


def _apart(tool: Tool, cell: Cell) -> ToolCount:
    found = _version(tool.package)
    if found is None:
        return ToolCount(tool=tool.name, unit=tool.unit, reason=f"{tool.package} is not installed")
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(tool, cell, sender), daemon=True)
    child.start()
    sender.close()
    try:
        told = _told(receiver)
    finally:
        child.kill()
        child.join()
    return ToolCount(tool=tool.name, version=found, unit=tool.unit, **told)


def _told(receiver: Connection) -> dict[str, Any]:
    try:
        if receiver.poll(LIMIT_S):
            return dict(receiver.recv())
    except EOFError:
        return {"reason": "the process died in it"}
    return {"reason": f"not done after {LIMIT_S:.0f} s"}


def _answer(tool: Tool, cell: Cell, sender: Connection) -> None:
    import torch

    from bench.records import one_line
    from bench.workloads import make_workload

    warnings.simplefilter("ignore")
    try:
        work = make_workload(cell, "cpu")
        with torch.no_grad():
            sender.send({"reported": round(tool.ask(work.module, work.inputs))})
    except Exception as error:  # noqa: BLE001  # a tool may raise anything; that is its answer
        sender.send({"reason": one_line(error)})


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main(sys.argv[1:])
