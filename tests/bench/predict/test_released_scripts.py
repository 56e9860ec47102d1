"""The released scripts' procedures give the published figures, flaws and all."""

from functools import partial

import pytest
import torch
from torch import nn

from ann import build
from ann.catalogue import BLOCKS
from ann.spec import BlockSpec, Size
from bench.predict import released_scripts

MIB = 2**20
SMALL, LARGE = Size(height=96, width=96), Size(height=128, width=256)


def runs(*blocks):
    return [(factory, size, (2048,)) for factory, size in blocks]


def mib(figures):
    return [round(figure / MIB, 2) for figure in figures]


NB = partial(build.block, "nb")
APNB = partial(build.block, "apnb")
APNB_CONCAT = partial(build.block, "apnb-concat")


@pytest.mark.parametrize(
    ("name", "size", "operations"),
    [
        ("nb", SMALL, 58_012_729_344),
        ("nb", LARGE, 601_404_473_344),
        ("apnb", SMALL, 15_573_741_056),
    ],
)
def test_operations_by_the_modified_torchstat(name, size, operations):
    assert released_scripts.paper_operations(BLOCKS[name], size) == operations


def test_apnb_is_within_a_percent_of_the_published_15_5():
    assert released_scripts.paper_operations(BLOCKS["apnb"], SMALL) == pytest.approx(
        15.5e9, rel=0.01
    )


def test_apnb_at_the_large_size_is_far_from_the_published_43_5():
    assert released_scripts.paper_operations(BLOCKS["apnb"], LARGE) > 1.25 * 43.5e9


@pytest.mark.parametrize("name", ["fnb", "afnb", "nl", "dnl", "nb-residual", "common-fusion"])
def test_a_block_that_the_script_did_not_measure_has_no_operations(name):
    assert released_scripts.paper_operations(BLOCKS[name], SMALL) is None


def test_a_plain_projection_is_not_the_released_block():
    assert released_scripts.paper_operations(BlockSpec(projection="plain"), SMALL) is None


def test_published_memory_comes_out_of_one_process_with_the_concatenation():
    sequence = runs((APNB_CONCAT, SMALL), (NB, SMALL), (APNB_CONCAT, LARGE), (NB, LARGE))
    assert mib(released_scripts.predicted_memory(sequence)) == [150.01, 609.01, 277.00, 7797.00]


def test_as_released_in_one_process_the_second_size_shows_nothing():
    sequence = runs((APNB, SMALL), (NB, SMALL), (APNB, LARGE), (NB, LARGE))
    assert [round(figure / MIB, 1) for figure in released_scripts.predicted_memory(sequence)] == [
        28.1,
        609.0,
        0.0,
        7797.0,
    ]


@pytest.mark.parametrize(
    ("factory", "size", "expected"),
    [
        (APNB, SMALL, 28.1),
        (APNB, LARGE, 84.0),
        (APNB_CONCAT, SMALL, 150.0),
        (APNB_CONCAT, LARGE, 518.0),
        (NB, SMALL, 609.0),
        (NB, LARGE, 8038.0),
    ],
)
def test_one_process_for_each_block(factory, size, expected):
    (figure,) = released_scripts.predicted_memory(runs((factory, size)))
    assert round(figure / MIB, 1) == expected


def test_a_fusion_block_has_a_map_for_each_of_its_widths():
    fusion = partial(build.block, "afnb", channels=64, low_channels=32, key_channels=8)
    (figure,) = released_scripts.predicted_memory([(fusion, Size(height=8, width=8), (64, 32))])
    assert figure > 0


class FakeCuda:
    """A lifetime maximum that grows by what the test says, and a log of what was asked."""

    def __init__(self, maxima=()):
        self.maxima = iter(maxima)
        self.log = []

    def synchronize(self):
        self.log.append("synchronize")

    def empty_cache(self):
        self.log.append("empty_cache")

    def max_memory_allocated(self):
        return next(self.maxima)


def test_measured_memory_is_the_lifetime_maximum_less_the_base_of_its_size():
    tiny, other = Size(height=4, width=4), Size(height=4, width=5)
    factory = partial(nn.Conv2d, 3, 3, 1)
    sequence = [(factory, tiny, (3,)), (factory, tiny, (3,)), (factory, other, (3,))]
    cuda = FakeCuda([100, 150, 400, 400, 900])
    assert released_scripts.measured_memory(sequence, cuda, device="cpu") == (50, 300, 500)


class Keeping(nn.Module):
    """Keeps its inputs."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, x):
        self.seen.append(x)


class Clock:
    """Each reading is later by the next step."""

    def __init__(self, steps):
        self.steps, self.now = iter(steps), 0.0

    def __call__(self):
        self.now += next(self.steps)
        return self.now


def times(steps, **kwargs):
    arguments = {"device": "cpu", "clock": Clock(steps)} | kwargs
    return released_scripts.wall_times(
        partial(nn.Conv2d, 3, 3, 1), Size(height=4, width=4), (3,), **arguments
    )


def test_times_are_of_twenty_calls_the_first_included_less_the_empty_blocks():
    empty, cold, warm = [0.0, 1.0] * 20, [0.0, 9.0], [0.0, 3.0] * 19
    found = times(empty + cold + warm)
    assert found.samples_s == (8.0, *[2.0] * 19)
    assert (found.clock, found.steady) == ("wall", False)


def test_times_end_early_when_their_budget_is_spent_and_say_so():
    found = times([0.0, 1.0] * 40, budget_s=4.0)
    assert len(found.samples_s) == 4
    assert any("4 calls of the script's 20" in note for note in found.notes)


def test_each_call_on_a_processor_has_an_input_of_its_own_memory():
    seen = []
    released_scripts._turns(
        lambda: Keeping(seen), size=Size(height=4, width=4), widths=(3,), device="cpu", cuda=None
    )
    assert len({x.data_ptr() for x in seen}) == 20
    assert all(x.shape == (1, 3, 4, 4) and x.std() > 0.5 for x in seen)


def test_on_a_gpu_each_call_is_waited_for_and_followed_by_an_emptied_cache():
    cuda = FakeCuda()
    released_scripts._turns(
        released_scripts.NullBlock,
        size=Size(height=4, width=4),
        widths=(3,),
        device="cpu",
        budget_s=9.0,
        clock=Clock([0.1] * 99),
        cuda=cuda,
    )
    assert cuda.log == ["synchronize", "empty_cache"] * 20


def test_on_the_cpu_no_gpu_is_asked():
    cuda = FakeCuda()
    times([0.1] * 200, cuda=cuda)
    assert cuda.log == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_an_allocator_gives_at_least_the_predicted_figure():
    # The lifetime maximum of this process is not ours alone, so the block is larger than any test's.
    sequence = runs((NB, Size(height=128, width=128)))
    (predicted,) = released_scripts.predicted_memory(sequence)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    (measured,) = released_scripts.measured_memory(sequence)
    assert predicted * 0.97 < measured < predicted * 1.1
