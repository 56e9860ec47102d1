from ann.spec import Size
from experiments.beyond import crossover

CELLS = crossover.EXPERIMENT.cells
SWEEP = [cell for cell in CELLS if "anchors" not in cell.axes]


def test_every_arm_has_a_cell_at_every_size_in_both_formats():
    asked = {(cell.axes["block"], cell.size, cell.dtype) for cell in SWEEP}
    sizes = [Size(width=side, height=side) for side in crossover.SIDES]
    assert asked == {
        (arm, size, dtype)
        for arm in crossover.ARMS
        for size in sizes
        for dtype in ("float32", "bfloat16")
    }


def test_arms_are_computed_as_they_are_called():
    computed = {cell.axes["block"]: cell.implementation for cell in SWEEP}
    assert computed == {
        "nb": "plain",
        "nb:sdpa": "sdpa",
        "nb:chunked": "chunked",
        "nb:fast": "fast",
        "apnb": "plain",
        "apnb:fast": "fast",
        "apnb:triton": "triton",
    }


def test_a_processor_is_spared_what_takes_it_minutes():
    spared = [cell for cell in SWEEP if cell.device == "cuda" and cell.dtype == "float32"]
    sizes = {str(cell.size) for cell in spared if cell.implementation != "triton"}
    assert sizes == {"256x256", "384x384", "512x512"}


def test_kernels_for_a_gpu_are_for_a_gpu_alone():
    devices = {cell.device for cell in SWEEP if cell.implementation == "triton"}
    assert devices == {"cuda"}


def test_anchors_go_from_one_to_two_thousand():
    anchors = [cell.axes["anchors"] for cell in CELLS if "anchors" in cell.axes]
    assert list(dict.fromkeys(anchors)) == [1, 14, 50, 110, 225, 505, 2017]


def test_the_usual_anchors_are_measured_once():
    ids = {cell.id for cell in SWEEP}
    again = [cell for cell in CELLS if cell.axes.get("anchors") == 110]
    assert {cell.id for cell in again} <= ids
