"""Training in several processes: together what one does alone."""

import pytest
import torch

from bench.training.evaluate import evaluate
from tests.bench.training.small_training import (
    ITERATIONS,
    RECIPE,
    Noise,
    Pictures,
    launch,
    make,
    run,
    same,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """What two processes under torchrun have in the end, by rank."""
    folder = tmp_path_factory.mktemp("spread")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = launch("spread", str(folder), launcher=torchrun)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_processes_agree_on_weights_and_running_statistics(spread):
    assert same(spread[0]["plain"], spread[1]["plain"])
    assert same(spread[0]["normed"], spread[1]["normed"])
    assert spread[0]["losses"] == spread[1]["losses"]


def test_processes_see_disjoint_halves_of_each_batch(spread):
    data = Noise(8)
    run(make(norm=False), data)
    share = RECIPE.batch // 2
    for iteration in range(ITERATIONS):
        halves = [rank["visits"][share * iteration : share * (iteration + 1)] for rank in spread]
        batch = data.visits[RECIPE.batch * iteration : RECIPE.batch * (iteration + 1)]
        assert not set(halves[0]) & set(halves[1])
        assert halves[0] + halves[1] == batch


def test_processes_that_find_different_checkpoints_refuse_to_go_on(spread):
    for rank in spread:
        assert rank["refused"].startswith("the processes found checkpoints of 12, 0 iterations")


def test_two_processes_train_as_one_with_the_whole_batch(spread):
    alone = make(norm=False)
    run(alone, Noise(8))
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(spread[0]["plain"][key], value, rtol=1e-4, atol=1e-6)


def test_a_shared_evaluation_counts_the_whole_set_everywhere(spread):
    alone = make(norm=False)
    alone.load_state_dict(spread[0]["plain"])
    expected = evaluate(alone, Pictures()).counts
    assert torch.equal(spread[0]["counts"], expected)
    assert torch.equal(spread[1]["counts"], expected)


def test_a_shared_evaluation_has_each_image_in_its_place(spread):
    alone = make(norm=False)
    alone.load_state_dict(spread[0]["plain"])
    expected = evaluate(alone, Pictures()).packed_images()
    assert spread[0]["images"] == spread[1]["images"] == expected
