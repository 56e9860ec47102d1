"""Requests for cells: a side builds each from its own catalogue, and of an experiment by its axes."""

import json
from dataclasses import asdict

import pytest

from ann.spec import Size
from bench.regression import requests


def test_a_block_is_built_as_the_catalogue_of_its_process_has_it():
    (ask,) = requests.of_blocks(
        ["afnb:fast"], [Size(width=5, height=4)], channels=6, key_channels=2
    )
    cell = requests.requested_cell(requests.Ask(**json.loads(json.dumps(asdict(ask)))))
    assert (cell.subject.channels, cell.subject.low_channels, cell.implementation) == (6, 3, "fast")
    assert (str(cell.size), cell.name) == ("5x4", "afnb")
    assert str(requests.outline(ask).size) == "5x4"


def test_somebodys_own_block_of_tokens_is_asked_for_as_such():
    settings = {"channels": 6, "key_channels": 2, "layout": "nlc", "inputs": 3}
    (ask,) = requests.of_blocks(["torch.nn:MultiheadAttention"], [Size.parse("5x4")], **settings)
    again = requests.Ask(**json.loads(json.dumps(asdict(ask))))
    for cell in (requests.requested_cell(again), requests.outline(again)):
        assert (cell.subject.layout, cell.subject.inputs) == ("nlc", 3)
        assert (cell.axes["layout"], cell.axes["inputs"]) == ("nlc", 3)


def test_the_cells_of_an_experiment_are_found_again_by_their_axes():
    asks = requests.of_experiment("table1")
    assert len(asks) > 3
    for ask in asks:
        found = requests.requested_cell(requests.Ask(**json.loads(json.dumps(asdict(ask)))))
        assert (dict(found.axes), str(found.size)) == (ask.axes, ask.size)
        assert found.protocol == "strict"


def test_an_experiment_file_is_read(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from experiments.paper.table1 import EXPERIMENT as OTHER\n"
        "from experiments.spec import Experiment\n"
        "EXPERIMENT = Experiment(name='mine', question='q', cells=OTHER.cells[:1])\n"
    )
    (ask,) = requests.of_experiment(str(path))
    assert requests.requested_cell(ask).name == ask.arm
    path.write_text("EXPERIMENT = 3\n")
    with pytest.raises(ValueError, match="gives int; it must give an experiments.spec.Experiment"):
        requests.of_experiment(str(path))


@pytest.mark.parametrize("name", ["crossover", "implementations", "precision"])
def test_an_implementation_that_an_axis_names_is_said_once(name):
    for ask in requests.of_experiment(name):
        cell = requests.requested_cell(ask)
        assert ask.arm == cell.name
        assert requests.outline(ask).implementation == cell.implementation


def test_an_experiment_may_be_of_no_block_by_name(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import replace\n"
        "from experiments.paper.table1 import EXPERIMENT as OTHER\n"
        "from experiments.spec import Experiment\n"
        "cell = replace(OTHER.cells[0], experiment='mine', axes={'grids': '1'})\n"
        "EXPERIMENT = Experiment(name='mine', question='q', cells=(cell,))\n"
    )
    (ask,) = requests.of_experiment(str(path))
    assert (ask.arm, dict(requests.outline(ask).axes)) == ("mine", {"grids": "1"})


def test_a_network_is_an_arm_too():
    (ask,) = requests.of_blocks(["paper/apnb"], [Size(width=65, height=65)], mode="train")
    cell = requests.requested_cell(ask)
    assert dict(cell.axes) == {"network": "paper/apnb", "size": "65x65"}
    assert (cell.name, cell.mode) == ("paper/apnb", "train")


def test_an_experiment_has_to_have_cells_that_can_be_compared():
    with pytest.raises(ValueError, match="experiment 'counters' has no cell whose time"):
        requests.of_experiment("counters")
    other = requests.Ask(arm="apnb", size="5x4", experiment="table1", axes={"block": "nope"})
    with pytest.raises(ValueError, match="experiment 'table1' has no cell apnb 5x4 with"):
        requests.requested_cell(other)
