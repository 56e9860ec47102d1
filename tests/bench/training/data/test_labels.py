import contextlib

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from bench.training.data.classes import read_classes
from bench.training.data.files import read_image
from bench.training.data.images import LabelReader
from tests.bench.training.data.label_files import write_png

IDS = np.arange(12).reshape(3, 4)


def reader(name="camvid", ignored=(11, 255)):
    return LabelReader(name=name, classes=read_classes(name, ignored=ignored))


FEW_BITS = "has few bits a pixel; its numbers are read as ids"


@pytest.mark.filterwarnings(f"ignore:.*{FEW_BITS}:UserWarning")
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_of_any_depth_is_read_as_the_numbers_in_it(depth, tmp_path):
    ids = IDS % min(2**depth, 11)
    write_png(tmp_path / "a.png", ids, depth=depth)
    assert reader().read(tmp_path / "a.png").tolist() == ids.tolist()


@pytest.mark.filterwarnings(f"ignore:.*{FEW_BITS}:UserWarning")
@pytest.mark.parametrize("bits", [1, 2, 4])
def test_so_is_what_pillow_writes_with_few_bits(bits, tmp_path):
    ids = (IDS % min(2**bits, 11)).astype(np.uint8)
    if bits == 1:
        Image.fromarray(ids.astype(bool)).save(tmp_path / "a.png")
    else:
        Image.fromarray(ids).save(tmp_path / "a.png", bits=bits)
    assert reader().read(tmp_path / "a.png").tolist() == ids.tolist()


def test_four_bits_that_times_seventeen_are_ids_too_are_read_right_and_that_is_said(tmp_path):
    # 1 * 17 is `door`, 2 * 17 and 5 * 17 are others.
    write_png(tmp_path / "a.png", np.array([[1, 2], [5, 0]]), depth=4)
    with pytest.warns(UserWarning, match=FEW_BITS):
        label = reader("ade20k", (0,)).read(tmp_path / "a.png")
    assert label.tolist() == [[0, 1], [4, 255]]


def test_an_id_of_sixteen_bits_that_the_set_has_not_is_named(tmp_path):
    write_png(tmp_path / "a.png", np.array([[3, 259]]), depth=16)
    with pytest.raises(
        ValueError, match=r"a\.png has the class ids \[259\], which camvid does not"
    ):
        reader().read(tmp_path / "a.png")


def test_grey_of_eight_bits_in_another_format_stays_as_it_is(tmp_path):
    Image.fromarray(IDS.astype(np.uint8)).save(tmp_path / "a.bmp")
    assert reader().read(tmp_path / "a.bmp").max() == 255  # 11, void
    assert reader().read(tmp_path / "a.bmp").flatten()[:11].tolist() == list(range(11))


@pytest.mark.parametrize(
    "content",
    [
        np.zeros((2, 3, 4), np.uint8),
        np.array([[1.5]]),
        np.array([[-1]]),
        np.array([[np.nan]]),
        np.array([[70_000]]),
        "a text",
        np.zeros((0, 4), np.uint8),
    ],
    ids=str,
)
def test_a_mat_without_a_map_of_ids_is_refused(content, tmp_path):
    savemat(tmp_path / "a.mat", {"S": content})
    with pytest.raises(ValueError, match=r"a\.mat "):
        reader().read(tmp_path / "a.mat")


def test_a_mat_with_an_array_of_structures_is_refused(tmp_path):
    many = np.zeros((1, 2), [("Segmentation", object)])
    savemat(tmp_path / "a.mat", {"GTcls": many})
    with pytest.raises(ValueError, match=r"a\.mat can't be read .*no single structure"):
        reader().read(tmp_path / "a.mat")


@pytest.mark.parametrize("content", [{"T": np.zeros((2, 2))}, {"GTcls": {"Boundaries": 1}}])
def test_a_mat_of_another_kind_is_named(content, tmp_path):
    savemat(tmp_path / "a.mat", content)
    with pytest.raises(ValueError, match=r"a\.mat can't be read .* has no "):
        reader().read(tmp_path / "a.mat")


def test_damaged_mats_are_refused_or_right(tmp_path):
    path, random = tmp_path / "a.mat", np.random.default_rng(0)
    savemat(path, {"S": (IDS % 11).astype(np.uint8)}, do_compression=True)
    whole = path.read_bytes()
    for _ in range(200):
        damaged = bytearray(whole)
        for at in random.integers(0, len(whole), random.integers(1, 4)):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged[: random.integers(1, len(whole) + 1)])
        with contextlib.suppress(ValueError):
            assert reader().read(path).ndim == 2


def test_damaged_pngs_are_refused_or_right(tmp_path):
    path, random = tmp_path / "a.png", np.random.default_rng(0)
    Image.fromarray((IDS % 11).astype(np.uint8)).save(path)
    whole = path.read_bytes()
    for _ in range(400):
        damaged = bytearray(whole)
        for at in random.integers(0, len(whole), random.integers(1, 3)):
            damaged[at] = random.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            assert reader().read(path).tolist() == (IDS % 11).tolist()


# Within the signature, a part's head, what it holds and its checksum; then just ahead of the last part.
@pytest.mark.parametrize("keep", [0, 5, 8, 12, 20, 31, 33, 45, -14, -12, -1])
def test_a_png_that_ends_early_is_refused_with_that(keep, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray((IDS % 11).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:keep])
    expected = r"a\.png can't be read \(it ends early\); get the file anew"
    with pytest.raises(ValueError, match=expected):
        reader().read(path)
    with pytest.raises(ValueError, match=expected):
        read_image(path)


@pytest.mark.parametrize("content", [b"P", b"no image at all", b"\xff\xd8"])
def test_what_is_no_image_is_refused_with_that(content, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.jpg can't be read \(it is no image\); get the file"):
        read_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("is_packed", [True, False])
@pytest.mark.parametrize("keep", [0, 100, 130, 140, -1])
def test_a_mat_that_ends_early_is_refused_with_that(keep, is_packed, tmp_path):
    path = tmp_path / "a.mat"
    savemat(path, {"S": IDS.astype(np.uint8)}, do_compression=is_packed)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"a\.mat can't be read \(.*it ends early"):
        reader().read(path)


def test_labels_in_colours_are_refused_with_what_to_pass(tmp_path):
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"pass --palette \(palette=True\)"):
        reader().read(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["LA", "CMYK", "F"])
def test_other_modes_are_refused(mode, tmp_path):
    suffix = "png" if mode == "LA" else "tiff"
    Image.new(mode, (2, 2)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(ValueError, match=f"is an image of mode {mode}; labels are class ids"):
        reader().read(tmp_path / f"a.{suffix}")
