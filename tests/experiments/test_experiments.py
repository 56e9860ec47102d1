import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from ann.spec import Size
from bench.records import record
from experiments.catalogue import EXPERIMENTS
from experiments.spec import Cell

ROOT = Path(__file__).resolve().parents[2]
CELLS = [cell for experiment in EXPERIMENTS.values() for cell in experiment.cells]


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_no_two_cells_of_an_experiment_are_the_same_row(experiment):
    rows = [
        (cell.call.protocol, cell.call.mode, *sorted(cell.axes.items()))
        for cell in experiment.cells
    ]
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("name", ["table1", "table2", "zoo_ann", "zoo_dnl"])
def test_every_published_row_has_a_cell(name):
    asked = {tuple(sorted(cell.axes.items())) for cell in EXPERIMENTS[name].cells}
    assert {
        tuple(sorted(item.axes.items()))
        for item in record.read_records(ROOT / f"reports/published/{name}.jsonl")
    } <= asked


def test_an_id_changes_with_what_is_measured():
    cell = CELLS[0]
    others = [
        dataclasses.replace(cell, batch=7),
        dataclasses.replace(cell, seed=7),
        dataclasses.replace(cell, size=Size(height=1, width=1)),
        dataclasses.replace(cell, mode="train"),
    ]
    assert len({cell.id, *(other.id for other in others)}) == 5


def test_an_id_does_not_change_with_patience():
    cell = CELLS[0]
    assert dataclasses.replace(cell, budget_s=1, time_limit_s=1).id == cell.id


def test_an_id_is_the_same_in_another_process():
    code = "from experiments.catalogue import EXPERIMENTS as E; print(E['table1'].cells[0].id)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == EXPERIMENTS["table1"].cells[0].id


def test_the_papers_script_ran_the_small_size_before_the_large_one():
    last = next(
        c
        for c in EXPERIMENTS["table1"].cells
        if c.protocol == "paper" and str(c.size) == "256x128" and c.name == "nb"
    )
    assert [str(size) for _, size in last.preceded_by] == ["96x96", "96x96", "256x128"]


def test_experiments_records_and_reports_load_without_torch():
    code = "import experiments.catalogue, experiments.machine, bench.records.record, bench.analysis.roofline;"
    code += "import reports.report, reports.blocks.floors, reports.audit.audit, sys;"
    code += "print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_cell_is_named_after_its_block_or_network():
    cell = Cell(experiment="e", axes={"network": "n"}, subject=CELLS[0].subject, size=CELLS[0].size)
    assert cell.name == "n"
