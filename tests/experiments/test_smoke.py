"""The budget that only shows that everything works."""

from itertools import chain

import pytest

from experiments.catalogue import EXPERIMENTS, TRAININGS
from experiments.select import find_experiment
from experiments.smoke import BUDGET, shrink
from experiments.spec import MachineCheck, Measurement
from experiments.training import Setting


def cells(*, smoke):
    setting = Setting(budget="smoke" if smoke else "quick")
    found = [find_experiment(name, setting) for name in (*EXPERIMENTS, *TRAININGS)]
    return list(chain.from_iterable((shrink(one) if smoke else one).cells for one in found))


def is_shrunk(cell):
    """Counting by other tools takes no time and is the same at any budget."""
    return cell.is_executed and not isinstance(cell, MachineCheck)


def test_no_executed_cell_has_the_id_of_one_of_another_budget():
    run = {cell.id for cell in cells(smoke=True) if is_shrunk(cell)}
    assert not run & {cell.id for cell in cells(smoke=False)}


def test_every_cell_says_so():
    assert {cell.axes["budget"] for cell in cells(smoke=True)} == {BUDGET}


def test_there_are_as_many_cells():
    assert len(cells(smoke=True)) == len(cells(smoke=False))


@pytest.mark.parametrize("kind", ["nb", "apnb"])
def test_what_is_measured_is_small_and_timed_briefly(kind):
    timed = [
        cell for cell in cells(smoke=True) if isinstance(cell, Measurement) and cell.name == kind
    ]
    assert max(cell.size.pixels for cell in timed if cell.probes) <= 25 * 25
    assert {cell.budget_s for cell in timed if cell.probes} == {0.1}
