"""Samples that stay in memory."""

from dataclasses import replace

import torch

from bench.training.data.augment import Augmented
from bench.training.data.sampler import SampleCache
from bench.training.data.scenes import Scenes
from experiments.recipes import RECIPES


class Counted:
    def __init__(self):
        self.asked = []

    def __len__(self):
        return 3

    def __getitem__(self, index):
        self.asked.append(index)
        image = torch.full((3, 2, 2), index, dtype=torch.uint8)
        return image, image[0]


def test_a_sample_is_made_once():
    data = Counted()
    held = SampleCache(data)
    assert [int(held[index][1][0, 0]) for index in (2, 1, 2, 2)] == [2, 1, 2, 2]
    assert data.asked == [2, 1]


def test_what_is_beyond_the_limit_is_made_each_time():
    data = Counted()
    held = SampleCache(data, limit_bytes=2 * 16)
    for _ in range(2):
        assert [int(held[index][1][0, 0]) for index in range(3)] == [0, 1, 2]
    assert data.asked == [0, 1, 2, 2]


def test_augmenting_leaves_what_is_held_as_it_was():
    recipe = replace(RECIPES["scenes"], photometric=True)
    scenes = Scenes("train", length=1)
    held = SampleCache(scenes)
    views = [Augmented(data, recipe, preprocessing="caffe-bgr", seed=0) for data in (scenes, held)]
    for epoch in range(4):
        plain, kept = (view[epoch, 0] for view in views)
        assert torch.equal(plain[0], kept[0])
        assert torch.equal(plain[1], kept[1])
