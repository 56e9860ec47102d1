"""What CUDA's caching allocator makes of a call: predicted by its rules, and measured where there is a GPU."""

from collections.abc import Iterable
from functools import partial
from operator import itemgetter

from bench.analysis import WORKSPACE_NOTES
from reports import model
from reports.blocks.efficiency import BLOCK_TITLES
from reports.model import Field, Frame, Row, Table, Value

ALLOCATOR_NOTE = (
    "Memory is what one call adds to input and parameters. Tensors need their bytes; allocated are the blocks that the "
    "allocator hands out for them, and for what softmax's backward pass makes for itself; reserved are the segments of "
    "which blocks are cut, also with expandable segments."
)
KINDS = {
    "tensors": ("increment_bytes", "requested_bytes"),
    "allocated": ("allocated_bytes", "memory_bytes"),
    "reserved": ("reserved_bytes", "reserved_bytes"),
    "reserved, expandable": ("expandable_reserved_bytes", None),
}


def allocator_tables(frame: Frame, experiments: Iterable[str] = BLOCK_TITLES) -> tuple[Table, ...]:
    """Predicted and measured memory of the blocks of `efficiency` and `table1`; none without a prediction for CUDA."""
    tables = (_allocator_table(frame, name) for name in experiments)
    return tuple(table for table in tables if table.rows)


def _allocator_table(frame: Frame, experiment: str) -> Table:
    rows = [
        row
        for row in model.rows_of_experiment(frame, experiment)
        if row["protocol"] == "strict" and row["predicted_allocated_bytes"] is not None
    ]
    fields = (field for kind in KINDS for field in _fields(kind))
    return model.tabulate(
        sorted(rows, key=model.pixels),
        (*model.BLOCK_FIELDS[:2], *model.device_column(rows), *model.BLOCK_FIELDS[2:], *fields),
        name=f"{experiment}-allocator",
        title=f"{BLOCK_TITLES[experiment]}: memory by the rules of CUDA's allocator",
        notes=(ALLOCATOR_NOTE, *WORKSPACE_NOTES),
        group_by=(1,),
    )


def _fields(kind: str) -> tuple[Field, ...]:
    predicted, measured = KINDS[kind]
    column = partial(model.memory_column, kind)
    foreseen = Field(column("predicted"), itemgetter(f"predicted_{predicted}"))
    if measured is None:
        return (foreseen,)
    return (foreseen, Field(column("measured"), partial(_of_cuda, name=measured), optional=True))


def _of_cuda(row: Row, name: str) -> Value:
    return row[name] if row["device"] == "cuda" else None


CHAPTER = model.Chapter(
    15, {name: partial(allocator_tables, experiments=(name,)) for name in BLOCK_TITLES}
)
