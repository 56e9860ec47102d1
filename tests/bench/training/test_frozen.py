"""Heads on a frozen backbone: what the file of maps holds, when it is made, how heads are trained on it and judged."""

import errno
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from ann import build
from ann.catalogue import NETWORKS
from ann.spec import Size
from bench.training import frozen, run
from bench.training.data import cache_maps, open_dataset
from bench.training.evaluate import evaluate
from bench.training.frozen import FrozenHead, TrainingViews, evaluate_frozen, training_maps
from bench.training.protocols import PROTOCOLS
from experiments.recipes import recipe_for
from experiments.spec import Training, TrainingJob

RECIPE = replace(
    recipe_for("frozen", "camvid"), crop=Size(height=24, width=32), short_side=24, batch=2
)


@pytest.fixture
def root(tmp_path):
    """Four images to train on and two to judge, of 64x48."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for folder, shape in ((split, (48, 64, 3)), (f"{split}annot", (48, 64))):
            (tmp_path / "set" / folder).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 11, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "set" / folder / f"{number}.png")
    return tmp_path / "set"


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build.network("paper/apnb", num_classes=11, backbone="tiny")


class Counting(nn.Module):
    """A backbone that knows how often it was called, and may end the process that calls it."""

    def __init__(self, last=None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.calls, self.last = 0, last

    def forward(self, images):
        self.calls += 1
        if self.calls == self.last:
            raise KeyboardInterrupt
        small = images[:, :, ::8, ::8] * self.weight
        return small, 2 * small


def views(root, **changes):
    files = open_dataset("camvid", root)
    return TrainingViews(
        files=files, recipe=replace(RECIPE, **changes), preprocessing="imagenet-rgb"
    )


def cached(root, folder, backbone=None):
    return cache_maps(views(root), backbone or Counting(), folder=folder, mirrored=True)


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_file_has_the_backbones_maps_in_half_precision(root, tmp_path, network, mirrored):
    maps = cached(root, tmp_path, network.backbone).view(2, mirrored=mirrored)[0]
    image = views(root).view(2)[0]
    with torch.no_grad():
        both = network.backbone((image.flip(2) if mirrored else image)[None])
    assert torch.equal(maps.permute(2, 0, 1), torch.cat(both, dim=1)[0].half())


def test_a_mirrored_view_has_its_label_mirrored(root, tmp_path):
    maps = cached(root, tmp_path)
    assert torch.equal(maps.view(1, mirrored=True)[1], maps.view(1)[1].flip(1))


def test_maps_are_computed_once(root, tmp_path):
    cached(root, tmp_path)
    later = Counting()
    assert len(cached(root, tmp_path, later)) == 4
    assert later.calls == 0


def test_of_several_at_once_one_computes(root, tmp_path):
    backbones = [Counting() for _ in range(3)]
    threads = [threading.Thread(target=cached, args=(root, tmp_path, each)) for each in backbones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.calls for each in backbones) == [0, 0, 4]


def repaint(root, tmp_path):
    cached(root, tmp_path)
    Image.fromarray(np.full((48, 64, 3), 7, np.uint8)).save(root / "train" / "0.png")
    return cached(root, tmp_path)


def reweigh(root, tmp_path):
    cached(root, tmp_path)
    backbone = Counting()
    backbone.weight.data.fill_(2)
    return cached(root, tmp_path, backbone)


def resize(root, tmp_path):
    cached(root, tmp_path)
    other = views(root, crop=Size(height=12, width=16), short_side=12)
    return cache_maps(other, Counting(), folder=tmp_path, mirrored=True)


@pytest.mark.parametrize("change", [repaint, reweigh, resize])
def test_other_images_weights_or_sizes_have_a_file_of_their_own(root, tmp_path, change):
    change(root, tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_rate_and_length_of_a_training_leave_the_maps_as_they_are(root, tmp_path):
    cached(root, tmp_path)
    later = Counting()
    other = views(root, learning_rate=0.5, weight_decay=0.0)
    cache_maps(other, later, folder=tmp_path, mirrored=True)
    assert later.calls == 0


def test_a_process_that_ends_half_way_leaves_no_file_and_the_next_one_begins_anew(root, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        cached(root, tmp_path, Counting(last=3))
    assert not list(tmp_path.glob("*.npy*"))
    later = Counting()
    cached(root, tmp_path, later)
    assert later.calls == 4


def test_what_a_killed_process_left_is_cleared_away(root, tmp_path):
    name = cached(root, tmp_path)._views.filename
    name.rename(f"{name}.123.tmp")
    cached(root, tmp_path)
    assert [path.name for path in tmp_path.glob("*.npy*")] == [name.name]


def test_images_of_several_sizes_are_refused(root, tmp_path):
    for folder, shape in (("val", (24, 64, 3)), ("valannot", (24, 64))):
        Image.fromarray(np.zeros(shape, np.uint8)).save(root / folder / "1.png")
    files = open_dataset("camvid", root, "val")
    other = frozen.EvaluationViews(
        files=files, protocol=PROTOCOLS["whole"], preprocessing="imagenet-rgb"
    )
    with pytest.raises(ValueError, match=r"a label is \(24, 64\) where the first is \(48, 64\)"):
        cache_maps(other, Counting(), folder=tmp_path, mirrored=False)


def test_maps_beyond_half_precision_are_refused(root, tmp_path):
    backbone = Counting()
    backbone.weight.data.fill_(1e6)
    with pytest.raises(ValueError, match=r"image 0: .*half precision"):
        cached(root, tmp_path, backbone)


def test_a_recipe_that_draws_more_than_mirroring_is_refused(root, tmp_path, network):
    recipe = replace(RECIPE, scale=(0.5, 2.0))
    with pytest.raises(ValueError, match=r"'frozen' draws scale.*--recipe frozen"):
        training_maps(network, open_dataset("camvid", root), recipe, seed=0, folder=tmp_path)


def test_scenes_are_refused(tmp_path, network):
    with pytest.raises(ValueError, match=r"sets of files, e\.g\. camvid"):
        training_maps(network, open_dataset("scenes", ""), RECIPE, seed=0, folder=tmp_path)


def test_a_protocol_of_several_views_is_refused(root, tmp_path, network):
    with pytest.raises(ValueError, match=r"in several views"):
        evaluate_frozen(
            FrozenHead(network),
            network,
            open_dataset("camvid", root, "val"),
            protocol="mmseg-multi-scale-flip",
            folder=tmp_path,
            device="cpu",
        )


@pytest.mark.parametrize("training", [False, True])
def test_the_head_alone_is_the_networks(network, training):
    images = torch.randn(2, 3, 24, 32)
    head = FrozenHead(network).train(training)
    network.eval()
    low, high = network.backbone(images)
    network.train(training)
    torch.manual_seed(0)
    expected, auxiliary = network.classify(low, high)
    torch.manual_seed(0)
    maps = torch.cat([low, high], dim=1).permute(0, 2, 3, 1)
    ours = head(maps)
    torch.testing.assert_close(ours[0] if training else ours, expected)
    if training:
        torch.testing.assert_close(ours[1], auxiliary)


def test_a_head_is_judged_as_its_whole_network(root, tmp_path, network):
    """But for half precision, which moves few pixels."""
    dataset = open_dataset("camvid", root, "val")
    nn.init.normal_(network.head.context.out.weight, std=0.1)
    matrix = evaluate_frozen(
        FrozenHead(network), network, dataset, protocol="whole", folder=tmp_path, device="cpu"
    )
    whole = evaluate(network, dataset, protocol="whole")
    assert (matrix.counts - whole.counts).abs().sum() < 0.01 * whole.counts.sum()
    assert matrix.counts.sum() == whole.counts.sum()


def cell(root, **changes):
    training = Training(
        dataset="camvid", root=str(root), recipe=RECIPE, iterations=6, features="frozen"
    )
    return TrainingJob(
        experiment="test",
        axes={"network": "paper/apnb"},
        subject=replace(NETWORKS["paper/apnb"], num_classes=11, backbone="tiny"),
        size=Size(height=48, width=64),
        training=replace(training, **changes),
    )


def trained(root, folder, **changes):
    with torch.random.fork_rng():
        return run.train_cell(cell(root, **changes), "cpu", folder, code="0")


def test_a_record_says_that_the_backbone_was_frozen(root, tmp_path):
    assert trained(root, tmp_path).features == "frozen"


def test_without_a_folder_nothing_is_kept_and_the_outcome_is_the_same(root, tmp_path):
    assert trained(root, None).confusion == trained(root, tmp_path).confusion


def test_a_training_that_was_stopped_goes_on_from_its_checkpoint(root, tmp_path, monkeypatch):
    whole = trained(root, tmp_path / "whole")
    monkeypatch.setattr("bench.training.loop.SAVING_SHARE", float("inf"))
    steps = iter(range(100))

    def stop(*_):
        if next(steps) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        plain = run.train
        patched.setattr(run, "train", lambda *a, **k: plain(*a, **k, on_step=stop))
        with pytest.raises(KeyboardInterrupt):
            trained(root, tmp_path / "stopped")
    assert trained(root, tmp_path / "stopped").confusion == whole.confusion


def test_the_backbone_stays_as_it_is(root, tmp_path, monkeypatch):
    seen = {}
    plain = run.train

    def watch(model, *arguments, **settings):
        seen["trained"] = {name for name, _ in model.named_parameters()}
        return plain(model, *arguments, **settings)

    monkeypatch.setattr(run, "train", watch)
    trained(root, tmp_path)
    assert not [name for name in seen["trained"] if name.startswith("backbone.")]


def test_a_backbone_of_another_form_and_the_same_weights_has_maps_of_its_own(root, tmp_path):
    first, second = (
        nn.Sequential(nn.Conv2d(3, 2, 3, padding=width, dilation=width)) for width in (1, 2)
    )
    second.load_state_dict(first.state_dict())
    for backbone in (first, second):
        twice = nn.Module()
        twice.part = backbone
        twice.forward = lambda x, part=backbone: (part(x), part(x))
        cache_maps(views(root), twice, folder=tmp_path, mirrored=False)
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_a_file_that_was_cut_is_named_with_what_to_do(root, tmp_path):
    path = cached(root, tmp_path)._views.filename
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(
        ValueError, match=r"camvid-train-\w+\.npy is no whole file of maps .*delete it"
    ):
        cached(root, tmp_path)


def test_a_disk_without_room_is_an_error_before_a_page_is_written(root, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"no room for \d+ MiB of maps .*make room"):
        cached(root, tmp_path)
    assert not list(tmp_path.glob("*.npy*"))


def test_a_crop_that_shows_a_part_of_each_image_is_refused(root, tmp_path):
    small = views(root, crop=Size(height=24, width=16))
    with pytest.raises(ValueError, match=r"0\.png comes to 32x24 and the crop is 16x24"):
        cache_maps(small, Counting(), folder=tmp_path, mirrored=True)


def test_a_head_on_other_maps_is_trained_anew(root, tmp_path):
    first = trained(root, tmp_path)
    for number in range(4):
        Image.fromarray(np.full((48, 64, 3), 50 * number, np.uint8)).save(
            root / "train" / f"{number}.png"
        )
    assert trained(root, tmp_path).losses != first.losses


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pretrained": "foo"}, "none of 'package', 'timm:TAG' and 'file:PATH'"),
        ({"pretrained": "package"}, "no package has weights of the tiny backbone"),
        ({"evaluation": "mmseg-slide-769"}, "in several views"),
        ({"recipe": replace(RECIPE, brightness=10)}, "draws scale, shape, place or colours"),
    ],
)
def test_what_can_t_be_trained_is_told_before_anything_runs(root, changes, message):
    with pytest.raises(ValueError, match=message):
        run.find_data([cell(root, **changes)])


def test_labels_in_colours_are_told_before_anything_runs(root):
    for label in (root / "valannot").iterdir():
        Image.new("RGB", (64, 48), (128, 0, 0)).save(label)
    with pytest.raises(ValueError, match=r"valannot/0\.png is an image of mode RGB; .*--palette"):
        run.find_data([cell(root)])
    run.find_data([cell(root, palette=True)])


def test_maps_are_made_anew_where_colours_stand_for_other_classes(root, tmp_path):
    def key():
        files = open_dataset("camvid", root, palette=True)
        painted = TrainingViews(files=files, recipe=RECIPE, preprocessing="imagenet-rgb")
        return cache_maps(painted, Counting(), folder=tmp_path, mirrored=True).key

    keys = [cached(root, tmp_path).key, key()]
    (root / "label_colors.txt").write_text("128 0 0 Sky\n")
    assert len({*keys, key()}) == 3
