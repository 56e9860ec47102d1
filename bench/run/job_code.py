"""Digest of the code that a job uses: what is measured, and what measures it."""

import hashlib
from collections.abc import Iterator
from functools import partial
from importlib.util import resolve_name

import experiments
from ann.spec import NetworkSpec
from bench.measure import probe_modules
from bench.records import definitions, digest
from experiments.factories import read_factory
from experiments.spec import Evaluation, Job, MachineCheck, Measurement, OwnModule, TrainingJob

# By where this module stands, since the wheel has the suite under another name.
_absolute = partial(resolve_name, package=__package__)
_READING = {
    "ceilings": _absolute("..measure.ceilings"),
    "counters": _absolute("..measure.other_counters"),
}
_ONNX_RUNTIME = _absolute("..workloads.onnx_runtime")
# What computes a block in another way.
_IMPLEMENTING = {
    "plain": (),
    "compiled": ("ann.implementations",),
    "fast": ("ann.implementations", "ann.fast"),
    "fast-compiled": ("ann.implementations", "ann.fast"),
    "triton": ("ann.implementations", "ann.kernels"),
    "onnxruntime": ("ann.export", _ONNX_RUNTIME),
}
# These import what they choose between.
_MEASURING = (_absolute("..measure.measure"),)
_CHOOSING = ("ann.build", "ann.implementations")
# What a cell asks for is in its id; how records are written and shown changes no reading.
_NOT_MEASURING = (
    "ann",
    _ONNX_RUNTIME,
    experiments.__name__,
    "psutil",
    "pydantic",
    "pynvml",
)


def code_digest(cell: Job, device: str) -> str:
    """Twelve digits that change with the code that a cell measures and the code that measures it.

    On the device `meta` that is what predicts it.
    """
    measuring = digest(_measuring_code(cell, device), skip=_NOT_MEASURING, ends=_MEASURING)
    parts = "".join((*_measured_code(cell), measuring))
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def _measured_code(cell: Job) -> Iterator[str]:
    """Digests of what builds a subject: of a block or network its modules, of somebody's own the package."""
    subject = cell.subject
    if isinstance(cell, MachineCheck) and cell.reads == "ceilings":
        return
    if isinstance(subject, OwnModule):
        yield digest(_modules_of(subject.factory))
    elif isinstance(subject, NetworkSpec):
        from ann.heads import HEADS  # brings torch

        kinds = [HEADS[subject.head].__module__]
        kinds += ["ann.heads.context"] if subject.auxiliary_channels is not None else []
        yield digest(["ann.network", *kinds], ends=("ann.heads",))
    else:
        yield digest(["ann.blocks"])
    if not isinstance(subject, OwnModule):
        fused = ("ann.implementations", "ann.attention")
        rewriting = _IMPLEMENTING.get(cell.call.implementation, fused)
        yield digest(["ann.build", *rewriting], skip=("ann.network",), ends=_CHOOSING)


def _modules_of(factory: str) -> list[str]:
    """The module that is named, and those of a package that may have what it does not hand on."""
    try:
        written = read_factory(factory)
    except ValueError:  # the outline of a cell that can't be built
        return [factory.partition(":")[0]]
    return [written.module, *definitions(written.module).get(written.names[0], ())]


def _measuring_code(cell: Job, device: str) -> list[str]:
    if device == "meta":
        return [_absolute("..predict.predict")]
    match cell:
        case TrainingJob() | Evaluation():
            return [_absolute("..training.run")]
        case MachineCheck():
            return [_READING[cell.reads], *_MEASURING]
        case Measurement():
            probes = probe_modules(cell.probes, device)
            paper = [_absolute("..predict.released_scripts")] if cell.protocol == "paper" else []
            return [*probes, *paper, _absolute("..workloads.workload"), *_MEASURING]
