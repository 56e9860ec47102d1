"""Counts and predicts a cell: operations and memory of one call, on fake tensors."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import torch

from ann.spec import BlockSpec, UnavailableError
from bench.predict import cross_check, fake, released_scripts
from bench.predict.cross_check import DisagreementError
from bench.predict.fake import Device
from bench.predict.live_memory import predict_memory
from bench.records import Counts, Measures
from bench.workloads import (
    Workload,
    build_module,
    complete_workload,
    find_factory,
    lower_dtype,
    require_format,
)
from experiments.spec import Measurement, OwnModule


def predict_cell(cell: Measurement, aim: Device = "cuda") -> Measures:
    """Count operations and predict memory on fake tensors; what is compiled is predicted as its source.

    Where the cell names no device the rules for autocast and attention kernels are those of `aim`; what
    the CPU does not have is predicted for CUDA, and says so.

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


def _predict(cell: Measurement, aim: Device, *, instead: bool = False) -> Measures:
    if aim == "cpu":
        require_format(cell.dtype, aim)
    if isinstance(cell.subject, OwnModule):
        find_factory(cell.subject.factory)  # ahead, lest a decorator there compile nothing for good
    with fake.on(aim):
        work = make_fake(cell, aim)
        predicted = predict_memory(
            work.module,
            work.inputs,
            mode=cell.mode,
            numbers=work.numbers,
            with_allocator=aim == "cuda",
        )
        work.drop_input_gradients()
        try:
            counts = _counts(cell, work)
        except DisagreementError as error:
            if error.measures is not None:
                error.measures = error.measures.model_copy(update={"predicted": predicted})
            raise
    if cell.implementation == "onnxruntime":  # which has its own memory plan
        return Measures(counts=counts)
    # Autocast and the choice of an attention kernel differ by device.
    attends = any("scaled_dot_product" in row.name for row in counts.ledger)
    follows_device = instead or attends or cell.implementation.startswith("sdpa")
    paper_bytes = None
    if cell.protocol == "paper":
        paper_bytes = released_scripts.predicted_memory(released_scripts.sequence_of(cell))[-1]
    update = {
        "device": aim if follows_device or lower_dtype(cell.dtype) is not None else None,
        "paper_bytes": paper_bytes,
    }
    return Measures(counts=counts, predicted=predicted.model_copy(update=update))


def _counts(cell: Measurement, work: Workload) -> Counts:
    # The formula and the paper's rules are of the blocks as they were written.
    plain = cell.implementation == "plain" and isinstance(cell.subject, BlockSpec)
    plain = plain and not cell.goes_back_to_inputs
    # A loss is no matrix work, so that a block or network is the same to both counters in either mode.
    rewriting = () if cell.implementation == "plain" else (cell.implementation, cell.mode)
    is_own = isinstance(cell.subject, OwnModule)
    return cross_check.cross_checked_counts(
        work.module,
        work.inputs,
        mode=cell.mode,
        numbers=work.numbers if lower_dtype(cell.dtype) else nullcontext,
        spec=cell.subject if plain else None,  # type: ignore[arg-type]  # it is a block's
        size=cell.size,
        # Somebody's own module is run in the cell's process alone, where it can do no harm.
        execute=not is_own,
        kind=None if is_own else (cell.subject, cell.dtype, work.inputs[0].device, *rewriting),
    )


def make_fake(cell: Measurement, device: Device) -> Workload:
    """Build the same of fake tensors, inside `fake.on(device)`.

    Raises:
        ValueError: the subject can't be built; the message says why.
        UnavailableError: this machine lacks the implementation.
    """
    with torch.device(device):
        try:
            module = build_module(cell)
        except Exception:
            if not isinstance(cell.subject, OwnModule):
                raise
            with fake.off(), torch.device("cpu"):  # weights may be made of values
                module = build_module(cell)
        module = fake.replace_tensors(module, partial(fake.as_fake, device=device))
        work = complete_workload(cell, module, runs=False)
    inputs = (fake.as_fake(item, device).requires_grad_(item.requires_grad) for item in work.inputs)
    return replace(work, inputs=tuple(inputs))
