"""Worker of one revision: examines cells, or is an arm of an interleaved comparison.

It runs under the revision's interpreter, with its library; all that needs that is imported here, so
that what it lacks is said at the start.
"""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.compare import ArmTask, refill, save_outputs, take_turns
from bench.predict import predict_cell  # noqa: F401  # what counts and predicts
from bench.records import Checksum, Failure, Record, error_failure, one_line
from bench.regression.requests import Ask, outline, requested_cell
from bench.run import available_bytes, environment_of, make_record, predicted_need, predicted_record
from bench.workloads import find_factory, make_workload
from experiments.spec import Cell, OwnModule


def play() -> Generator[Any, Any, None]:
    """Answer as an arm does, to a task whose cell is a request."""
    message = yield None
    cell = requested_cell(Ask(**message["cell"]))
    yield from take_turns(ArmTask(**message | {"cell": cell}))


def examine_cells() -> Generator[Any, Any, None]:
    """Answer the name of a device, and then each request with the record of its cell there."""
    device = yield None
    message = yield device
    while True:
        weights, outputs = (Path(message[name]) for name in ("weights", "outputs"))
        record = examine_cell(Ask(**message["ask"]), device, weights=weights, outputs=outputs)
        message = yield record


def examine_cell(ask: Ask, device: str, *, weights: Path, outputs: Path) -> Record:
    """Count, predict, and run one call; the record has a failure if the cell can't be built or run here.

    Weights and inputs are those of the file `weights` where they fit, else it is written; `outputs` is
    a file for what the module gives.
    """
    try:
        cell = requested_cell(ask)
        if isinstance(cell.subject, OwnModule):
            find_factory(cell.subject.factory)
    except ValueError as error:
        cell = outline(ask)
        failure = Failure(kind="unavailable", reason=one_line(error))
        return make_record(cell, "predicted", environment_of(device, cell), failure)
    record = predicted_record(cell, environment_of(device, cell))
    if record.failure is not None:
        return record
    needs = predicted_need(record.measures.predicted)
    if needs > available_bytes(device):  # type: ignore[arg-type]  # a device
        return record
    try:
        sums = _run_once(cell, device, weights=weights, outputs=outputs)
    except Exception as error:  # noqa: BLE001  # whatever goes wrong in a call is the record's
        return record.model_copy(update={"failure": error_failure(error)})
    measures = record.measures.model_copy(update={"outputs": sums})
    return record.model_copy(update={"measures": measures})


def _run_once(cell: Cell, device: str, *, weights: Path, outputs: Path) -> tuple[Checksum, ...]:
    given = torch.load(weights, weights_only=True) if weights.exists() else None
    saved: dict[str, Any] = {}

    def prepare(module: nn.Module) -> None:
        if given is not None:
            _take_weights(module, given["weights"])
        saved["weights"] = {name: item.cpu() for name, item in module.state_dict().items()}

    work = make_workload(cell, device, prepare=prepare)
    refill(work, seed=cell.seed)
    if given is not None:
        for tensor, other in zip(work.inputs, given["inputs"], strict=False):
            if tensor.shape == other.shape:
                tensor.data.copy_(other)  # it may ask for a gradient
    else:
        torch.save({**saved, "inputs": [item.cpu() for item in work.inputs]}, weights)
    torch.manual_seed(cell.seed)
    with work.numbers():
        save_outputs(work, outputs)
    return tuple(map(checksum, torch.load(outputs, weights_only=True)))


def _take_weights(module: nn.Module, weights: dict[str, Tensor]) -> None:
    """Use the other side's weights where all names and shapes agree; else each keeps its own."""
    sides = (module.state_dict(), weights)
    before, after = ({name: item.shape for name, item in side.items()} for side in sides)
    if before == after:
        module.load_state_dict(weights)


def checksum(output: Tensor) -> Checksum:
    """Sum an output up in three numbers.

    Raises:
        ValueError: it has no values, or one that is not finite.
    """
    values = output.detach().flatten().double()
    if not values.numel() or not values.isfinite().all():
        msg = "an output is empty or not finite, so that nothing can be compared with it"
        raise ValueError(msg)
    # Signs from the golden ratio's multiples: equally many of both, and no period.
    places = torch.arange(values.numel(), dtype=torch.float64)
    signs = torch.where((places * 0.6180339887498949).frac() < 0.5, 1.0, -1.0)
    return Checksum(
        shape=tuple(output.shape),
        mean=float(values.mean()),
        spread=float(values.square().mean().sqrt()),
        mix=float((values * signs).mean()),
        largest=float(values.abs().max()),
    )
