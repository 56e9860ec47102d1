"""A training that was stopped goes on as if it had not been, and never from another one's checkpoint."""

import resource
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ann.build import network as build
from ann.spec import Size
from bench.training import loop as training
from bench.training import progress
from bench.training.data.augment import Augmented
from bench.training.data.scenes import Scenes
from experiments.recipes import RECIPES
from tests.bench.training.small_training import (
    RECIPE,
    Killed,
    Noise,
    launch,
    make,
    run,
    same,
    stop_at,
)


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
        done = launch("killed", str(tmp_path), iteration)
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
    path = tmp_path / training.CHECKPOINT_FILE
    if content is None:
        torch.save({"state_dict": {}}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"training.pt: .*delete it to begin anew"):
        run(make(), folder=tmp_path)


def test_a_file_that_wants_to_run_code_is_refused(tmp_path):
    torch.save({"iteration": Path("/")}, tmp_path / training.CHECKPOINT_FILE)
    with pytest.raises(ValueError, match="is no checkpoint of a training"):
        run(make(), folder=tmp_path)


@pytest.mark.usefixtures("save_always")
def test_a_full_disk_is_an_error_that_names_the_file_and_keeps_the_last_checkpoint(
    uninterrupted, tmp_path
):
    net, _ = uninterrupted
    with pytest.raises(Killed):
        run(make(), folder=tmp_path, on_step=stop_at(5))
    kept = (tmp_path / training.CHECKPOINT_FILE).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"training.pt: the checkpoint could not be saved \(File too"
        ):
            run(make(), folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.glob("training*")] == [training.CHECKPOINT_FILE]
    assert (tmp_path / training.CHECKPOINT_FILE).read_bytes() == kept
    last = make()
    run(last, folder=tmp_path)
    assert same(net.state_dict(), last.state_dict())


def test_a_checkpoint_takes_the_place_of_the_last_one_in_one_step(tmp_path):
    path = tmp_path / training.CHECKPOINT_FILE
    training.progress.save_training(path, {"iteration": 1})
    with path.open("rb") as reader:
        before = path.read_bytes()
        training.progress.save_training(path, {"iteration": 2})
        # Whoever has the old one open still reads it whole.
        assert reader.read() == before
    assert path.read_bytes() != before


def test_what_a_killed_write_left_is_removed(tmp_path):
    (tmp_path / f"{training.CHECKPOINT_FILE}.123.tmp").write_bytes(b"half")
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

    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    monkeypatch.setattr(training.progress, "save_training", save)
    trained = run(make(), folder=tmp_path, iterations=40, on_step=on_step)
    # A reading every 2 iterations of 9 seconds; 100 seconds pay for a second's saving.
    assert saved == [2, 14, 26, 38, 40]
    # The saving is no part of what is told of the speed.
    assert trained.step_time_s == [9.0] * 19


def test_readings_are_written_for_tensorboard_and_go_on_after_a_kill(tmp_path, monkeypatch):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    # The first reading's checkpoint stays the only one: what follows is read twice.
    monkeypatch.setattr(training, "SAVING_SHARE", 0.0)
    with pytest.raises(Killed):
        run(make(), folder=tmp_path, on_step=stop_at(5))
    net = make()
    trained = run(net, folder=tmp_path)
    found = events.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {
        "loss", "learning rate", "images per second", "gradient norm"
    }  # fmt: skip
    losses = [(event.step, event.value) for event in found.Scalars("loss")]
    assert [step for step, _ in losses] == list(range(1, 13))
    assert [value for _, value in losses] == pytest.approx([loss for _, loss in trained.losses])
    assert found.Scalars("learning rate")[0].value == pytest.approx(1e-3)
    gradients = torch.cat([each.grad.flatten() for each in net.parameters()])
    assert found.Scalars("gradient norm")[-1].value == pytest.approx(float(gradients.norm()))
