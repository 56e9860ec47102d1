"""The process of cells: measures one after the other, as long as each leaves it as it was found."""

import os
from collections.abc import Generator

from bench.records import NO_GRAPH, Failure, Measures, error_failure
from bench.run.process import Task, shares, tidy_process
from experiments.spec import Evaluation, TrainingJob


def measure_cells() -> Generator[Measures | Failure, Task, Measures | Failure]:
    """Answer each task with its outcome; the last one after which the process can't be shared."""
    task = yield  # type: ignore[misc]  # what it is asked first
    while True:
        outcome = measured_outcome(task)
        if not (shares(task) and is_clean(outcome) and tidy_process()):
            return outcome
        task = yield outcome


def measured_outcome(task: Task) -> Measures | Failure:
    """Measure a cell in this process."""
    if task.threads is not None:
        take_slot(task)
    try:
        if isinstance(task.cell, TrainingJob):
            from bench.training import train_cell

            accuracy = train_cell(task.cell, task.device, task.folder, code=task.code)
            return Measures(accuracy=accuracy)
        from bench.measure import measure_cell, waiting

        waiting.count = int(task.waits_on_device)
        assert not isinstance(task.cell, Evaluation), "the command evaluates, in its own process"
        return measure_cell(task.cell, task.device)  # type: ignore[arg-type]  # a device
    except Exception as error:  # noqa: BLE001  # whatever goes wrong in a cell is that cell's record
        return error_failure(error)


def is_clean(outcome: Measures | Failure) -> bool:
    """Whether what a cell leaves behind is known.

    Not after a failure, unless nothing was run, and not after a capture that failed: nobody knows in
    what state that leaves the allocator and the streams.
    """
    if isinstance(outcome, Failure):
        return outcome.kind == "unavailable"
    notes = (note for timing in outcome.timings for note in timing.notes)
    return not any(note.startswith(NO_GRAPH) for note in notes)


def take_slot(task: Task) -> None:
    """Take this slot's GPU and its share of the processor, before torch is loaded.

    Where there are more slots than GPUs, some share one.
    """
    os.environ["OMP_NUM_THREADS"] = str(task.threads)
    if task.device == "cuda":
        shown = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = shown.split(",") if shown else list(map(str, range(task.gpus)))
        os.environ["CUDA_VISIBLE_DEVICES"] = names[task.slot % len(names)]
