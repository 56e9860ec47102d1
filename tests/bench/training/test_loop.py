"""Training: what it computes from the recipe and the seed, and what it tells on its way."""

import weakref
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import PolynomialLR

from bench.training.data import sampler
from bench.training.data.sampler import collate_batch, draw_visits, load_batches
from bench.training.losses import make_loss
from bench.training.optim import cudnn_benchmark, learning_rate, make_optimiser, uses_bfloat16
from bench.training.pairing import PairedDraws
from experiments.recipes import RECIPES
from tests.bench.training.small_training import ITERATIONS, RECIPE, Net, Noise, make, run, same

CPU = torch.device("cpu")


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_training_is_the_loop_written_out(optimiser):
    recipe = replace(RECIPE, optimiser=optimiser, weight_decay=0.1)
    data, net, plain = Noise(), make(), make()
    trained = run(net, data, recipe=recipe)
    plain.train()
    draws = PairedDraws(plain, seed=7, rank=0)
    parameters = plain.parameters()
    if optimiser == "sgd":
        steps = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=0.1)
    else:
        steps = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=0.1)
    schedule = PolynomialLR(steps, ITERATIONS, power=0.9)
    loss, losses = make_loss(recipe), []
    for iteration in range(ITERATIONS):
        visits = data.visits[4 * iteration : 4 * iteration + 4]
        images, labels, _ = collate_batch([data[visit] for visit in visits])
        draws.begin(iteration)
        steps.zero_grad()
        value = loss(plain(images), labels)
        value.backward()
        losses.append(float(value.detach()))
        steps.step()
        schedule.step()
    expected = dict(plain.named_parameters())
    # Ahead of the norm, so that its gradient is rounding alone, which AdamW makes as large as any.
    del expected["features.bias"]
    for name, theirs in expected.items():
        torch.testing.assert_close(net.get_parameter(name), theirs)
    assert [value for _, value in trained.losses] == pytest.approx(losses)


def test_logits_are_let_go_before_the_backward_pass():
    class Watched(Net):
        def forward(self, images):
            outputs = super().forward(images)
            alive.extend(weakref.ref(logits) for logits in outputs)
            return outputs

    alive, held = [], []
    torch.manual_seed(1)
    net = Watched()
    net.head.bias.register_hook(lambda _: held.extend(each() for each in alive))
    run(net)
    assert held == [None] * sum(range(2, 2 * ITERATIONS + 1, 2))


def test_training_learns():
    trained = run(make(), iterations=200, recipe=replace(RECIPE, learning_rate=0.02))
    assert trained.losses[-1][1] < 0.5 * trained.losses[0][1]


def test_a_seed_gives_the_same_weights_again(uninterrupted):
    net, _ = uninterrupted
    again = make()
    torch.manual_seed(99)
    run(again)
    assert same(net.state_dict(), again.state_dict())


def test_another_seed_gives_other_weights(uninterrupted):
    net, _ = uninterrupted
    other = make()
    run(other, seed=8)
    assert not same(net.state_dict(), other.state_dict())


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path):
    net = make()
    nn.init.constant_(net.head.weight, float("inf"))
    with pytest.raises(ValueError, match="iteration 1: the loss is nan; the training has diverged"):
        run(net, folder=tmp_path)
    assert list(tmp_path.glob("*.pt")) == []


def test_crops_without_a_label_are_counted_and_change_no_running_loss():
    trained = run(make(), Noise(4, ignored=(0, 1, 2, 3)))
    assert trained.empty_crops == 4 * ITERATIONS
    assert {loss for _, loss in trained.losses} == {0.0}


def test_an_image_that_can_not_be_read_ends_the_training_with_its_name():
    with pytest.raises(ValueError, match=r"image 3.png can't be read"):
        run(make(), Noise(broken=(3,)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 0}, "iterations=0 trains nothing"),
        ({"data": Noise(0)}, "the set has no images to train on"),
    ],
)
def test_what_can_not_be_trained_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        run(make(), **changes)


def test_readings_are_taken_at_even_distances():
    trained = run(make(), iterations=60)
    assert [iteration for iteration, _ in trained.losses] == list(range(3, 61, 3))
    assert len(trained.images_per_s) == len(trained.step_time_s) == 19
    products = [
        images * seconds
        for images, seconds in zip(trained.images_per_s, trained.step_time_s, strict=True)
    ]
    assert products == pytest.approx([RECIPE.batch] * 19)


def test_progress_is_told_with_the_loss_last_read():
    told = []
    trained = run(make(), iterations=40, on_step=lambda done, loss: told.append((done, loss)))
    assert [done for done, _ in told] == list(range(1, 41))
    assert [loss for _, loss in told[:4]] == [
        None,
        trained.losses[0][1],
        trained.losses[0][1],
        trained.losses[1][1],
    ]


def visits(length, *, batch, seed=0, start=0, stop=10, **place):
    return list(draw_visits(length, batch=batch, seed=seed, iterations=range(start, stop), **place))


def test_each_epoch_sees_every_image_once_in_an_order_of_its_own():
    seen = [visit for batch in visits(10, batch=4) for visit in batch]
    epochs = [[index for epoch, index in seen if epoch == number] for number in range(4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 4


def test_another_seed_gives_another_order():
    assert visits(10, batch=4, seed=1) != visits(10, batch=4)


def test_an_order_that_starts_later_goes_on_as_it_would_have():
    assert visits(7, batch=3, start=4) == visits(7, batch=3)[4:]


def test_processes_share_each_batch_out():
    whole = visits(9, batch=6)
    parts = [visits(9, batch=6, rank=rank, world=3) for rank in range(3)]
    assert [one + two + three for one, two, three in zip(*parts, strict=True)] == whole


def test_a_batch_that_can_not_be_shared_out_is_refused():
    with pytest.raises(ValueError, match="a batch of 4 can't be shared evenly by 3 processes"):
        visits(9, batch=4, rank=0, world=3)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_load_the_same_batches():
    order = visits(5, batch=2, seed=3, start=1, stop=6)
    here, there = (list(load_batches(Noise(5), order, CPU, workers=workers)) for workers in (0, 2))
    assert len(here) == 5
    for ours, theirs in zip(here, there, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours[:2], theirs[:2], strict=True))


def test_loading_draws_nothing_from_the_global_generator():
    before = torch.get_rng_state()
    batches = load_batches(Noise(5), draw_visits(5, batch=2, seed=3, iterations=range(3)), CPU)
    assert len(list(batches)) == 3
    assert torch.equal(torch.get_rng_state(), before)


def test_a_label_of_which_a_pixel_counts_is_not_empty():
    image, label = torch.zeros(3, 2, 2), torch.full((2, 2), 255)
    partly = label.clone()
    partly[1, 1] = 0
    assert collate_batch([(image, label), (image, partly), (image, label)])[2] == 2


@pytest.mark.parametrize("before", [False, True])
def test_kernels_are_tried_for_gpus_alone_and_the_switch_is_put_back(monkeypatch, before):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)
    with cudnn_benchmark(CPU):
        assert torch.backends.cudnn.benchmark is before
    with cudnn_benchmark(torch.device("cuda")):
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark is before


@pytest.mark.parametrize("name", ["paper", "mmseg"])
def test_the_rate_is_that_of_the_recursion(name):
    recipe = RECIPES[name]
    rate = recipe.learning_rate
    for iteration in range(1, 200):
        share = (1 - 1 / (200 - iteration + 1)) ** recipe.power
        rate = (rate - recipe.floor) * share + recipe.floor
        assert learning_rate(recipe, iteration, 200) == pytest.approx(rate, rel=1e-9)


def test_the_rate_starts_at_the_recipes_and_ends_at_its_floor():
    recipe = RECIPES["mmseg"]
    assert learning_rate(recipe, 0, 100) == recipe.learning_rate
    assert learning_rate(recipe, 100, 100) == recipe.floor


def test_frozen_parameters_are_not_optimised():
    net = make()
    net.features.requires_grad_(requires_grad=False)
    (group,) = make_optimiser(net, RECIPE).param_groups
    assert len(group["params"]) == 2 + 4


def test_the_cpu_trains_in_float32_unless_told_otherwise():
    assert not uses_bfloat16(RECIPE, CPU)
    assert uses_bfloat16(replace(RECIPE, precision="bfloat16"), CPU)


def test_bfloat16_trains_as_float32_does_but_for_rounding(uninterrupted):
    net, _ = uninterrupted
    rounded = make()
    run(rounded, recipe=replace(RECIPE, precision="bfloat16"))
    assert not same(net.state_dict(), rounded.state_dict())
    start, ends, rounded_ends = (dict(each.named_parameters()) for each in (make(), net, rounded))
    for name in ends.keys() - {"features.bias"}:  # batch norm takes that one away, it learns noise
        moved = (ends[name] - start[name]).norm()
        assert (rounded_ends[name] - ends[name]).norm() < 0.1 * moved


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(make())
    assert list(tmp_path.iterdir()) == []


def test_a_loader_takes_the_share_of_the_processor_that_its_training_has(monkeypatch):
    monkeypatch.setattr(sampler.os, "sched_getaffinity", lambda _: range(16))
    monkeypatch.setattr(sampler.torch, "get_num_threads", lambda: 3)
    assert sampler._worker_count() == 3
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # of torchrun
    assert sampler._worker_count() == 4
