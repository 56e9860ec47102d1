import warnings

import numpy as np
import pytest
from PIL import Image

from bench.training.data.classes import read_classes
from bench.training.data.images import LabelReader
from bench.training.data.palettes import voc_colours
from tests.bench.training.data.label_files import renumbered, write_palette

SETS = {
    "camvid": (11, 255),
    "cityscapes": (*(0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30), 255),
    "voc2012": (255,),
    "pascal_context": (),
    "ade20k": (0,),
    "coco_stuff10k": (0,),
    "nyud_v2": (0,),
}
RAMP = [(at, at, at) for at in range(256)]


def reader(name, *, painted=False):
    classes = read_classes(name, ignored=SETS[name])
    return LabelReader(name=name, classes=classes, painted=painted)


def full_palette(classes):
    """The set's palette as its own tools write it, 256 entries."""
    return [classes.colours.get(at, (7, 7, at)) for at in range(256)]


def some_ids(classes, count=9):
    known = sorted(number for number in classes.ids if number in classes.colours)
    return np.array(known)[np.random.default_rng(0).integers(0, len(known), (6, count))]


@pytest.mark.parametrize("name", SETS)
def test_ids_with_the_palette_of_their_set_are_ids_and_nothing_is_said(name, tmp_path):
    read = reader(name)
    ids = some_ids(read.classes)
    write_palette(tmp_path / "a.png", ids, full_palette(read.classes))
    assert (read.read(tmp_path / "a.png") == read.classes.table[ids]).all()


@pytest.mark.parametrize("name", [name for name in SETS if name != "coco_stuff10k"])
def test_a_palette_that_an_optimiser_sorted_anew_is_read_by_its_colours(name, tmp_path):
    read = reader(name)
    ids = some_ids(read.classes)
    # Things of one colour become one index; the first of them stands for all.
    first = {colour: number for number, colour in sorted(read.classes.colours.items())[::-1]}
    ids = np.vectorize(lambda number: first[read.classes.colours[number]])(ids)
    write_palette(tmp_path / "a.png", *renumbered(ids, full_palette(read.classes)))
    with pytest.warns(UserWarning, match=r"a\.png has the set's palette in another order"):
        label = read.read(tmp_path / "a.png")
    assert (label == read.classes.table[ids]).all()


@pytest.mark.parametrize("name", ["ade20k", "voc2012", "coco_stuff10k", "nyud_v2"])
def test_a_grey_mask_that_an_optimiser_gave_a_palette_has_its_shades_as_ids(name, tmp_path):
    read = reader(name)
    ids = np.array([[3, 19, 7], [19, 19, 7]])
    write_palette(tmp_path / "a.png", *renumbered(ids, RAMP))
    with pytest.warns(UserWarning, match=r"a\.png has shades of grey as its palette"):
        label = read.read(tmp_path / "a.png")
    assert (label == read.classes.table[ids]).all()


def test_greys_of_the_set_at_their_places_are_its_colours(tmp_path):
    write_palette(tmp_path / "a.png", [[0, 1]], [(0, 0, 0), (120, 120, 120)])
    assert reader("ade20k").read(tmp_path / "a.png").tolist() == [[255, 0]]  # other and wall


def test_shades_that_are_no_ids_say_nothing(tmp_path):
    write_palette(tmp_path / "a.png", [[0, 1, 2]], [(0, 0, 0), (90, 90, 90), (180, 180, 180)])
    assert reader("voc2012").read(tmp_path / "a.png").tolist() == [[0, 1, 2]]


def test_it_is_said_once(tmp_path):
    read = reader("voc2012")
    for name in "ab":
        write_palette(tmp_path / f"{name}.png", [[0, 1]], [(192, 128, 128), (0, 128, 0)])
    with pytest.warns(UserWarning, match="is said of the first such label alone"):
        read.read(tmp_path / "a.png")
    assert read.read(tmp_path / "b.png").tolist() == [[15, 2]]


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    "palette",
    [RAMP, [(3, 3, 3)] * 256, voc_colours(), [(at, 255 - at, 77) for at in range(256)]],
    ids=["grey", "one colour", "voc", "a rainbow"],
)
def test_ids_under_a_palette_of_any_program_are_ids(name, palette, tmp_path):
    read = reader(name)
    ids = some_ids(read.classes)
    write_palette(tmp_path / "a.png", ids, palette)
    assert (read.read(tmp_path / "a.png") == read.classes.table[ids]).all()


def test_a_black_first_entry_among_unknown_colours_is_no_trace_of_the_set(tmp_path):
    # Black is CamVid's void, id 11, and the first colour of many palettes.
    write_palette(tmp_path / "a.png", [[0, 1, 2]], [(0, 0, 0), (1, 2, 3), (4, 5, 6)])
    assert reader("camvid").read(tmp_path / "a.png").tolist() == [[0, 1, 2]]


def test_train_ids_with_the_palette_of_train_ids_are_read_by_their_colours(tmp_path):
    read = reader("cityscapes")
    write_palette(tmp_path / "a.png", [[0, 18]], read.classes.palette)
    with pytest.warns(UserWarning, match="index 0 has the colour of road, id 7"):
        assert read.read(tmp_path / "a.png").tolist() == [[0, 18]]


@pytest.mark.parametrize(
    ("name", "colours"),
    [
        ("voc2012", [(0, 0, 0), (0, 128, 0), (9, 9, 200)]),  # one of the set's, one nobody's
        ("camvid", [(0, 0, 0)]),  # sky under any palette, or void alone
        ("ade20k", [(120, 120, 120)]),  # a shade that is an id, and a class's colour
    ],
)
def test_what_nothing_tells_is_refused(name, colours, tmp_path):
    write_palette(tmp_path / "a.png", [list(range(len(colours)))], colours)
    with pytest.raises(
        ValueError, match=r"a\.png has the colour .* nothing tells .* save the mask"
    ):
        reader(name).read(tmp_path / "a.png")


def test_a_palette_sorted_anew_with_a_colour_of_two_classes_is_refused_with_their_names(tmp_path):
    colours = [(0, 192, 64), (0, 64, 64)]
    write_palette(tmp_path / "a.png", [[0, 1]], colours)
    with pytest.raises(
        ValueError, match=r"its colour \(0, 192, 64\) is that of person and bicycle"
    ):
        reader("coco_stuff10k").read(tmp_path / "a.png")


def test_an_index_behind_the_palette_has_no_colour(tmp_path):
    write_palette(tmp_path / "a.png", [[0, 7]], [(0, 0, 0), *[(9, 9, 9)] * 4])
    assert reader("voc2012").read(tmp_path / "a.png").tolist() == [[0, 7]]


def test_colours_of_voc_are_those_of_the_set():
    classes = read_classes("voc2012")
    assert {at: voc_colours()[at] for at in classes.colours} == classes.colours


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("name", [name for name in SETS if name not in {"coco_stuff10k", "ade20k"}])
def test_a_painted_mask_is_read_by_the_palette_of_its_set(name, mode, tmp_path):
    read = reader(name, painted=True)
    ids = some_ids(read.classes)
    ids[(ids == 17) | (ids == 18)] = 0  # poles and groups of them have one colour in Cityscapes
    colours = np.array(full_palette(read.classes), np.uint8)[ids]
    Image.fromarray(colours).convert(mode).save(tmp_path / "a.png")
    assert (read.read(tmp_path / "a.png") == read.classes.table[ids]).all()


def test_a_colour_that_nobody_has_is_named_with_its_pixels(tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, :2] = 1, 2, 3
    Image.fromarray(pixels).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has colours that .*: \(1, 2, 3\) \(2 pixels\)"):
        reader("voc2012", painted=True).read(tmp_path / "a.png")


def test_a_colour_of_two_classes_is_refused(tmp_path):
    Image.fromarray(np.full((2, 2, 3), 140, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(
        ValueError, match=r"are those of several classes: \(140, 140, 140\) \(4 pix"
    ):
        reader("ade20k", painted=True).read(tmp_path / "a.png")


def test_ignored_pixels_in_the_colour_of_a_class_count_and_that_is_said(tmp_path):
    Image.fromarray(np.full((2, 2, 3), 153, np.uint8)).save(tmp_path / "a.png")
    with pytest.warns(UserWarning, match="paints polegroup, which is not evaluated, as pole"):
        label = reader("cityscapes", painted=True).read(tmp_path / "a.png")
    assert (label == 5).all()


def test_pixels_that_are_not_opaque_are_refused(tmp_path):
    Image.new("RGBA", (3, 2), (0, 0, 0, 128)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="has 6 pixels that are not opaque"):
        reader("voc2012", painted=True).read(tmp_path / "a.png")


def painted(tmp_path, listing, text, colours):
    (tmp_path / listing).write_text(text)
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.uint8([colours])).save(tmp_path / "masks/a.png")
    return tmp_path / "masks/a.png"


def test_a_list_of_classes_beside_the_folder_decides_by_their_names(tmp_path):
    text = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ndog:128,0,0::\nignored:9,9,9::\n"
    path = painted(tmp_path, "labelmap.txt", text, [(0, 0, 0), (128, 0, 0), (9, 9, 9)])
    assert reader("voc2012", painted=True).read(path).tolist() == [[0, 12, 255]]


@pytest.mark.parametrize("first", ["", "background:::\n"])
def test_a_list_without_colours_has_those_of_its_places(first, tmp_path):
    text = f"{first}dog:::\nperson:::\n"
    path = painted(tmp_path, "labelmap.txt", text, [(0, 0, 0), (128, 0, 0), (0, 128, 0)])
    assert reader("voc2012", painted=True).read(path).tolist() == [[0, 12, 15]]


def test_a_class_of_the_list_that_the_set_has_not_is_refused(tmp_path):
    text = "64 128 64 Animal\n192 192 128 Column_Pole\n"
    path = painted(tmp_path, "label_colors.txt", text, [(192, 192, 128), (64, 128, 64)])
    with pytest.raises(ValueError, match=r"not in .*label_colors\.txt .*: \(64, 128, 64\) \(1 pix"):
        reader("camvid", painted=True).read(path)


@pytest.mark.parametrize(
    ("name", "text", "outside"),
    [
        ("camvid", "128 0 0 building\n", 255),
        ("camvid", "building\n", 255),  # without colours, so that its place has VOC's first
        ("cityscapes", "building:128,0,0::\n", 255),
        ("coco_stuff10k", "person:128,0,0::\n", 255),  # whose own black is handbags
        ("voc2012", "dog:128,0,0::\nbackground:9,9,9::\n", 255),
    ],
)
def test_black_that_no_line_of_a_list_names_is_ignored_and_counted(name, text, outside, tmp_path):
    listing = "labelmap.txt" if ":" in text else "label_colors.txt"
    path = painted(tmp_path, listing, text, [(0, 0, 0), (128, 0, 0), (0, 0, 0)])
    with pytest.warns(UserWarning, match=rf"a\.png has 2 black pixels, and no line of .*{listing}"):
        label = reader(name, painted=True).read(path)
    assert label[0, [0, 2]].tolist() == [outside] * 2
    assert label[0, 1] != 255


@pytest.mark.parametrize("name", ["voc2012", "pascal_context"])
def test_it_is_the_background_where_that_is_a_class_of_the_set(name, tmp_path):
    path = painted(tmp_path, "labelmap.txt", "dog:1,1,1::\n", [(0, 0, 0), (1, 1, 1)])
    label = reader(name, painted=True).read(path)
    assert label.tolist() == [[0, read_classes(name).names.index("dog")]]


def test_black_of_a_class_that_the_set_has_not_is_refused(tmp_path):
    path = painted(tmp_path, "label_colors.txt", "0 0 0 Animal\n", [(0, 0, 0)])
    with pytest.raises(ValueError, match=r"not in .*label_colors\.txt .*: \(0, 0, 0\) \(1 pix"):
        reader("camvid", painted=True).read(path)


@pytest.mark.parametrize(
    "line", ["background", "Unlabelled", "VOID", "unlabeled", "ignore", "Ego_Vehicle"]
)
def test_lines_for_pixels_without_a_class_are_ignored(line, tmp_path):
    text = f"{line}:3,3,3::\nbuilding:128,0,0::\n"
    path = painted(tmp_path, "labelmap.txt", text, [(3, 3, 3), (128, 0, 0)])
    assert reader("cityscapes", painted=True).read(path).tolist() == [[255, 2]]


def test_a_list_decides_of_a_mask_that_was_given_a_palette_too(tmp_path):
    path = painted(tmp_path, "labelmap.txt", "dog:1,1,1::\nperson:128,0,0::\n", [(1, 1, 1)])
    write_palette(path, [[0, 1]], [(128, 0, 0), (1, 1, 1)])
    assert reader("voc2012", painted=True).read(path).tolist() == [[15, 12]]


def test_a_list_that_is_none_is_named_with_its_line(tmp_path):
    path = painted(tmp_path, "label_colors.txt", "1 2 a b\n", [(0, 0, 0)])
    with pytest.raises(ValueError, match=r"label_colors\.txt has the line '1 2 a b'"):
        reader("camvid", painted=True).read(path)


def test_a_set_of_palettes_says_nothing_of_what_it_reads_as_it_is(tmp_path):
    write_palette(tmp_path / "a.png", [[0, 20, 255]], voc_colours())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reader("voc2012").read(tmp_path / "a.png").tolist() == [[0, 20, 255]]
