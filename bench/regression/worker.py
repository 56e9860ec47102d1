"""Worker of one revision: examines cells, or is an arm of an interleaved comparison.

It runs under the revision's interpreter, with its library; all that needs that is imported here, so
that what it lacks is said at the start.
"""

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.compare import ArmTask, refill, take_turns
from bench.predict import predict_cell  # noqa: F401  # what counts and predicts
from bench.records import Checksum, Failure, FailureKind, Record, error_failure, one_line
from bench.regression.calls import save_calls
from bench.regression.exact import TOLERANCES
from bench.regression.requests import Ask, outline, requested_cell
from bench.run import available_bytes, environment_of, make_record, predicted_need, predicted_record
from bench.workers import Fence, ForeignModuleError, leave_core
from bench.workloads import find_factory, make_workload, seed_all, state_of, take_state
from experiments.spec import Cell, OwnModule


def play() -> Generator[Any, Any, None]:
    """Answer as an arm does, to a task whose cell is a request."""
    message = yield None
    cell = requested_cell(Ask(**message["cell"]))
    yield from take_turns(ArmTask(**message | {"cell": cell}))


def examine_cells() -> Generator[Any, Any, None]:
    """Answer the name of a device, and then each request with the record of its cell there.

    Where a module of another checkout was loaded, whatever the record says is not of this side: a sentence about that
    is the answer.
    """
    leave_core()
    device = yield None
    message = yield device
    while True:
        weights, outputs = (Path(message[name]) for name in ("weights", "outputs"))
        record = examine_cell(Ask(**message["ask"]), device, weights=weights, outputs=outputs)
        message = yield _foreign_module() or record


def _foreign_module() -> str:
    """What is loaded and of another checkout, in a sentence; empty if nothing is."""
    try:
        Fence.of_environment().refuse_loaded()
    except ForeignModuleError as error:
        return str(error)
    return ""


def examine_cell(ask: Ask, device: str, *, weights: Path, outputs: Path) -> Record:
    """Count, predict, and call it; the record has a failure if the cell can't be built, predicted or run here.

    Weights and inputs are those of the file `weights` where they fit, else it is written; `outputs` is
    a file for what the module gives. What can't be predicted is called all the same.
    """
    kind: FailureKind = "unavailable"
    try:
        cell = requested_cell(ask)
        if isinstance(cell.subject, OwnModule):
            kind = "import"
            find_factory(cell.subject.factory)
    except ValueError as error:
        cell = outline(ask)
        kind = "unavailable" if _is_absent(error, ask) else kind
        failure = Failure(kind=kind, reason=one_line(error))
        return make_record(cell, "predicted", environment_of(device, cell), failure)
    record = predicted_record(cell, environment_of(device, cell), keeps_disputed=True)
    if record.failure is not None and record.failure.kind == "unavailable":
        return record
    needs = predicted_need(record.measures.predicted)
    if needs > available_bytes(device):  # type: ignore[arg-type]  # a device
        return record
    try:
        sums = _run(cell, device, weights=weights, outputs=outputs)
    except Exception as error:  # noqa: BLE001  # whatever goes wrong in a call is the record's
        failure = record.failure or error_failure(error)
        return record.model_copy(update={"failure": failure})
    measures = record.measures.model_copy(update={"outputs": sums})
    return record.model_copy(update={"measures": measures})


def _is_absent(error: ValueError, ask: Ask) -> bool:
    """Whether there is no such module or callable, rather than a module that can't be imported."""
    cause = error.__cause__
    if cause is None:
        return True
    module = ask.arm.partition(":")[0]
    missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def _run(cell: Cell, device: str, *, weights: Path, outputs: Path) -> tuple[Checksum, ...]:
    """Call the cell with the other side's weights and inputs, if there are any; else leave its own."""
    given = torch.load(weights, weights_only=True) if weights.exists() else None
    own: dict[str, Tensor] = {}
    kept: list[str] = []
    unlike: list[str] = []

    def prepare(module: nn.Module) -> None:
        if given is not None:
            shapes = {name: item.shape for name, item in state_of(module).items()}
            theirs = given["weights"]
            unlike.extend(name for name in theirs if shapes.get(name) != theirs[name].shape)
            kept.extend(take_state(module, theirs, rebuild=partial(_rebuild, cell, device)))
        own.update(
            {name: item.detach().to("cpu", copy=True) for name, item in state_of(module).items()}
        )

    seed_all(cell.seed)
    work = make_workload(cell, device, prepare=prepare)
    refill(work, seed=cell.seed)
    if given is None:
        torch.save(
            {"weights": own, "inputs": [item.detach().cpu() for item in work.inputs]}, weights
        )
    else:
        for tensor, other in zip(work.inputs, given["inputs"], strict=False):
            if tensor.shape == other.shape:
                tensor.data.copy_(other)  # it may ask for a gradient
    settings = {"seed": cell.seed, "tolerance": TOLERANCES[cell.dtype]}
    return save_calls(work, outputs, **settings, kept=kept, unlike=unlike)  # type: ignore[arg-type]  # by name


def _rebuild(cell: Cell, device: str) -> nn.Module:
    """Build the cell's module as it would be with another seed."""
    modules: list[nn.Module] = []
    seed_all(cell.seed + 1)
    other = replace(cell, seed=cell.seed + 1, implementation="plain")
    make_workload(other, device, prepare=modules.append)
    return modules[0]
