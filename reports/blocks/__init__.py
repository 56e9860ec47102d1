"""Tables and figures of blocks: time, memory, operations."""

from reports.blocks.efficiency import efficiency_tables, own_tables
from reports.blocks.fits import fit_table
from reports.blocks.floors import predicted_time_tables
from reports.blocks.memory import allocator_tables
from reports.blocks.roofline import machine_tables
