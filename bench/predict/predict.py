"""Counts and predicts a cell: operations and memory of one call, without execution."""

from typing import Literal

from ann.spec import BlockSpec, UnavailableError
from bench.predict import cross_check, released_scripts
from bench.predict.imitation import Imitation
from bench.predict.live_memory import predict_memory
from bench.records import Counts, Measures, PredictedMemory
from bench.workloads import Workload, lower_dtype, make_workload, require_format
from experiments.spec import Cell, OwnModule

Device = Literal["cpu", "cuda"]


def predict_cell(cell: Cell, aim: Device = "cuda") -> Measures:
    """Count operations and predict memory on meta tensors.

    Args:
        cell: what to predict; what is compiled is predicted as its source.
        aim: device whose rules for autocast and attention kernels hold where the cell names none;
            what the CPU does not have is predicted for CUDA, and says so.

    Raises:
        ValueError: the subject can't be built, or the counters disagree.
        UnavailableError: no device that may be meant has such a number format or attention kernel.
    """
    if cell.device in ("cpu", "cuda"):
        return _predict(cell, cell.device)
    try:
        return _predict(cell, aim)
    except UnavailableError:
        if aim == "cuda":
            raise
        return _predict(cell, "cuda", instead=True)


def _predict(cell: Cell, aim: Device, *, instead: bool = False) -> Measures:
    if aim == "cpu":
        require_format(cell.dtype, aim)
    work = make_workload(cell, "meta")
    with Imitation(aim, lower_dtype(cell.dtype)).around(work.module) as imitation:
        # Ahead of counting: clocks are read of calls that are not the first, memory of a processor
        # of the first, since the heap keeps what others leave.
        predicted = _predicted(cell, work, first=aim == "cpu")
        counts = _counts(cell, work)
    if cell.implementation == "onnxruntime":  # which has its own memory plan
        return Measures(counts=counts)
    device = aim if imitation.changed or instead else None
    return Measures(counts=counts, predicted=predicted.model_copy(update={"device": device}))


def _counts(cell: Cell, work: Workload) -> Counts:
    # The formula and the paper's rules are of the blocks as they were written.
    plain = cell.implementation == "plain" and isinstance(cell.subject, BlockSpec)
    return cross_check.cross_checked_counts(
        work.module,
        work.inputs,
        mode=cell.mode,
        spec=cell.subject if plain else None,  # type: ignore[arg-type]  # it is a block's
        size=cell.size,
        # Somebody's own module is run in the cell's process alone, where it can do no harm.
        execute=not isinstance(cell.subject, OwnModule),
    )


def _predicted(cell: Cell, work: Workload, *, first: bool) -> PredictedMemory:
    found = predict_memory(work.module, work.inputs, mode=cell.mode, first=first)
    if cell.protocol == "strict":
        return found
    figure = released_scripts.predicted_memory(released_scripts.sequence_of(cell))[-1]
    return found.model_copy(update={"paper_bytes": figure})
