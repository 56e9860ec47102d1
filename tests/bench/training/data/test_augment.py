import colorsys
import pickle
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import functional

from ann.spec import Size
from bench.training.data.augment import Augmented, _saturated, augment, generator_of, normalise
from experiments.recipes import RECIPES, recipe_for

PLAIN = replace(
    recipe_for("paper", "cityscapes"),
    crop=Size(height=24, width=32),
    scale=(1.0, 1.0),
    aspect=(1.0, 1.0),
    flip=0.0,
    brightness=0,
)
CODE = 10  # grey value of an image's pixel for each unit of its label


class Patches:
    """Images whose every pixel says its label, in patches of 16x16."""

    def __init__(self, height=48, width=64, labels=(0, 3, 7, 18, 255)):
        draw = torch.Generator().manual_seed(5)
        rows, columns = -(-height // 16), -(-width // 16)
        chosen = torch.randint(len(labels), (6, rows, columns), generator=draw)
        patches = torch.tensor(labels, dtype=torch.uint8)[chosen]
        whole = patches.repeat_interleave(16, 1).repeat_interleave(16, 2)
        self.labels = whole[:, :height, :width].contiguous()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        label = self.labels[index]
        codes = torch.where(label == 255, 25, label) * CODE
        return codes.to(torch.uint8).expand(3, -1, -1).contiguous(), label


class Single:
    """One image with its label."""

    def __init__(self, image, label=None):
        self.pair = (
            image,
            torch.zeros(image.shape[1:], dtype=torch.uint8) if label is None else label,
        )

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.pair


def views(data, recipe, count=8, **changes):
    recipe = replace(recipe, **changes)
    return [
        augment(*data[i % len(data)], recipe, generator=generator_of(0, i, 0)) for i in range(count)
    ]


def inner(label, radius=2):
    """Where a label is the same as all around it, so that interpolation mixes nothing; not at the edges."""
    around = torch.nn.functional.pad(label.float()[None], (radius,) * 4, value=300.0)
    largest = torch.nn.functional.max_pool2d(around, 2 * radius + 1, 1)
    smallest = -torch.nn.functional.max_pool2d(-around, 2 * radius + 1, 1)
    return (largest == smallest)[0]


RECIPE_NAMES = tuple(RECIPES)
SIZES = st.builds(Size, height=st.integers(5, 60), width=st.integers(5, 60))


@given(
    name=st.sampled_from(RECIPE_NAMES),
    crop=SIZES,
    image=SIZES,
    index=st.integers(0, 5),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_a_view_has_the_size_of_the_crop_and_no_label_that_was_not_there(
    name, crop, image, index, seed
):
    data = Patches(image.height, image.width)
    recipe = replace(RECIPES[name], crop=crop)
    view, label = Augmented(data, recipe, preprocessing="imagenet-rgb", seed=seed)[3, index]
    assert (view.shape, label.shape) == ((3, crop.height, crop.width), (crop.height, crop.width))
    assert (view.dtype, label.dtype) == (torch.float32, torch.int64)
    assert set(label.unique().tolist()) <= {*data[index][1].unique().tolist(), 255}
    assert view.isfinite().all()


@given(
    scale=st.floats(0.5, 2.0),
    aspect=st.floats(0.9, 1.1),
    flip=st.booleans(),
    index=st.integers(0, 5),
    seed=st.integers(0, 999),
)
@settings(deadline=None, max_examples=150)
def test_image_and_label_stay_aligned(scale, aspect, flip, index, seed):
    recipe = replace(PLAIN, scale=(scale, scale), aspect=(aspect, aspect), flip=float(flip))
    image, label = augment(*Patches()[index], recipe, generator=generator_of(seed, 0, index))
    codes = torch.where(label == 255, 25, label).to(torch.int64) * CODE
    sure = inner(label)
    assert sure.any()
    assert torch.equal(image[:, sure].to(torch.int64), codes[sure].expand(3, -1))


@pytest.mark.parametrize(("scale", "size"), [(0.61, 61), (0.75, 75), (1.5, 150), (2.0, 200)])
def test_a_label_is_resized_as_opencv_and_mmseg_do(scale, size):
    """The pixel at the upper left of where it falls, which Pillow and nearest-exact don't take."""
    columns = torch.arange(100, dtype=torch.uint8).expand(100, 100).contiguous()
    crop = Size(height=size, width=size)
    recipe = replace(PLAIN, scale=(scale, scale), crop=crop)
    data = Single(columns.expand(3, -1, -1).contiguous(), columns)
    (image, label), *_ = views(data, recipe, count=1)
    assert label[0].tolist() == [column * 100 // size for column in range(size)]
    # Half a pixel of the view to the left of the image on average, never a whole one of the larger of the two.
    apart = image[0, 1:-1, 1:-1].double() - label[1:-1, 1:-1]
    assert -1 < apart.mean() < 1 / scale
    assert apart.abs().max() < max(1, 1 / scale) + 0.5  # of rounding


def test_without_a_change_of_scale_a_view_is_a_part_of_the_image():
    data = Patches()
    for image, label in views(data, PLAIN):
        codes = torch.where(label == 255, 25, label) * CODE
        assert torch.equal(image, codes.to(torch.uint8).expand(3, -1, -1))


def test_cutting_before_resizing_gives_what_resizing_before_cutting_does():
    image = (
        torch.arange(30 * 40, dtype=torch.int32)
        .remainder(251)
        .to(torch.uint8)
        .view(1, 30, 40)
        .expand(3, -1, -1)
    )
    whole = (
        functional.resize(image, [60, 80], antialias=False)[:, :, :]
        .unfold(1, 24, 2)
        .unfold(2, 32, 2)
    )
    for view, _ in views(Single(image), PLAIN, scale=(2.0, 2.0)):
        same = (whole == view[:, None, None])[..., 1:-1, 1:-1].flatten(3).all(-1).all(0)
        assert same.any()


def test_a_smaller_image_is_interpolated_and_not_averaged():
    image = torch.randint(
        0, 256, (3, 96, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    ((view, _),) = views(
        Single(image), PLAIN, 1, crop=Size(height=24, width=32), scale=(0.25, 0.25)
    )
    middle = image.float()[:, 1:, 1:].unfold(1, 2, 4).unfold(2, 2, 4).mean((-1, -2))
    torch.testing.assert_close(view.float(), middle, atol=1.01, rtol=0)


def test_crops_come_from_everywhere():
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    image = torch.stack([rows, columns, rows]).to(torch.uint8)
    corners = {tuple(view[:2, 0, 0].tolist()) for view, _ in views(Single(image), PLAIN, 400)}
    assert {top for top, _ in corners} == set(range(48 - 24 + 1))
    assert {left for _, left in corners} == set(range(64 - 32 + 1))


def test_scales_fill_the_range_evenly():
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    drawn = views(Single(image), PLAIN, 300, crop=Size(height=500, width=500), scale=(0.5, 2.0))
    heights = torch.tensor([float(label.shape[0]) for _, label in drawn])
    assert 50 <= heights.min() < 55
    assert 195 < heights.max() <= 200
    assert heights.mean() == pytest.approx(125, abs=6)


def test_width_grows_and_height_shrinks_by_the_root_of_the_aspect():
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    ((_, label),) = views(
        Single(image), PLAIN, 1, crop=Size(height=500, width=500), aspect=(1.21, 1.21)
    )
    assert label.shape == (90, 110)


@pytest.mark.parametrize(
    ("sides", "expected"),
    [({"short_side": 100}, (100, 200)), ({"short_side": 100, "long_side": 150}, (75, 150))],
)
def test_the_short_side_is_brought_to_a_length_unless_the_long_one_gets_too_long(sides, expected):
    image = torch.zeros(3, 50, 100, dtype=torch.uint8)
    ((_, label),) = views(Single(image), PLAIN, 1, crop=Size(height=500, width=500), **sides)
    assert label.shape == expected


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_flip_mirrors_left_and_right(flip):
    image, label = Patches()[0]
    whole = Size(height=48, width=64)
    ((seen, seen_label),) = views(Single(image, label), PLAIN, 1, crop=whole, flip=flip)
    assert torch.equal(seen, image.flip(2) if flip else image)
    assert torch.equal(seen_label, label.flip(1) if flip else label)


def test_half_of_the_images_are_flipped():
    image = torch.arange(64, dtype=torch.uint8).expand(3, 48, -1)
    drawn = views(Single(image), PLAIN, 200, flip=0.5)
    flipped = sum(int(view[0, 0, 0] > view[0, 0, 1]) for view, _ in drawn)
    assert 75 < flipped < 125


def test_brightness_shifts_all_pixels_by_one_integer_and_clips():
    image = torch.full((3, 48, 64), 100, dtype=torch.uint8)
    image[0], image[1] = 2, 250
    drawn = [view[:, 0, 0].tolist() for view, _ in views(Single(image), PLAIN, 300, brightness=10)]
    assert {blue - 100 for _, _, blue in drawn} == set(range(-10, 11))
    for red, green, blue in drawn:
        assert red == max(0, 2 + blue - 100)
        assert green == min(255, 250 + blue - 100)


def test_a_crop_of_nearly_one_class_is_drawn_anew():
    label = torch.zeros(24, 200, dtype=torch.uint8)
    label[:, 150:] = torch.arange(50, dtype=torch.uint8) % 7
    data = Single(torch.zeros(3, 24, 200, dtype=torch.uint8), label)

    def plain(ratio):
        drawn = views(data, PLAIN, 100, cat_max_ratio=ratio)
        return sum(
            int(torch.bincount(seen.flatten()).max() >= 0.75 * seen.numel()) for _, seen in drawn
        )

    assert plain(1.0) > 50
    assert plain(0.75) < 10


def test_an_ignored_image_ends_the_search_for_a_better_crop():
    ignored = torch.full((48, 64), 255, dtype=torch.uint8)
    data = Single(torch.zeros(3, 48, 64, dtype=torch.uint8), ignored)
    ((_, label),) = views(data, PLAIN, 1, cat_max_ratio=0.75)
    assert (label == 255).all()


def test_photometric_distortion_leaves_the_label_and_the_place():
    image, label = Patches()[1]
    data = Single(image, label)
    before, after = views(data, PLAIN, 6), views(data, PLAIN, 6, photometric=True)
    assert all(torch.equal(one[1], other[1]) for one, other in zip(before, after, strict=True))
    assert any(not torch.equal(one[0], other[0]) for one, other in zip(before, after, strict=True))
    for seen, other in after:
        for value in other.unique():  # a patch of one label stays a patch of one colour
            assert seen[:, other == value].unique(dim=1).shape[1] == 1


def test_photometric_distortion_keeps_grey_grey():
    image = torch.full((3, 48, 64), 120, dtype=torch.uint8)
    for view, _ in views(Single(image), PLAIN, 40, photometric=True):
        assert torch.equal(view[0], view[1])
        assert torch.equal(view[1], view[2])


def test_photometric_distortion_turns_the_hue_of_about_half_of_the_images():
    image = torch.tensor([200, 50, 50], dtype=torch.uint8).view(3, 1, 1).expand(3, 48, 64)
    drawn = views(Single(image), PLAIN, 200, photometric=True)
    turned = sum(int(view[1, 0, 0] != view[2, 0, 0]) for view, _ in drawn)
    assert 70 < turned < 120


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.2, 1.5])
def test_saturation_is_that_of_hsv(factor):
    image = torch.randint(
        0, 256, (3, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    seen = _saturated(image, factor).flatten(1).T.tolist()
    for pixel, other in zip(image.flatten(1).T.tolist(), seen, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected = colorsys.hsv_to_rgb(hue, min(1, saturation * factor), value)
        assert other == pytest.approx(expected, abs=0.51)


@pytest.mark.parametrize("preprocessing", ["imagenet-rgb", "caffe-bgr"])
def test_what_an_image_does_not_fill_is_zero_and_ignored(preprocessing):
    image = torch.full((3, 10, 12), 200, dtype=torch.uint8)
    data = Augmented(Single(image), PLAIN, preprocessing=preprocessing, seed=0)
    corners = set()
    for epoch in range(40):
        view, label = data[epoch, 0]
        inside = label == 0
        assert int(inside.sum()) == 120
        assert (view[:, ~inside] == 0).all()
        assert (view[:, inside] != 0).all()
        corners.add(tuple(inside.nonzero()[0].tolist()))
    assert len(corners) > 20


def test_imagenet_preprocessing_is_that_of_torchvision():
    image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    scaled = functional.to_dtype(image, torch.float32, scale=True)
    expected = functional.normalize(scaled, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    torch.testing.assert_close(normalise(image, "imagenet-rgb"), expected, atol=2e-6, rtol=0)


def test_caffe_preprocessing_is_bgr_less_the_means():
    image = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [30 - 102.9801, 20 - 115.9465, 10 - 122.7717]
    torch.testing.assert_close(normalise(image, "caffe-bgr").flatten(), torch.tensor(expected))


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_a_view_depends_on_seed_epoch_and_index_alone(name):
    recipe = replace(RECIPES[name], crop=Size(height=24, width=32))
    data = Augmented(Patches(), recipe, preprocessing="caffe-bgr", seed=1)
    keys = [(epoch, index) for epoch in range(2) for index in range(6)]
    first = [data[key] for key in keys]
    torch.manual_seed(77)
    later = [pickle.loads(pickle.dumps(data))[key] for key in reversed(keys)]
    for (image, label), (image_again, label_again) in zip(first, reversed(later), strict=True):
        assert torch.equal(image, image_again)
        assert torch.equal(label, label_again)


@pytest.mark.parametrize("other", [{"seed": 2}, {"epoch": 4}, {"index": 2}])
def test_another_seed_epoch_or_index_is_another_draw(other):
    drawn = [
        torch.rand(4, generator=generator_of(**key)).tolist()
        for key in (
            {"seed": 1, "epoch": 3, "index": 1},
            {"seed": 1, "epoch": 3, "index": 1} | other,
        )
    ]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("name", RECIPE_NAMES)
def test_the_global_random_state_stays_as_it_is(name):
    data = Augmented(Patches(), RECIPES[name], preprocessing="imagenet-rgb", seed=0)
    before = torch.get_rng_state()
    data[0, 0]
    assert torch.equal(torch.get_rng_state(), before)


def test_the_images_of_a_set_are_not_changed():
    image, label = Patches()[0]
    copies = image.clone(), label.clone()
    data = Augmented(Single(image, label), RECIPES["mmseg"], preprocessing="caffe-bgr", seed=0)
    for epoch in range(5):
        data[epoch, 0]
    assert torch.equal(image, copies[0])
    assert torch.equal(label, copies[1])


@pytest.mark.slow
def test_workers_give_what_one_process_gives(tmp_path):
    from PIL import Image

    from bench.training.data import open_dataset

    for index, (image, label) in enumerate(Patches(labels=(0, 3, 7, 10))):
        for folder, pixels in (("train", image.permute(1, 2, 0)), ("trainannot", label)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels.numpy()).save(tmp_path / folder / f"{index}.png")
        if index == 5:
            break
    recipe = replace(recipe_for("mmseg", "camvid"), crop=Size(height=24, width=32))
    data = Augmented(open_dataset("camvid", tmp_path), recipe, preprocessing="caffe-bgr", seed=3)
    keys = [(epoch, index) for epoch in range(2) for index in range(6)]
    with_workers = DataLoader(data, 3, sampler=keys, num_workers=2, multiprocessing_context="spawn")
    for batch, (images, labels) in zip(keys[::3], with_workers, strict=True):
        place = keys.index(batch)
        alone = [data[key] for key in keys[place : place + 3]]
        assert torch.equal(images, torch.stack([image for image, _ in alone]))
        assert torch.equal(labels, torch.stack([label for _, label in alone]))
