import hashlib

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_cdt
from torch import nn
from torch.nn.functional import avg_pool2d

from ann import build
from bench.analysis import IGNORE
from bench.training.data.scene_drawing import CUES, DISTANCE, SCENE_SIZE
from bench.training.data.scenes import CLASSES, LENGTHS, NEEDS_CUE, PALETTE, Scenes, SmallCueScenes

SEEN = 60


def cue_classes(cue):
    return {"signal": ("red signal", "green signal"), "billboard": ("orange board", "blue board")}[
        cue
    ]


def numbers(names):
    return [CLASSES.index(name) for name in names]


def swapped(index, cue, kind):
    """A scene and its twin in which one cue shows the other thing."""
    data = kind("val", seed=3)
    scene = data.scene(index)
    place = list(CUES).index(cue)
    cues = tuple(state ^ (number == place) for number, state in enumerate(scene.cues))
    return scene, data.scene(index, cues=cues)


@pytest.fixture(scope="module")
def labels():
    data = Scenes("train", seed=5)
    return [data[index][1].numpy() for index in range(SEEN)]


def test_items_are_uint8_images_and_labels():
    image, label = Scenes()[0]
    assert image.shape == (3, SCENE_SIZE.height, SCENE_SIZE.width)
    assert label.shape == (SCENE_SIZE.height, SCENE_SIZE.width)
    assert image.dtype == label.dtype == torch.uint8
    assert image.is_contiguous()


def test_a_scene_depends_on_seed_split_and_index_alone():
    image, label = Scenes("train", seed=1)[7]
    again, label_again = Scenes("train", seed=1, length=8)[7]
    assert torch.equal(image, again)
    assert torch.equal(label, label_again)


@pytest.mark.parametrize("other", [("val", 1, 7), ("train", 2, 7), ("train", 1, 8)])
def test_another_seed_split_or_index_is_another_scene(other):
    split, seed, index = other
    image, _ = Scenes("train", seed=1)[7]
    assert not torch.equal(image, Scenes(split, seed=seed)[index][0])


def test_splits_share_no_scene():
    train, val = Scenes("train"), Scenes("val")
    seen = {train[index][1].numpy().tobytes() for index in range(SEEN)}
    assert len(seen) == SEEN
    assert not seen & {val[index][1].numpy().tobytes() for index in range(SEEN)}


def test_the_own_cues_give_the_scene_itself():
    data = Scenes("val")
    scene = data.scene(4)
    assert np.array_equal(scene.image, data.scene(4, cues=scene.cues).image)


@pytest.mark.parametrize("kind", [Scenes, SmallCueScenes])
@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("index", range(12))
def test_swapping_a_cue_changes_the_image_only_where_the_cue_is(cue, index, kind):
    one, two = swapped(index, cue, kind)
    changed = (one.image != two.image).any(axis=2)
    cue_places = np.isin(one.label, numbers(cue_classes(cue)))
    assert changed.any()
    assert not (changed & ~cue_places).any()


@pytest.mark.parametrize("kind", [Scenes, SmallCueScenes])
@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("index", range(12))
def test_swapping_a_cue_swaps_its_two_classes_and_nothing_else(cue, index, kind):
    one, two = swapped(index, cue, kind)
    swap = np.arange(256)
    for first, second in (numbers(cue_classes(cue)), numbers(CUES[cue])):
        swap[[first, second]] = second, first
    assert np.array_equal(swap[one.label], two.label)
    assert (one.label != two.label).sum() > 400


@pytest.mark.parametrize("kind", [Scenes, SmallCueScenes])
@pytest.mark.parametrize("cue", CUES)
@pytest.mark.parametrize("index", range(12))
def test_what_a_cue_decides_is_far_from_it(cue, index, kind):
    one, two = swapped(index, cue, kind)
    image_changed = (one.image != two.image).any(axis=2)
    decided = np.isin(one.label, numbers(CUES[cue]))
    assert decided.any()
    assert distance_transform_cdt(~image_changed, "chessboard")[decided].min() >= DISTANCE


@pytest.mark.parametrize("name", ["paper/baseline", "paper/common-fusion"])
def test_networks_without_context_cannot_see_from_what_is_decided_to_its_cue(name):
    network = all_seeing(name)
    reaches = [reach(network, column) for column in (0, 64, 100, 155, 191, 255)]
    assert min(reaches) > 80  # not for want of gradients
    assert max(reaches) < DISTANCE


def test_networks_with_context_see_the_whole_image():
    assert reach(all_seeing("paper/apnb"), 255) == 255


def all_seeing(name):
    """A network through which everything passes that can: nothing cancels and no rectifier is shut."""
    network = build.network(name, backbone="tiny", num_classes=2).double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.05)
    for module in network.modules():
        if isinstance(module, nn.MaxPool2d):  # hands gradients to one place of nine
            module.register_forward_hook(lambda _, args, __: avg_pool2d(args[0], 3, 2, 1))
    return network


def reach(network, column):
    """How far from a pixel of that column others bear on its logits."""
    shape = (1, 3, SCENE_SIZE.height, SCENE_SIZE.width)
    images = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    network(images)[0, 0, SCENE_SIZE.height // 2, column].backward()
    columns = images.grad.abs().sum((0, 1, 2)).nonzero()
    return int((columns - column).abs().max())


def test_what_a_cue_shows_is_a_fair_coin_apart_from_the_other():
    cues = np.array([Scenes("train", seed=9).scene(index).cues for index in range(400)])
    assert np.abs(cues.mean(axis=0) - 0.5).max() < 0.1
    assert abs(np.corrcoef(cues.T)[0, 1]) < 0.15


def test_all_classes_appear_and_no_other_value_but_the_ignored_one(labels):
    assert set(np.unique(labels)) == {*range(len(CLASSES)), IGNORE}


def test_no_class_is_too_small_to_learn(labels):
    share = np.bincount(np.ravel(labels), minlength=256)[: len(CLASSES)] / np.size(labels)
    assert share.min() > 0.01
    assert share.max() < 0.4


@pytest.mark.parametrize("cue", CUES)
def test_both_classes_of_a_cue_are_as_frequent(labels, cue):
    counts = [sum((label == number).sum() for label in labels) for number in numbers(CUES[cue])]
    assert 0.6 < counts[0] / counts[1] < 1.6


def test_every_scene_has_the_classes_that_need_a_cue(labels):
    for cue in CUES:
        assert min(np.isin(label, numbers(CUES[cue])).sum() for label in labels) > 100


def test_every_class_has_a_colour_of_its_own():
    assert len(set(PALETTE)) == len(PALETTE) == len(CLASSES)
    assert set(NEEDS_CUE) < set(CLASSES)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match=r"unknown split of scenes 'test'; allowed are train, val"):
        Scenes("test")


def test_an_empty_set_is_refused():
    with pytest.raises(ValueError, match=r"length=0 .*pass 1 or more"):
        Scenes(length=0)


@pytest.mark.parametrize("index", [-1, LENGTHS["val"]])
def test_an_index_outside_is_refused(index):
    with pytest.raises(IndexError, match=r"pass 0 to 127"):
        Scenes("val")[index]


def test_iterating_ends():
    assert len(list(Scenes(length=3))) == 3


def test_small_cues_are_for_validation_alone():
    own, usual = SmallCueScenes("train").scene(5), Scenes("train").scene(5)
    assert np.array_equal(own.image, usual.image)


def test_cues_of_all_sizes_are_a_fifth_to_the_whole_of_the_usual_width():
    data = SmallCueScenes("val", seed=3)
    boards = [
        np.isin(data.scene(at).label, numbers(cue_classes("billboard"))) for at in range(SEEN)
    ]
    widths = [np.ptp(board.any(axis=0).nonzero()) + 1 for board in boards]
    assert min(widths) < 10
    assert max(widths) > 32
    assert {8 <= width <= 40 for width in widths} == {True}


def test_kept_records_can_be_made_again():
    """The labels of old scenes are those on which kept trainings were made."""
    labels = [Scenes("train")[index][1].numpy().tobytes() for index in range(4)]
    assert hashlib.sha256(b"".join(labels)).hexdigest()[:16] == "c532f83ee84d9794"
