"""Training: what it computes, how it goes on after a kill, and alone against several processes.

Run as a program it trains the same small network, to be killed or spread over processes:
`python test_train.py killed FOLDER ITERATION`, `torchrun ... test_train.py spread FOLDER`.
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import PolynomialLR

from ann.build import network as build
from ann.spec import Size
from bench.accuracy import clock
from bench.accuracy import train as training
from bench.accuracy.augment import Augmented
from bench.accuracy.evaluate import evaluate
from bench.accuracy.losses import make_loss
from bench.accuracy.optimisation import learning_rate, make_optimiser, precision
from bench.accuracy.order import Order, load, seed_of, stack
from bench.accuracy.parallel import Place, processes
from bench.accuracy.scenes import Scenes
from experiments.recipes import RECIPES, Iterations, Recipe

ITERATIONS = 12
RECIPE = Recipe(
    name="small",
    iterations=Iterations(quick=12, standard=12, paper=12),
    optimiser="adamw",
    learning_rate=1e-3,
    weight_decay=1e-4,
    batch=4,
    crop=Size(height=8, width=8),
)
ALONE = Place()
ROOT = Path(__file__).resolve().parents[3]


class Noise:
    """Images and labels of which the class is the sign of the red channel, drawn anew in each epoch."""

    def __init__(self, length=10, *, ignored=(), broken=()):
        self.length = length
        self.ignored = ignored
        self.broken = broken
        self.visits = []

    def __len__(self):
        return self.length

    def __getitem__(self, visit):
        epoch, index = visit
        self.visits.append(visit)
        if index in self.broken:
            msg = f"image {index}.png can't be read"
            raise ValueError(msg)
        generator = torch.Generator().manual_seed(1000 * epoch + index)
        image = torch.randn(3, 8, 8, generator=generator)
        label = (image[0] > 0).long()
        return image, torch.full_like(label, 255) if index in self.ignored else label


class Net(nn.Module):
    """Everything that has state in training: weights, batch norm, dropout and an auxiliary head."""

    def __init__(self, *, norm=True):
        super().__init__()
        self.spec = SimpleNamespace(preprocessing="imagenet-rgb", align_corners=False)
        self.features = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.dropout = nn.Dropout2d(0.2 if norm else 0.0)
        self.head = nn.Conv2d(8, 2, 1)
        self.auxiliary = nn.Conv2d(8, 2, 1)

    def forward(self, images):
        x = self.dropout(self.norm(self.features(images)).relu())
        return (self.head(x), self.auxiliary(x)) if self.training else self.head(x)


class Pictures:
    """A set to evaluate: bytes, and labels below 2."""

    name = "pictures"
    classes = ("dark", "bright")

    def __len__(self):
        return 5

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(256, (3, 8, 8), generator=generator, dtype=torch.uint8)
        return image, (image[0] > 100).to(torch.uint8)


def make(**options):
    torch.manual_seed(1)
    return Net(**options)


def run(net, data=None, **changes):
    options = {"recipe": RECIPE, "iterations": ITERATIONS, "seed": 7, "device": "cpu"} | changes
    return training.train(net, Noise() if data is None else data, **options)


class Killed(Exception):
    pass


def stop_at(iteration):
    def on_step(done, loss):
        if done == iteration:
            raise Killed

    return on_step


def kill_at(iteration):
    def on_step(done, loss):
        if done == iteration:
            os.kill(os.getpid(), signal.SIGKILL)

    return on_step


def same(state, other):
    assert state.keys() == other.keys()
    return all(torch.equal(state[key], other[key]) for key in state)


def program(*arguments):
    return {
        "args": [sys.executable, *arguments],
        "env": {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        "capture_output": True,
        "text": True,
    }


@pytest.fixture
def save_always(monkeypatch):
    monkeypatch.setattr(training, "SAVING", float("inf"))


@pytest.fixture(scope="module")
def uninterrupted():
    net = make()
    return net, run(net)


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_training_is_the_loop_written_out(optimiser):
    recipe = replace(RECIPE, optimiser=optimiser)
    data, net, plain = Noise(), make(), make()
    run(net, data, recipe=recipe)
    plain.train()
    parameters = plain.parameters()
    if optimiser == "sgd":
        steps = torch.optim.SGD(parameters, lr=1e-3, momentum=0.9, weight_decay=1e-4)
    else:
        steps = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-4)
    schedule = PolynomialLR(steps, ITERATIONS, power=0.9)
    loss = make_loss(recipe)
    for iteration in range(ITERATIONS):
        visits = data.visits[4 * iteration : 4 * iteration + 4]
        images, labels, _ = stack([data[visit] for visit in visits])
        torch.manual_seed(seed_of(7, "step", iteration, 0))
        steps.zero_grad()
        loss(plain(images), labels).backward()
        steps.step()
        schedule.step()
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_training_learns():
    _, trained = make(), run(make(), iterations=200, recipe=replace(RECIPE, learning_rate=0.02))
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


@pytest.mark.usefixtures("save_always")
def test_stopped_at_5_and_at_9_it_ends_with_the_same_weights(uninterrupted, tmp_path):
    net, trained = uninterrupted
    for iteration in (5, 9):
        with pytest.raises(Killed):
            run(make(), folder=tmp_path, on_step=stop_at(iteration))
    seen = []
    last = make()
    result = run(last, folder=tmp_path, on_step=lambda done, loss: seen.append(done))
    assert seen == [10, 11, 12]
    assert same(net.state_dict(), last.state_dict())
    assert result.losses == trained.losses


@pytest.mark.slow
def test_really_killed_at_5_and_at_9_it_ends_with_the_same_weights(uninterrupted, tmp_path):
    net, trained = uninterrupted
    for iteration in ("5", "9"):
        done = subprocess.run(check=False, **program(__file__, "killed", str(tmp_path), iteration))
        assert done.returncode == -signal.SIGKILL, done.stderr
    seen = []
    last = make()
    result = run(last, folder=tmp_path, on_step=lambda done, loss: seen.append(done))
    assert seen == [10, 11, 12]
    assert same(net.state_dict(), last.state_dict())
    assert result.losses == trained.losses


@pytest.mark.usefixtures("save_always")
def test_a_real_network_on_scenes_goes_on_bit_for_bit(tmp_path):
    recipe = replace(RECIPES["scenes"], batch=2, crop=Size(height=32, width=48))

    def train(**options):
        torch.manual_seed(0)
        scenes = Scenes("train", length=6)
        net = build("official/ann-r101", backbone="tiny", num_classes=len(scenes.classes))
        data = Augmented(scenes, recipe, preprocessing=net.spec.preprocessing, seed=0)
        run(net, data, recipe=recipe, iterations=4, **options)
        return net.state_dict()

    with pytest.raises(Killed):
        train(folder=tmp_path, on_step=stop_at(3))
    assert same(train(), train(folder=tmp_path))


@pytest.mark.usefixtures("save_always")
def test_a_finished_training_is_loaded_and_not_repeated(uninterrupted, tmp_path):
    net, _ = uninterrupted
    first = run(make(), folder=tmp_path)
    data, last = Noise(), make()
    assert run(last, data, folder=tmp_path) == first
    assert data.visits == []
    assert same(net.state_dict(), last.state_dict())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 8}, "seed"),
        ({"iterations": 13}, "iterations"),
        ({"recipe": replace(RECIPE, batch=2)}, "recipe"),
        ({"data": Noise(11)}, "number of images"),
    ],
)
def test_another_training_in_the_folder_is_refused(tmp_path, changes, named):
    run(make(), folder=tmp_path)
    with pytest.raises(ValueError, match=f"holds a training with another {named}; choose another"):
        run(make(), folder=tmp_path, **changes)


def test_a_training_of_a_network_with_another_spec_is_refused_though_its_weights_would_fit(
    tmp_path,
):
    run(make(), folder=tmp_path)
    other = make()
    other.spec = SimpleNamespace(sampler="max")
    with pytest.raises(ValueError, match="holds a training with another network"):
        run(other, folder=tmp_path)


def test_a_training_of_another_network_in_the_folder_is_refused(tmp_path):
    run(make(), folder=tmp_path)
    with pytest.raises(ValueError, match="holds a training of another network"):
        run(make(norm=False), folder=tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", None])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / training.FILE
    if content is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"training.pt: .*delete it to begin anew"):
        run(make(), folder=tmp_path)


def test_a_file_that_wants_to_run_code_is_refused(tmp_path):
    torch.save({"iteration": Path("/")}, tmp_path / training.FILE)
    with pytest.raises(ValueError, match="is no checkpoint of a training"):
        run(make(), folder=tmp_path)


@pytest.mark.usefixtures("save_always")
def test_a_full_disk_is_an_error_that_names_the_file_and_keeps_the_last_checkpoint(
    uninterrupted, tmp_path
):
    net, _ = uninterrupted
    with pytest.raises(Killed):
        run(make(), folder=tmp_path, on_step=stop_at(5))
    kept = (tmp_path / training.FILE).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"training.pt: the checkpoint could not be saved \(File too"
        ):
            run(make(), folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.glob("training*")] == [training.FILE]
    assert (tmp_path / training.FILE).read_bytes() == kept
    last = make()
    run(last, folder=tmp_path)
    assert same(net.state_dict(), last.state_dict())


def test_a_checkpoint_takes_the_place_of_the_last_one_in_one_step(tmp_path):
    path = tmp_path / training.FILE
    training.checkpoint.save(path, {"iteration": 1})
    with path.open("rb") as reader:
        before = path.read_bytes()
        training.checkpoint.save(path, {"iteration": 2})
        # Whoever has the old one open still reads it whole.
        assert reader.read() == before
    assert path.read_bytes() != before


def test_what_a_killed_write_left_is_removed(tmp_path):
    (tmp_path / f"{training.FILE}.123.tmp").write_bytes(b"half")
    run(make(), folder=tmp_path)
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_checkpoint_is_kept_when_the_last_one_has_paid_off(tmp_path, monkeypatch):
    now = [0.0]
    saved = []

    def save(path, state):
        saved.append(state["iteration"])
        now[0] += 1.0

    def on_step(done, loss):
        now[0] += 9.0

    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(training.checkpoint, "save", save)
    run(make(), folder=tmp_path, iterations=40, on_step=on_step)
    # A reading every 2 iterations of 9 seconds; 100 seconds pay for a second's saving.
    assert saved == [2, 14, 26, 38, 40]


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


def visits(length, *, batch, seed=0, start=0, stop=10, place=ALONE):
    return list(Order(length, batch=batch, seed=seed, start=start, stop=stop, place=place))


def test_each_epoch_sees_every_image_once_in_an_order_of_its_own():
    seen = [visit for batch in visits(10, batch=4) for visit in batch]
    epochs = [[index for epoch, index in seen if epoch == number] for number in range(4)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 4


def test_an_order_that_starts_later_goes_on_as_it_would_have():
    assert visits(7, batch=3, start=4) == visits(7, batch=3)[4:]


def test_processes_share_each_batch_out():
    whole = visits(9, batch=6)
    parts = [visits(9, batch=6, place=Place(rank=rank, world=3)) for rank in range(3)]
    assert [one + two + three for one, two, three in zip(*parts, strict=True)] == whole


def test_a_batch_that_can_not_be_shared_out_is_refused():
    with pytest.raises(ValueError, match="a batch of 4 can't be shared evenly by 3 processes"):
        visits(9, batch=4, place=Place(rank=0, world=3))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_workers_load_the_same_batches():
    order = Order(5, batch=2, seed=3, start=1, stop=6, place=ALONE)
    device = torch.device("cpu")
    here, there = (list(load(Noise(5), order, device, workers=workers)) for workers in (0, 2))
    for ours, theirs in zip(here, there, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours[:2], theirs[:2], strict=True))


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
    cpu = torch.device("cpu")
    assert not precision(RECIPE, cpu).bfloat16
    assert precision(replace(RECIPE, precision="bfloat16"), cpu).bfloat16


def test_bfloat16_trains_as_float32_does_but_for_rounding(uninterrupted):
    net, _ = uninterrupted
    rounded = make()
    run(rounded, recipe=replace(RECIPE, precision="bfloat16"))
    assert not same(net.state_dict(), rounded.state_dict())
    for ours, theirs in zip(rounded.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.01)


def test_readings_are_written_for_tensorboard_and_go_on_after_a_kill(tmp_path, monkeypatch):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(training, "SAVING", float("inf"))
    with pytest.raises(Killed):
        run(make(), folder=tmp_path, on_step=stop_at(5))
    trained = run(make(), folder=tmp_path)
    found = events.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {
        "loss", "learning rate", "images per second", "gradient norm"
    }  # fmt: skip
    losses = [(event.step, event.value) for event in found.Scalars("loss")]
    assert [step for step, _ in losses] == list(range(1, 13))
    assert [value for _, value in losses] == pytest.approx([loss for _, loss in trained.losses])
    assert found.Scalars("learning rate")[0].value == pytest.approx(1e-3)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(make())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """What two processes under torchrun have in the end, by rank."""
    folder = tmp_path_factory.mktemp("spread")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    done = subprocess.run(
        check=False, timeout=300, **program(*launcher, __file__, "spread", str(folder))
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def spread_out(folder):
    """Train with and without batch norm as one of several processes; keep what this one has."""
    with processes("cpu") as device:
        data, plain = Noise(8), make(norm=False)
        run(plain, data, device=device, folder=folder / "plain")
        rank = torch.distributed.get_rank()
        normed = make()
        trained = run(normed, Noise(8), device=device)
        matrix = evaluate(plain, Pictures())
        content = {
            "plain": plain.state_dict(),
            "normed": normed.state_dict(),
            "visits": data.visits,
            "counts": matrix.counts,
            "losses": trained.losses,
        }
        own = folder / f"own-{rank}"
        if rank == 0:
            shutil.copytree(folder / "plain", own)
        try:
            run(make(norm=False), Noise(8), device=device, folder=own)
        except ValueError as error:
            content["refused"] = str(error)
        torch.save(content, folder / f"{rank}.pt")


@pytest.mark.slow
def test_processes_agree_on_weights_and_running_statistics(spread):
    assert same(spread[0]["plain"], spread[1]["plain"])
    assert same(spread[0]["normed"], spread[1]["normed"])
    assert spread[0]["losses"] == spread[1]["losses"]


@pytest.mark.slow
def test_processes_see_disjoint_halves_of_each_batch(spread):
    data = Noise(8)
    run(make(norm=False), data)
    share = RECIPE.batch // 2
    for iteration in range(ITERATIONS):
        halves = [rank["visits"][share * iteration : share * (iteration + 1)] for rank in spread]
        batch = data.visits[RECIPE.batch * iteration : RECIPE.batch * (iteration + 1)]
        assert not set(halves[0]) & set(halves[1])
        assert halves[0] + halves[1] == batch


@pytest.mark.slow
def test_processes_that_find_different_checkpoints_refuse_to_go_on(spread):
    for rank in spread:
        assert rank["refused"].startswith("the processes found checkpoints of 12, 0 iterations")


@pytest.mark.slow
def test_two_processes_train_as_one_with_the_whole_batch(spread):
    alone = make(norm=False)
    run(alone, Noise(8))
    for key, value in alone.state_dict().items():
        torch.testing.assert_close(spread[0]["plain"][key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_shared_evaluation_counts_the_whole_set_everywhere(spread):
    alone = make(norm=False)
    alone.load_state_dict(spread[0]["plain"])
    expected = evaluate(alone, Pictures()).counts
    assert torch.equal(spread[0]["counts"], expected)
    assert torch.equal(spread[1]["counts"], expected)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "killed":
        training.SAVING = float("inf")
        run(make(), folder=Path(sys.argv[2]), on_step=kill_at(int(sys.argv[3])))
    else:
        spread_out(Path(sys.argv[2]))
