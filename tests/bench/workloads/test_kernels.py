"""Kernels for a GPU on a processor: nothing is read of them there, neither with an interpreter nor without."""

import pytest

from ann.catalogue import BLOCKS
from ann.kernels import launch
from ann.spec import Size, UnavailableError
from bench.workloads import unswitched
from bench.workloads.workload import make_workload
from experiments.spec import Cell

CELL = Cell(
    experiment="test",
    axes={},
    subject=BLOCKS["apnb"],
    size=Size(width=9, height=7),
    implementation="triton",
)


@pytest.mark.parametrize(
    ("interpreted", "reason"),
    [
        (False, "triton: kernels are for a GPU and not for a processor; use implementation 'fast'"),
        (
            True,
            "TRITON_INTERPRET=1 follows kernels step by step, .* leave it out and measure on a GPU",
        ),
    ],
)
def test_a_processor_says_why_it_reads_nothing_of_kernels(monkeypatch, interpreted, reason):
    monkeypatch.setattr(launch, "is_interpreted", lambda: interpreted)
    with pytest.raises(UnavailableError, match=reason):
        make_workload(CELL, "cpu")


def test_a_gpu_reads_nothing_of_an_interpreter_either(monkeypatch, pretended_gpu):
    monkeypatch.setattr(launch, "is_interpreted", lambda: True)
    refused = pytest.raises(UnavailableError, match="no reading of that says anything of them")
    with unswitched(), refused:
        make_workload(CELL, "cuda")


def test_without_values_they_can_be_followed_anywhere():
    assert make_workload(CELL, "meta").module is not None
