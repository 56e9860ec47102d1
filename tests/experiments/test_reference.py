"""The order of what a new device is asked: everything once, what the answers wait for first."""

from ann.spec import Size
from experiments import reference
from experiments.beyond import crossover
from experiments.catalogue import EXPERIMENTS, PAPER, TRAININGS
from experiments.spec import TrainingJob
from experiments.training import Setting

STEPS = reference.steps(Setting())
CELLS = [cell for step in STEPS for cell in step.cells]
LARGE = Size(width=256, height=128)


def row(cell):
    return cell.experiment, cell.id, str(sorted(cell.axes.items()))


def every():
    trained = [TRAININGS[name](Setting()) for name in PAPER if name in TRAININGS]
    return [cell for one in (*EXPERIMENTS.values(), *trained) for cell in one.cells]


def test_every_cell_of_the_catalogue_comes_once():
    assert sorted(map(row, CELLS)) == sorted(map(row, every()))


def test_table_1_comes_first_and_its_larger_size_before_the_other():
    first = [(cell.experiment, str(cell.size), cell.protocol) for cell in CELLS[:10]]
    assert first == [("table1", "256x128", "strict")] * 5 + [("table1", "96x96", "strict")] * 5


def test_nb_and_apnb_come_in_every_format_next_and_then_operation_by_operation():
    found = [(cell.name, cell.dtype, cell.mode, cell.size) for cell in STEPS[1].cells]
    formats = ("float32", "tf32", "autocast-float16", "autocast-bfloat16", "float16", "bfloat16")
    assert found[:12] == [
        (name, dtype, "eval", LARGE) for name in ("nb", "apnb") for dtype in formats
    ]
    assert [cell.experiment for cell in STEPS[1].cells[12:]] == ["fig2", "fig2"]


def test_the_crossover_is_asked_side_by_side_from_the_crossing_outwards():
    (step,) = (step for step in STEPS if step.question == crossover.EXPERIMENT.question)
    sides = [cell.size.width for cell in step.cells]
    assert list(dict.fromkeys(sides)) == [128, 64, 256, 512, 96, 32, 384, 192, 16]
    for side in sides:
        formats = {cell.dtype for cell in step.cells if cell.size.width == side}
        assert formats == {"float32", "bfloat16"}
        assert sides.count(side) == 14


def test_trainings_come_together_and_after_all_that_the_tables_of_blocks_need():
    trains = [step.trains for step in STEPS]
    at = trains.index(True)
    assert trains.count(True) == 1
    assert all(
        isinstance(cell, TrainingJob) == step.trains
        for step in STEPS
        for cell in step.cells
        if cell.is_executed
    )
    named = {cell.experiment for step in STEPS[:at] for cell in step.cells}
    assert {"table1", "fig2", "precision", "implementations", "table2", "crossover"} <= named


def test_what_is_compiled_comes_last_of_what_a_gpu_is_asked():
    on_device = [cell for cell in CELLS if reference.needs_device(cell)]
    compiled = [reference.is_compiled(cell) for cell in on_device]
    assert compiled == sorted(compiled)


def test_other_counters_ask_nothing_of_the_device():
    aside = {cell.experiment for cell in CELLS if not reference.needs_device(cell)}
    assert aside == {"counters"}
