"""Rows and tables: frame, columns, values."""

from reports.model.columns import (
    BLOCK_COUNT_FIELDS,
    BLOCK_FIELDS,
    NETWORK_COUNT_FIELDS,
    NETWORK_FIELDS,
    PARAMETERS_FIELD,
    WORK_FIELDS,
    Field,
    axis_value,
    device_column,
    memory_column,
    tabulate,
    timing_fields,
)
from reports.model.drawing import COLOURS, INK, MARKERS, Figure, short, svg_of
from reports.model.frame import build_frame, pixels, rows_of, rows_of_experiment
from reports.model.notes import INCREMENT_NOTE, RATIO_NOTE, TIME_NOTE
from reports.model.table import (
    GIBI,
    GIGA,
    MEBI,
    MEGA,
    MILLI,
    Column,
    Interval,
    LaidCell,
    Layout,
    Mark,
    Number,
    Spread,
    Table,
    Value,
    decimal,
    lay_out,
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
    predicted_increment,
    predicted_value,
    published_value,
    ratio_of,
    time_interval,
    time_value,
    timing_of,
)
