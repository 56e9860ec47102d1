"""Tables and figures of blocks: time, memory, operations."""
