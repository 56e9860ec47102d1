"""The qualitative figure, from the files that trainings leave."""

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from bench.records.files import append_line
from reports import __main__ as command
from reports import report
from reports.model import frame
from reports.render import html
from reports.training import predictions as sheets
from reports.training import qualitative

SHAPE = (48, 96)
PALETTE = np.array([[128, 64, 128], [70, 130, 180], [0, 0, 142], [0, 130, 240]], np.uint8)
NETWORKS = ("baseline", "nb", "apnb", "afnb+apnb")
SVG = "{http://www.w3.org/2000/svg}"


def arrays(seed=0, images=2, **changed):
    """A wall of class 0 and a car of class 2 at the right; the upper rows are not labelled."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((images, *SHAPE), np.uint8)
    labels[:, 20:36, 60:90] = 2
    labels[:, :4] = 255
    predictions = np.where(labels == 255, 0, labels).astype(np.uint8)
    shown = rng.integers(0, 256, size=(images, 3, *SHAPE)).astype(np.uint8)
    return {
        "images": shown,
        "labels": labels,
        "predictions": predictions,
        "palette": PALETTE,
    } | changed


def wrong_car(images=2):
    found = arrays(images=images)["predictions"]
    found[:, 20:36, 60:90] = 3
    return found


@pytest.fixture
def folder(make, tmp_path):
    """Records of Table 6 with the pictures of four networks; the baseline takes the car for another."""
    for name in NETWORKS:
        for seed in (0, 1, 2):
            cell = f"{name.replace('+', '-')}-{seed}"
            record = make.training("table6", {"network": f"paper/{name}"}, seed, 50.0 + seed)
            append_line(tmp_path / "records.jsonl", record.model_copy(update={"cell": cell}))
    (tmp_path / "pictures").mkdir()
    for name in NETWORKS:
        leave(tmp_path, name)
    leave(tmp_path, "baseline", predictions=wrong_car())
    return tmp_path


def leave(folder, name, seed=0, **changed):
    path = folder / "pictures" / f"{name.replace('+', '-')}-{seed}.npz"
    np.savez(path, **arrays(**changed))
    return path


def drawn(folder):
    from bench.records.record import read_records

    return qualitative.qualitative_figures(frame.build_frame(read_records(folder)), folder)


def test_the_rows_are_images_and_the_columns_input_truth_and_networks(folder):
    (figure,) = drawn(folder)
    svg = ET.fromstring(figure.svg)
    heads = [node.text for node in svg.iter(f"{SVG}text")][:6]
    assert heads == ["input", "truth", "baseline", "nb", "apnb", "full"]
    places = [
        node.get("transform").split("(")[1].split(" ")
        for node in svg.iter(f"{SVG}g")
        if node.find(f"{SVG}image") is not None
    ]
    assert len({tuple(place) for place in places}) == len(places) == 12
    assert len({y for _, y in places}) == 2


def pixels(uri):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_the_pictures_are_in_the_figure_to_the_pixel(folder):
    (figure,) = drawn(folder)
    shown = [pixels(n.get("href")) for n in ET.fromstring(figure.svg).iter(f"{SVG}image")]
    expected = arrays()
    np.testing.assert_array_equal(shown[0], expected["images"][0].transpose(1, 2, 0))
    truth = np.vstack([PALETTE, np.zeros((252, 3), np.uint8)])[expected["labels"][0]]
    np.testing.assert_array_equal(shown[1], truth)
    assert tuple(shown[2][30, 70]) == tuple(PALETTE[3])


def test_a_png_is_what_others_read():
    wanted = np.random.default_rng(1).integers(0, 256, size=(7, 5, 3)).astype(np.uint8)
    np.testing.assert_array_equal(pixels(qualitative.data_uri(wanted)), wanted)


def test_a_large_picture_is_thinned_out():
    large = np.zeros((1024, 2048, 3), np.uint8)
    assert max(pixels(qualitative.data_uri(large)).shape) <= qualitative.LARGEST_SIDE


def test_a_ring_is_drawn_round_the_region_in_which_the_networks_differ():
    right, label = arrays()["predictions"][0], arrays()["labels"][0]
    (ring,) = sheets.rings([right, wrong_car()[0]], label)
    assert (ring.x, ring.y) == (75, 28)
    corner = ((90 - ring.x) / ring.across) ** 2 + ((36 - ring.y) / ring.down) ** 2
    assert corner <= 1
    assert ring.share == pytest.approx(16 * 30 / (48 * 96))


def test_networks_that_agree_have_no_rings():
    found = arrays()
    assert sheets.rings([found["predictions"][0]] * 4, found["labels"][0]) == ()


def test_what_is_not_labelled_is_not_ringed():
    right, label = arrays()["predictions"][0], arrays()["labels"][0]
    other = right.copy()
    other[:4] = 1
    assert sheets.rings([right, other], label) == ()


def test_borders_and_specks_are_not_ringed():
    right, label = arrays()["predictions"][0], arrays()["labels"][0]
    other = right.copy()
    other[10:40, 5:7] = 1
    other[40, 40] = 1
    assert sheets.rings([right, other], label) == ()


def test_the_largest_regions_come_first_and_no_more_than_three():
    label = np.zeros((60, 60), np.uint8)
    other = label.copy()
    for at, side in enumerate((5, 9, 7, 11)):
        other[at * 15 : at * 15 + side, 10 : 10 + side] = 1
    found = sheets.rings([label, other], label)
    assert [round(ring.share * 3600) for ring in found] == [121, 81, 49]


def test_every_picture_of_a_row_has_the_ring_at_its_place(folder):
    (figure,) = drawn(folder)
    panels = list(ET.fromstring(figure.svg).iter(f"{SVG}g"))
    assert len(panels) == 12
    for panel in panels:
        middles = [float(ring.get("cx")) for ring in panel.iter(f"{SVG}ellipse")]
        assert middles == pytest.approx([75 * qualitative.WIDTH / 96] * 2)


def test_a_ring_is_no_larger_than_its_picture():
    label = np.zeros(SHAPE, np.uint8)
    (ring,) = sheets.rings([label, label + 1], label)
    assert (ring.across, ring.down) == (SHAPE[1] / 2, SHAPE[0] / 2)


def test_the_alternative_says_what_is_to_be_seen(folder):
    (figure,) = drawn(folder)
    assert figure.alternative.startswith("2 validation images, each as input, as truth and as base")
    # The car is 480 of the 4224 labelled pixels.
    assert "Image 1: right are baseline 89 %, nb 100 %, apnb 100 %, full 100 %; ringed 10.4 %" in (
        figure.alternative
    )


def test_the_numbers_are_shares_of_labelled_pixels(folder):
    (figure,) = drawn(folder)
    right = 1 - 480 / (48 * 96 - 4 * 96)
    assert figure.data.rows[0] == (
        "image 1",
        *(pytest.approx(v) for v in (right, 1, 1, 1, 1 - right)),
        1,
    )


def test_classes_that_are_seen_have_a_legend(folder):
    (figure,) = drawn(folder)
    said = [node.text for node in ET.fromstring(figure.svg).iter(f"{SVG}text")][6:]
    assert said == ["road", "waiting", "driving"]


def test_the_seed_with_most_networks_is_shown(folder):
    for name in NETWORKS:
        leave(folder, name, seed=2)
    (folder / "pictures" / "nb-0.npz").unlink()
    assert "(seed 2)" in drawn(folder)[0].alternative


def test_a_network_without_pictures_is_named(folder):
    (folder / "pictures" / "nb-0.npz").unlink()
    (figure,) = drawn(folder)
    assert "Without nb: no pictures of it." in figure.alternative


def test_fewer_than_two_networks_make_no_figure(folder):
    for name in NETWORKS[1:]:
        (folder / "pictures" / f"{name.replace('+', '-')}-0.npz").unlink()
    assert drawn(folder) == ()


def test_no_pictures_make_no_figure(make, tmp_path):
    assert qualitative.qualitative_figures(frame.build_frame(make.table6()), tmp_path) == ()


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_torn_file_is_named_and_the_others_are_shown(folder, keep):
    path = folder / "pictures" / "apnb-0.npz"
    path.write_bytes(path.read_bytes()[:keep])
    (figure,) = drawn(folder)
    assert "Without apnb: apnb-0.npz can't be read" in figure.alternative
    assert len(figure.data.rows[0]) == 6


def test_one_network_that_can_be_read_is_no_figure(folder):
    for path in sorted((folder / "pictures").iterdir())[1:]:
        path.write_bytes(b"torn")
    assert drawn(folder) == ()


def test_arrays_of_another_form_are_named(folder):
    leave(folder, "nb", predictions=np.zeros((2, 5, 5), np.uint8))
    assert "Without nb: nb-0.npz has images (2, 3, 48, 96)" in drawn(folder)[0].alternative


def test_a_file_of_another_kind_is_named(folder):
    with (folder / "pictures" / "nb-0.npz").open("wb") as file:
        np.save(file, PALETTE)
    assert "Without nb: nb-0.npz can't be read" in drawn(folder)[0].alternative


def test_objects_are_never_unpickled(folder):
    path = folder / "pictures" / "nb-0.npz"
    np.savez(path, **arrays() | {"palette": np.array([{}], dtype=object)})
    assert "Without nb: nb-0.npz can't be read" in drawn(folder)[0].alternative


def test_other_images_are_not_set_beside_these(folder):
    leave(folder, "apnb", seed=0)
    np.savez(folder / "pictures" / "apnb-0.npz", **arrays(seed=9))
    assert "Without apnb: apnb-0.npz shows other images" in drawn(folder)[0].alternative


def test_class_names_stay_text(make, folder):
    text = '<script>alert("1")</script>'
    (folder / "records.jsonl").unlink()
    for name in NETWORKS:
        record = make.training(
            "table6", {"network": f"paper/{name}"}, 0, 50.0, accuracy={"classes": (text,) * 4}
        )
        cell = f"{name.replace('+', '-')}-0"
        append_line(folder / "records.jsonl", record.model_copy(update={"cell": cell}))
    (figure,) = drawn(folder)
    assert html.report_page([], [figure]).count("<script") == 1  # the page's own
    assert [n.text for n in ET.fromstring(figure.svg).iter(f"{SVG}text")][6] == text


def test_the_page_carries_the_pictures_in_itself(folder, tmp_path):
    out = tmp_path / "out"
    assert command.main([str(folder), "--out", str(out), "--format", "html"]) == 0
    page = (out / "index.html").read_text()
    links = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert all(link.startswith(("#", "records.html#", "data:image/png;base64,")) for link in links)
    assert sum(link.startswith("data:") for link in links) == 12
    assert (out / "pictures-table6-scenes-quick.svg").exists()


def test_the_same_files_draw_the_same_bytes(folder):
    assert drawn(folder)[0].svg == drawn(folder)[0].svg


def test_figures_without_a_folder_have_no_pictures(make):
    names = [figure.name for figure in report.report_figures(frame.build_frame(make.table6()))]
    assert names == ["costs-table6-scenes-quick"]
