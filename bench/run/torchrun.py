"""Distributed training under torchrun: all its processes on one cell after the other; the first writes records."""

import os
from collections.abc import Sequence
from pathlib import Path

from bench.records import Environment, Measures, append_line
from bench.run import runner
from experiments.spec import Job, TrainingJob


def run_under_torchrun(cells: Sequence[Job], out: Path, *, device: str) -> bool:
    """Train and judge cells, each by all processes; cells that do not train are left out.

    Args:
        cells: of which the trainings are done.
        out: folder of the records; what has a record is not done again.
        device: `auto`, `cpu` or `cuda`.

    Returns:
        Whether this is the process that writes, and may go on to report.

    Raises:
        ValueError: the device or a data set is not there, or a training diverged.
    """
    from bench.training import place, processes, train_cell  # brings torch

    resolved = runner.resolve_device(device)
    trained = [cell for cell in cells if isinstance(cell, TrainingJob)]
    with processes(resolved) as device_of_process:
        first = place().rank == 0
        wheres = {cell.id: _of_all(runner.environment_of(resolved, cell)) for cell in trained}
        # Read before anything is written, so that all processes leave the same cells out.
        done = runner.finished(out, wheres)
        for cell in trained:
            if cell.id in done:
                continue
            accuracy = train_cell(cell, str(device_of_process), out, code=wheres[cell.id].code)
            if first:
                measures = Measures(accuracy=accuracy)
                made = runner.make_record(cell, "measured", wheres[cell.id], measures=measures)
                append_line(out / runner.RECORDS_FILE, made)
    return first


def _of_all(where: Environment) -> Environment:
    return where.model_copy(
        update={"flags": {**where.flags, "processes": os.environ.get("WORLD_SIZE", "1")}}
    )
