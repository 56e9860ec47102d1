"""The table of what CUDA's allocator makes of a call."""

import pytest

from reports.blocks import allocator_tables
from reports.model import build_frame

MIB = 2**20


@pytest.fixture
def predicted(make):
    """NB as predicted for a GPU; what the allocator makes of it is told."""
    record = make.predicted("nb", "256x128")
    sizes = {"allocated_bytes": 8290, "reserved_bytes": 8300, "expandable_reserved_bytes": 8280}
    memory = record.measures.predicted.model_copy(
        update={name: size * MIB for name, size in sizes.items()}
    )
    measures = record.measures.model_copy(update={"predicted": memory})
    return record.model_copy(update={"measures": measures})


def headings(table):
    return [column.heading for column in table.columns]


def test_what_is_reserved_stands_beside_what_tensors_need(predicted):
    (table,) = allocator_tables(build_frame([predicted]))
    assert headings(table)[2:] == [
        "tensors, predicted (MiB)",
        "allocated, predicted (MiB)",
        "reserved, predicted (MiB)",
        "reserved, expandable, predicted (MiB)",
    ]
    assert table.rows == (("nb", "256x128", *(size * MIB for size in (8288, 8290, 8300, 8280))),)


def test_a_gpus_reading_stands_beside_the_prediction(make, predicted):
    reading = make.measured("nb", "256x128", memory=8320 * MIB, environment=make.GPU)
    (table,) = allocator_tables(build_frame([predicted, reading]))
    row = dict(zip(headings(table), table.rows[0], strict=True))
    assert row["allocated, measured (MiB)"] == 8320 * MIB


def test_a_processors_reading_is_none_of_an_allocators(make, predicted):
    reading = make.measured("nb", "256x128", memory=8320 * MIB)
    (table,) = allocator_tables(build_frame([predicted, reading]))
    assert not [heading for heading in headings(table) if "measured" in heading]


def test_workspaces_are_told_beside_the_numbers(predicted):
    (table,) = allocator_tables(build_frame([predicted]))
    assert "Those of cuBLAS are bounded: 8.1 MiB, since Hopper 32 MiB" in " ".join(table.notes)
    assert "Those of cuDNN nothing bounds" in " ".join(table.notes)


def test_records_without_a_prediction_for_cuda_have_no_such_table(make):
    assert allocator_tables(build_frame([make.predicted("nb", "256x128")])) == ()
