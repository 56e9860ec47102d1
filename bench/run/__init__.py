"""Runs cells in processes, in a pool or on a Ray cluster, and resumes."""

from bench.run.environment import available_bytes, commit
from bench.run.pool import Act, Engine, Lost, local, one_by_one
from bench.run.process import Task, run_task, tidy_process
from bench.run.ray_cluster import ray
from bench.run.runner import (
    PROCESS_BYTES,
    RECORDS_FILE,
    default_slots,
    environment_of,
    make_record,
    memory_failure,
    predicted_record,
    resolve_device,
    run_cells,
    set_records_aside,
    timestamp,
)
from bench.run.torchrun import run_under_torchrun
