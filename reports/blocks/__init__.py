"""Tables and figures of blocks: time, memory, operations."""

from reports.blocks.efficiency import (
    BLOCK_TITLES,
    allocator_tables,
    efficiency_tables,
    own_tables,
)
from reports.blocks.memory import fit_table
from reports.blocks.predictions import (
    estimated_time,
    operator_estimates,
    pass_tables,
    predicted_time_tables,
)
from reports.blocks.roofline import machine_tables
from reports.blocks.validation import record_errors, validation_tables
