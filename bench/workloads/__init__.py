"""What a cell executes: module, inputs, number format, one call."""

from bench.workloads.number_formats import (
    format_flags,
    lower_dtype,
    require_format,
    switch_format,
    unswitched,
    weights_dtype,
)
from bench.workloads.outputs import leaves, random_factors, structure, tensor_leaves
from bench.workloads.state import is_same, state_of, take_state
from bench.workloads.workload import (
    NOTHING_TO_TRAIN,
    TrainingStep,
    Workload,
    build_module,
    build_subject,
    complete_workload,
    find_factory,
    input_widths,
    make_workload,
    sum_outputs,
    warm_device,
)
