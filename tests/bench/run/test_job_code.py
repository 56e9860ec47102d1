"""Which records an edit makes stale: those that used what was edited, and no others."""

import ast
from dataclasses import replace

import pytest

from ann.catalogue import BLOCKS, NETWORKS
from ann.spec import Size
from bench.records import code
from bench.run import job_code
from experiments import machine
from experiments.beyond import counters
from experiments.paper import table6
from experiments.spec import Cell
from experiments.training import Setting

NB = Cell(
    experiment="test",
    axes={"block": "nb"},
    subject=BLOCKS["nb"],
    size=Size(height=8, width=8),
    probes=("timing",),
)
CELLS = {
    "prediction": (NB, "meta"),
    "time": (NB, "cpu"),
    "time of a gpu": (NB, "cuda"),
    "memory": (replace(NB, probes=("memory",)), "cpu"),
    "profile": (replace(NB, probes=("operations",)), "cpu"),
    "fast": (replace(NB, implementation="fast"), "cpu"),
    "fused": (replace(NB, implementation="sdpa"), "cpu"),
    "kernels": (replace(NB, subject=BLOCKS["apnb"], implementation="triton"), "cuda"),
    "exported": (replace(NB, implementation="onnxruntime"), "cpu"),
    "psa": (replace(NB, subject=NETWORKS["semseg/psanet-r101"]), "cpu"),
    "training": (next(cell for cell in table6.make(Setting()).cells if cell.is_executed), "cpu"),
    "ceilings": (machine.CELL, "cpu"),
    "counters": (counters.EXPERIMENT.cells[0], "cpu"),
}
TIMED = {"time", "fast", "fused", "exported", "psa"}
NETS = {"psa", "training"}


def digests():
    code._digest.cache_clear()  # files are read by path, and an edited one has a path of its own
    return {name: job_code.code_digest(*given) for name, given in CELLS.items()}


@pytest.fixture(scope="module")
def before():
    return digests()


@pytest.fixture
def edited(monkeypatch, tmp_path, before):
    """Append a statement to a module, and tell whose digests change."""

    def edit(name, statement="EDITED = 1"):
        path = code._file(name)
        copy = tmp_path / path.name
        copy.write_text(f"{path.read_text(encoding='utf-8')}\n{statement}\n", encoding="utf-8")
        ast.parse(copy.read_text(encoding="utf-8"))
        known = code._file
        monkeypatch.setattr(code, "_file", lambda asked: copy if asked == name else known(asked))
        return {one for one, digest in digests().items() if digest != before[one]}

    yield edit
    monkeypatch.undo()
    code._digest.cache_clear()


@pytest.mark.parametrize(
    ("module", "stale"),
    [
        ("bench.measure.cpu_timer", TIMED | {"ceilings"}),
        ("bench.measure.cuda_timer", {"time of a gpu", "kernels", "ceilings"}),
        ("bench.measure.profiler", {"profile"}),
        ("bench.measure.ceilings", {"ceilings"}),
        ("bench.training.losses", {"training"}),
        ("ann.heads.psa", {"psa"}),
        ("ann.backbones", NETS),
        ("ann.fast.folded", {"fast", "kernels"}),
        ("ann.kernels.passes.project", {"kernels"}),
        ("bench.workloads.onnx_runtime", {"exported"}),
        ("ann.export.model", {"exported"}),
        ("ann.blocks", set(CELLS) - {"ceilings"}),
        ("bench.regression.gate", set()),
        ("bench.compare.turns", set()),
        ("bench.cli", set()),
        ("bench.efficiency", set()),
        ("reports.report", set()),
    ],
)
def test_an_edit_makes_stale_what_used_it(edited, module, stale):
    assert edited(module) == stale


@pytest.mark.parametrize("module", ["ann.blocks", "bench.measure.cpu_timer"])
def test_wording_makes_nothing_stale(edited, module):
    assert edited(module, "# said differently\n'''And so is this.'''") == set()


def test_an_unknown_probe_names_those_that_there_are():
    with pytest.raises(
        ValueError, match="unknown probe 'energy'; allowed are memory, timing, operations"
    ):
        job_code.code_digest(replace(NB, probes=("energy",)), "cpu")
