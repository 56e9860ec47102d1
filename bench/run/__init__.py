"""Runs cells in processes, in a pool or on a Ray cluster, and resumes."""

from bench.run.environment import available_bytes
from bench.run.pool import Act, Engine, Lost, local, one_by_one, ray
from bench.run.process import (
    Task,
    end_process,
    end_with_parent,
    offer_to_oom_killer,
    run_task,
    tidy_process,
)
from bench.run.runner import (
    PROCESS_BYTES,
    RECORDS_FILE,
    code_digest,
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
