"""What a cell executes: module, inputs, number format, one call."""

from bench.workloads.factories import find_factory, prepare_call
from bench.workloads.number_formats import (
    computes_in,
    format_caveats,
    format_flags,
    lower_dtype,
    require_format,
    switch_format,
    unswitched,
    weights_dtype,
)
from bench.workloads.outputs import leaves, random_factors, structure, tensor_leaves
from bench.workloads.randomness import kept_randomness, seed_all
from bench.workloads.state import is_same, state_of, take_state
from bench.workloads.workload import (
    NOTHING_TO_TRAIN,
    TrainingStep,
    Workload,
    build_module,
    build_subject,
    complete_workload,
    input_shapes,
    input_widths,
    make_workload,
    set_mode,
    sum_outputs,
    warm_device,
)
