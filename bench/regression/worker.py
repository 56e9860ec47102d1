"""The process of one side: `python -m bench.regression.worker DESCRIPTOR`, started by `wire.start`.

It is told either to examine cells, one after the other (counts, prediction, outputs), or to be an
arm of a comparison by turns.
"""

import os
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bench.records import Checksum, Record
    from bench.regression.wire import Wire
    from bench.workloads import Workload


def main(descriptor: int) -> None:
    """Serve until the other side goes."""
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    connection = Connection(descriptor)
    try:
        # All that needs this side's library, so that what it lacks is said at once.
        from bench.regression.wire import Wire  # isort: skip  # soon, the other brings torch
        from bench.measure import measure  # noqa: F401

        wire = Wire(connection)
        request = wire.recv()
        act = _play if request["act"] == "play" else _examine
    except ImportError as error:
        _refuse(connection, error)
        return
    act(wire, request)


def _end_with_parent() -> None:
    """End when who started this process has gone, even in the middle of a call."""
    os.read(0, 1)
    os._exit(1)


def _refuse(connection: Connection, error: ImportError) -> None:
    """The library of this side lacks what the suite needs; said without importing any of it."""
    import json

    connection.send_bytes(json.dumps(["", {"lacks": str(error)}]).encode())


def _play(wire: "Wire", request: dict[str, Any]) -> None:
    from bench.compare import ArmTask, serve
    from bench.regression.requests import Ask, requested_cell

    outputs = request["outputs"]
    task = ArmTask(
        cell=requested_cell(Ask(**request["ask"])),
        device=request["device"],
        outputs=Path(outputs) if outputs else None,
        read_memory=request["read_memory"],
        planted=request["planted"],
    )
    serve(task, wire)  # type: ignore[arg-type]  # it sends and receives as a connection does


def _examine(wire: "Wire", request: dict[str, Any]) -> None:
    """Answer each cell in words with its record, until the other side goes."""
    from bench.regression.requests import Ask

    wire.send({"ready": True})
    while True:
        try:
            asked = wire.recv()
        except EOFError:
            return
        weights, outputs = (Path(asked[name]) for name in ("weights", "outputs"))
        wire.send(examine(Ask(**asked["ask"]), request["device"], weights=weights, outputs=outputs))


def examine(ask: Any, device: str, *, weights: Path, outputs: Path) -> "Record":  # noqa: ANN401
    """Count, predict, and run one call.

    Args:
        ask: the cell in words.
        device: where the call is run.
        weights: file for weights and inputs; what it has is used where it fits, else it is written.
        outputs: file for what the module gives.

    Returns:
        The record; with a failure if the cell can't be built or run here.
    """
    from bench.records import Failure, Record, error_failure, one_line
    from bench.regression.requests import outline, requested_cell
    from bench.run import environment_of, make_record, predicted_record
    from bench.workloads import find_factory
    from experiments.spec import OwnModule

    try:
        cell = requested_cell(ask)
        if isinstance(cell.subject, OwnModule):
            find_factory(cell.subject.factory)
    except ValueError as error:
        blank = outline(ask)
        failure = Failure(kind="unavailable", reason=one_line(error))
        where = environment_of(device, blank)
        return make_record(blank, "predicted", where, failure=failure)
    found: Record = predicted_record(cell, environment_of(device, cell))
    if found.failure is not None or not _fits(found, device):
        return found
    try:
        sums = _run(cell, device, weights=weights, outputs=outputs)
    except Exception as error:  # noqa: BLE001  # whatever goes wrong in a call is the record's
        return found.model_copy(update={"failure": error_failure(error)})
    measures = found.measures.model_copy(update={"outputs": sums})
    return found.model_copy(update={"measures": measures})


def _fits(found: "Record", device: str) -> bool:
    from bench.run import (
        PROCESS_BYTES,
        available_bytes,
    )

    predicted = found.measures.predicted
    needs = (predicted.peak_bytes if predicted else 0) + PROCESS_BYTES
    return needs <= available_bytes(device)  # type: ignore[arg-type]  # a device


def _run(cell: Any, device: str, *, weights: Path, outputs: Path) -> tuple["Checksum", ...]:  # noqa: ANN401
    import torch

    from bench.compare import refill, save_outputs
    from bench.workloads import make_workload

    given = torch.load(weights, weights_only=True) if weights.exists() else None
    kept: dict[str, Any] = {}

    def prepare(module: "nn.Module") -> None:
        if given is not None:
            _take_over(module, given["weights"])
        kept["weights"] = {name: item.cpu() for name, item in module.state_dict().items()}

    work = make_workload(cell, device, prepare=prepare)
    refill(work, seed=cell.seed)
    if given is not None:
        _take_inputs(work, given["inputs"])
    else:
        torch.save({**kept, "inputs": [item.cpu() for item in work.inputs]}, weights)
    torch.manual_seed(cell.seed)
    with work.numbers():
        save_outputs(work, outputs)
    saved: list[Tensor] = torch.load(outputs, weights_only=True)
    return tuple(map(checksum, saved))


def _take_over(module: "nn.Module", weights: dict[str, "Tensor"]) -> bool:
    """Use the other side's weights where all names and shapes agree; else each keeps its own."""
    own = module.state_dict()
    if {name: item.shape for name, item in own.items()} != {
        name: item.shape for name, item in weights.items()
    }:
        return False
    module.load_state_dict(weights)
    return True


def _take_inputs(work: "Workload", inputs: list["Tensor"]) -> None:
    for mine, other in zip(work.inputs, inputs, strict=False):
        if mine.shape == other.shape:
            mine.copy_(other)


def checksum(output: "Tensor") -> "Checksum":
    """Sum an output up in three numbers.

    Raises:
        ValueError: it has no values, or one that is not finite.
    """
    import torch

    from bench.records import Checksum

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


if __name__ == "__main__":
    main(int(sys.argv[1]))
