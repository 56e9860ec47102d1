"""A long run keeps its memory and its files.

    python -m pytest tests/benchmarks/test_soak.py -m slow -s

A thousand cells predicted, then a thousand measured, each in a process of its own: an hour and a half
on two cores; SOAK_CELLS asks for fewer.
"""

import os
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from ann.catalogue import BLOCKS
from ann.spec import Size
from bench.records import record
from bench.run import runner
from experiments.spec import Cell

pytestmark = pytest.mark.slow
CELLS = int(os.environ.get("SOAK_CELLS", "1000"))
SMALL = Cell(
    experiment="soak",
    axes={"block": "apnb"},
    subject=replace(BLOCKS["apnb"], channels=8, key_channels=4),
    size=Size(height=9, width=12),
    probes=("timing",),
    budget_s=0.01,
)


def cells() -> Iterator[Cell]:
    for number in range(CELLS):
        axes = {"block": "apnb", "number": number}
        yield replace(SMALL, seed=number, axes=axes, size=Size(height=6 + number % 100, width=12))


@pytest.mark.parametrize("source", ["predicted", "measured"])
def test_a_long_run_keeps_its_memory_and_its_files(tmp_path, source):
    here = psutil.Process()
    resident, files, children = [], [], []
    for number, made in enumerate(
        runner.run_cells(tuple(cells()), tmp_path, source=source, device="cpu"), start=1
    ):
        assert made.failure is None
        if number % (CELLS // 10) == 0:
            resident.append(here.memory_info().rss / 2**20)
            files.append(here.num_fds())
            children.append(len(here.children()))
            print(  # noqa: T201  # the figures are what it is for
                f"\n{source} {number}: {resident[-1]:.1f} MiB, {files[-1]} files, {children[-1]} children"
            )
    assert len(record.read_records(tmp_path / runner.RECORDS_FILE)) == CELLS
    assert len(set(files)) == len(set(children)) == 1
    # The first tenth has loaded what there is to load; a record that was kept by each would be 2 KiB.
    assert resident[-1] - resident[0] < 1 + CELLS * 2 / 1024
