"""Adding one thing takes the files that CONTRIBUTING names: one of each, in a copy of the house, and it is used."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# File by file the line before which something is put, nothing for the end of a new file, and what.
SAMPLER = {
    "ann/samplers.py": (
        ('    "pyramid-max",\n', '    "pyramid-corners",\n'),
        (
            "def draw_in_cells(",
            '''def draw_corners(grids, *, height, width, seed):
    """Take the first place of each cell."""
    import numpy as np

    first = lambda length, grid: cell_bounds(np.arange(grid), length, grid)[0]
    return np.concatenate(
        [np.add.outer(first(height, grid) * width, first(width, grid)).ravel() for grid in grids]
    )


''',
        ),
        (
            '    "pyramid-max": SamplerRule(',
            '    "pyramid-corners": SamplerRule(grids="many", draw=draw_corners),\n',
        ),
    )
}
BLOCK_KIND = {
    "ann/spec.py": (('"common-fusion"]', '"mean-context", '),),
    "ann/blocks.py": (
        (
            "BLOCK_CLASSES: Mapping",
            '''class MeanContext(nn.Module):
    """The projected mean of all positions, added to each."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        self.project = nn.Conv2d(spec.channels, spec.channels, 1)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Add it."""
        return x + self.project(x.mean(dim=(2, 3), keepdim=True))


''',
        ),
        ('    "common-fusion": CommonFusion,', '    "mean-context": MeanContext,\n'),
    ),
    "ann/catalogue.py": (
        (
            '    "common-fusion": BlockSpec(',
            '    "mean": BlockSpec(kind="mean-context", channels=2048),\n',
        ),
    ),
}
PROBE = {
    "bench/measure/__init__.py": (('    "timing": ', '    "interpreter": "interpreter",\n'),),
    "bench/measure/interpreter.py": (
        (
            "",
            '''"""What one call allocates in the interpreter itself."""

import tracemalloc


def probe(work, cell, device):
    """Read the peak of one call."""
    work()
    tracemalloc.start()
    work()
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"readings": {"interpreter_bytes": (float(peak_bytes),)}}
''',
        ),
    ),
}
EXPERIMENT = {
    "experiments/beyond/corners.py": (
        (
            "",
            '''"""What is added in the test."""

from dataclasses import replace

from ann.catalogue import BLOCKS
from ann.spec import Size
from experiments.spec import Experiment, Measurement

NARROW = {"channels": 16, "key_channels": 8}
SUBJECTS = {
    "corners": replace(BLOCKS["apnb"], sampler="pyramid-corners", **NARROW),
    "mean": replace(BLOCKS["mean"], **NARROW),
}
EXPERIMENT = Experiment(
    name="corners",
    question="Does all of it work?",
    beyond_paper=True,
    cells=tuple(
        Measurement(
            experiment="corners",
            axes={"block": name},
            subject=subject,
            size=Size(width=16, height=12),
            probes=("interpreter",),
        )
        for name, subject in SUBJECTS.items()
    ),
)
''',
        ),
    ),
    "reports/blocks/corners.py": (
        (
            "",
            '''"""The table of what is added in the test."""

from reports import model


def corners_tables(frame):
    """Make it."""
    rows = model.rows_of_experiment(frame, "corners")
    read = lambda row: row["readings"]["interpreter_bytes"][0]
    fields = (
        model.axis_field("block"),
        model.Field(model.Column("MACs", "", 0), lambda row: row["macs"]),
        model.Field(model.Column("interpreter", "KiB", 1, 1024.0), read),
    )
    return (model.tabulate(rows, fields, name="corners", title="Corners and means", caption=""),)


CHAPTER = model.Chapter(99, {"corners": corners_tables})
''',
        ),
    ),
}
DEVICE = {
    "bench/analysis/devices.py": (
        (
            '    "titan-xp": Datasheet(',
            """    "abacus": Datasheet(
        title="Abacus",
        reported=("Abacus",),
        ceilings=_ceilings(0.001, float32=0.001),
        memory_bytes=GIBI,
        capability=(9, 9),
        source="by hand",
    ),
""",
        ),
    )
}
ADDED = {
    "sampler": (SAMPLER, 1),
    "kind of block": (BLOCK_KIND, 3),
    "experiment with its table": (EXPERIMENT, 2),
    "probe": (PROBE, 2),
    "device": (DEVICE, 1),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A copy with one of each."""
    folder = tmp_path_factory.mktemp("house")
    for package in ("ann", "bench", "experiments", "reports"):
        ignored = shutil.ignore_patterns("__pycache__", "reference")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    for files, _ in ADDED.values():
        for name, edits in files.items():
            path = folder / name
            text = path.read_text() if path.exists() else ""
            for before, addition in edits:
                assert text.count(before) == 1 or not text, (name, before)
                text = text.replace(before, addition + before) if before else addition
            path.write_text(text)
    return folder


def call(house, module, *arguments):
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize("thing", ADDED)
def test_it_takes_few_files(thing):
    files, limit = ADDED[thing]
    assert len(files) <= limit


def test_a_new_experiment_of_a_new_sampler_and_kind_is_read_by_a_new_probe_and_tabled(house):
    call(house, "bench.ablations", "--experiment", "corners", "--device", "cpu", "--out", "out")
    table = (house / "out" / "report" / "corners.md").read_text()
    rows = [
        line.split("|")[1:-1]
        for line in table.splitlines()
        if line.startswith(("| corners", "| mean"))
    ]
    assert [row[0].strip() for row in rows] == ["corners", "mean"]
    # One projection of one position: 16 x 16.
    assert rows[1][1].strip() == "256"
    assert float(rows[0][2]) > 0


@pytest.mark.slow
def test_a_new_kind_is_measured_by_its_name(house):
    assert "mean" in call(
        house,
        "bench.efficiency",
        "--block",
        "mean",
        "--size",
        "8x8",
        "--device",
        "meta",
        "--out",
        "x",
    )


def test_a_new_device_is_predicted(house):
    assert "Abacus" in call(
        house, "bench.efficiency", "--predict", "abacus", "--size", "8x8", "--out", "y"
    )
