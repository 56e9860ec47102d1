"""Runs cells in processes, in a pool or on a Ray cluster, and resumes."""

from bench.run.environment import available_bytes, commit, describe
from bench.run.job_records import (
    PROCESS_BYTES,
    default_slots,
    environment_of,
    make_record,
    memory_failure,
    predicted_need,
    predicted_record,
    resolve_device,
    timestamp,
)
from bench.run.pool import Act, Engine, Lost, local
from bench.run.process import Task, run_task, tidy_process
from bench.run.progress import Progress, Stage, plain_lines
from bench.run.ray_cluster import ray
from bench.run.runner import RECORDS_FILE, run_cells, run_under_torchrun, set_records_aside
