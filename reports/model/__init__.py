"""Rows and tables: frame, columns, values."""

from reports.model.chapter import Chapter
from reports.model.columns import (
    ARM_FIELDS,
    BLOCK_FIELDS,
    INCREMENT_NOTE,
    MEASURED_MEMORY,
    PARAMETERS_FIELD,
    TIME_NOTE,
    WORK_FIELDS,
    Field,
    axis_field,
    device_column,
    memory_column,
    percent_column,
    published_field,
    published_ratio,
    reference_ratios,
    tabulate,
    text_column,
    time_column,
    time_field,
)
from reports.model.drawing import COLOURS, INK, MARKERS, Figure, short, svg_of, use_log_axes
from reports.model.frame import BY_COMMAND, Frame, build_frame, grouped
from reports.model.layout import LaidCell, Layout, decimal, lay_out, plain, slug
from reports.model.rows import (
    by_axes,
    device_names,
    of_device,
    pixels,
    rows_of,
    rows_of_experiment,
    with_paper,
)
from reports.model.table import (
    GIBI,
    GIGA,
    MEBI,
    MEGA,
    MILLI,
    Column,
    Interval,
    Mark,
    Number,
    Section,
    Spread,
    Table,
    Value,
    number_of,
)
from reports.model.values import (
    BY_CUDA,
    CLOCK_ORDER,
    CONCLUSIVE_WIDTH,
    FAILURE_WORDS,
    UNMEASURED,
    UNPREDICTED,
    UNPUBLISHED,
    Row,
    describe_machine,
    group_times,
    measured_value,
    measuring_conditions,
    median_time,
    predicted_increment,
    predicted_value,
    ratio_of,
    time_interval,
    time_value,
    timing_of,
    workspace,
)
