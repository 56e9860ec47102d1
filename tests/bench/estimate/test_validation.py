"""Timings of others: how files are read, what is fitted to them, and errors of 200 kernels that are kept here."""

import gzip
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench.estimate import errors_of, fit_all, fitted_table, left_out_errors, read_timings
from bench.estimate.errors import intervals
from bench.estimate.fit import fit
from bench.estimate.kernels import COEFFICIENTS, coefficients, kernel_model
from bench.estimate.times import estimated, floor_s, reached_ceilings

FOLDER = Path(__file__).with_name("kernels")
# Where all kernels lie that the kept coefficients were fitted to; see docs/estimates.md.
TIMINGS = os.environ.get("ANN_TIMINGS", "")


@pytest.fixture(scope="module")
def kernels():
    return read_timings(FOLDER)


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(FOLDER, tmp_path / "kernels")


def errors(rows, device="all"):
    return {row.of: row for row in rows if row.device == device}


def test_every_device_has_every_class(kernels):
    assert len(kernels) == 5 * 6
    assert sum(map(len, kernels)) == 200


def test_what_is_summed_over_is_in_column_n(kernels):
    (group,) = (
        group for group in kernels if (group.device.title, group.of) == ("V100 PCIe", "bmm")
    )
    # The first row is of 384 products of 128 x 64 and 64 x 128.
    assert [getattr(group.products, name)[0] for name in ("batch", "rows", "columns", "depth")] == [
        *(384, 128, 128, 64)
    ]


def test_errors_of_the_kept_kernels_are_these(kernels):
    rows = errors(errors_of(kernels))
    assert {name: round(100 * row.mean, 1) for name, row in rows.items()} == {
        "bmm": pytest.approx(12.3, abs=0.3),
        "linear": pytest.approx(13.0, abs=0.3),
        "convolution": pytest.approx(22.9, abs=0.5),
        "softmax": pytest.approx(12.6, abs=0.3),
        "layer norm": pytest.approx(7.8, abs=0.3),
        "element-wise": pytest.approx(2.2, abs=0.2),
    }


def test_no_floor_is_above_a_measurement(kernels):
    assert all(row.above == 0 for row in errors_of(kernels))
    assert all((floor_s(group) <= group.measured_s).all() for group in kernels)


@pytest.mark.parametrize(
    ("taps", "stride", "share"), [(1, 1, 1), (3, 1, 1 / 4), (3, 2, 1), (7, 1, 2 / 49), (7, 2, 1)]
)
def test_floors_of_convolutions_leave_out_what_quicker_ways_save(folder, taps, stride, share):
    (folder / "products.csv").unlink()
    (folder / "rows.csv").unlink()
    head = "device,batch,in_channels,out_channels,kernel_size,input_size,stride,padding,latency_ms"
    row = f"Tesla T4,32,512,512,{taps},57,{stride},3,9.0"
    (folder / "convolutions.csv").write_text(f"{head}\n{row}\n")
    (group,) = read_timings(folder)
    (floor,) = floor_s(group)
    assert floor == pytest.approx(share * group.products.flops[0] / 8.141e12)


def test_the_datasheet_alone_is_further_off(kernels):
    for row in errors(errors_of(kernels)).values():
        assert row.mean < row.floor_mean, row.of


def test_nine_in_ten_lie_in_the_interval(kernels):
    rows = errors(errors_of(kernels))
    covered = sum(row.covered * row.kernels for row in rows.values()) / 200
    assert 0.85 <= covered <= 0.97


def test_fitting_to_the_kept_kernels_gives_these_coefficients(kernels):
    model = fit(kernels)
    pinned = {
        "copy_stacked": 0.8912,
        "copy_other": 0.7738,
        "softmax_long": 0.880,
        "norm": 0.967,
        "product_share": 0.909,
        "work_per_joule": 5.70e10,
        "long_s_per_flop": 3.31e-13,
        "winograd": 0.549,
    }
    assert {name: model[name] for name in pinned} == pytest.approx(pinned, rel=0.01)


def test_what_is_not_fitted_stays(kernels):
    model, kept = fit(kernels[-3:]), kernel_model()
    for name, item in coefficients().items():
        if item.source.startswith("not fitted") or item.of in ("products", "convolution"):
            assert model[name] == kept[name], name


def test_a_device_that_is_left_out_has_no_part_in_its_estimate(kernels):
    chosen = [group for group in kernels if group.of == "element-wise"]
    slower = [
        group
        if group.device.title != "T4"
        else type(group)(
            device=group.device,
            of=group.of,
            measured_s=3 * group.measured_s,
            moved_bytes=group.moved_bytes,
            rows=group.rows,
            columns=group.columns,
        )
        for group in chosen
    ]
    (before,), (after,) = (left_out_errors(rows, ["T4"]) for rows in (chosen, slower))
    assert before.left_out
    assert before.bias == pytest.approx(3 * (after.bias + 1) - 1, abs=1e-6)


def test_a_device_is_left_out_by_any_of_its_names(kernels):
    chosen = [group for group in kernels if group.of == "element-wise"]
    for name in ("Tesla T4", "t4"):
        assert {row.device for row in left_out_errors(chosen, [name])} == {"T4"}


def test_intervals_come_from_the_other_devices(kernels):
    chosen = [group for group in kernels if group.of == "element-wise"]
    models = {group.device.title: kernel_model() for group in chosen}
    every, others = intervals(chosen, models), intervals(chosen, models, without="T4")
    assert every != others
    assert every["low element-wise"] < 1 < every["high element-wise"]


def test_ceilings_are_of_the_best_product_and_the_best_copy(kernels):
    own = [group for group in kernels if group.device.title == "A100 PCIe 80 GB"]
    reached = reached_ceilings(own)
    assert 0.8 * 19.5e12 < reached.products["float32"] < 19.5e12
    assert 0.8 * 1935e9 < reached.bandwidth < 1935e9
    assert reached_ceilings([group for group in own if group.of == "bmm"]) is None


def test_the_table_that_is_written_is_the_table_that_is_read(kernels):
    kept = coefficients()["copy_stacked"].source
    assert fitted_table(kernel_model(), kept) == COEFFICIENTS.read_text(encoding="utf-8")


@pytest.mark.skipif(not TIMINGS, reason="ANN_TIMINGS names no folder of all kernels")
def test_fitting_to_all_kernels_gives_the_kept_coefficients():
    model, _ = fit_all(read_timings(Path(TIMINGS)))
    assert model == pytest.approx(kernel_model(), rel=0.02)


def test_an_unknown_device_goes_by_the_numbers_of_its_file(folder):
    entries = json.loads((folder / "devices.json").read_text())
    for entry in entries:
        entry["Device"] = entry["Device"].replace("Tesla T4", "Abacus 9")
    (folder / "devices.json").write_text(json.dumps(entries))
    rows = (folder / "rows.csv").read_text()
    (folder / "rows.csv").write_text(rows.replace("Tesla T4", "Abacus 9"))
    (folder / "products.csv").unlink()
    (folder / "convolutions.csv").unlink()
    groups = [group for group in read_timings(folder) if group.device.title == "Abacus 9"]
    assert {group.of for group in groups} == {"softmax", "layer norm", "element-wise"}
    assert all(np.isfinite(estimated(group, kernel_model()).time_s).all() for group in groups)


def change(path, before, after):
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


@pytest.mark.parametrize(
    ("file", "before", "after", "message"),
    [
        (
            "rows.csv",
            "latency_ms",
            "seconds",
            "rows.csv' lacks latency_ms; it has to have device, ",
        ),
        (
            "rows.csv",
            "Tesla T4",
            "Tesla T5",
            "unknown device 'Tesla T5'; did you mean 'Tesla T4'. allowed are ",
        ),
        (
            "rows.csv",
            ",softmax,",
            ",sofmax,",
            "unknown operator 'sofmax'; did you mean 'softmax'. allowed are softmax, ",
        ),
        (
            "products.csv",
            ",bmm,384,",
            ",bmm,many,",
            "line 2: batch is 'many'; write a positive number",
        ),
        (
            "products.csv",
            ",bmm,384,",
            ",bmm,-4,",
            "line 2: batch is '-4'; write a positive number",
        ),
        (
            "devices.json",
            '"Mem_Bw"',
            '"Bandwidth"',
            "can't be read .KeyError: 'Mem_Bw'.; it is a list",
        ),
        ("devices.json", '"Num_Sm": 80', '"Num_Sm": 0', "Mem_Bw, .* have to be positive"),
        ("devices.json", '"Num_Sm": 80', '"Num_Sm": 0.5', "Mem_Bw, .* have to be positive"),
        ("devices.json", '"Num_Sm": 80', '"Num_Sm": Infinity', "Mem_Bw, .* have to be positive"),
        ("devices.json", '"Tesla T4"', "5", "TypeError: Device is 5, which is no text"),
        ("devices.json", '"Tesla T4"', '"Tesla P4"', "has 'Tesla P4' more than once; leave one"),
        (
            "convolutions.csv",
            "38,893,326,3,5,1,1,",
            "38,893,326,9,5,1,1,",
            "convolutions, line 2: its kernel is larger than its padded map",
        ),
        ("devices.json", "[", "", "devices.json' can't be read .JSONDecodeError"),
    ],
)
def test_a_wrong_file_is_one_clear_line(folder, file, before, after, message):
    change(folder / file, before, after)
    with pytest.raises(ValueError, match=message) as caught:
        read_timings(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_without_timings_says_what_it_takes(tmp_path):
    with pytest.raises(ValueError, match=r"has no timings; give a folder with any of products.csv"):
        read_timings(tmp_path)


def test_a_file_and_its_compressed_copy_are_not_counted_twice(folder):
    (folder / "rows.csv.gz").write_bytes(gzip.compress((folder / "rows.csv").read_bytes()))
    with pytest.raises(ValueError, match=r"rows.csv and rows.csv.gz would both be read as rows"):
        read_timings(folder)


def test_columns_without_rows_are_no_timings(folder):
    for path in folder.glob("*.csv"):
        path.write_text(path.read_text().partition("\n")[0] + "\n")
    with pytest.raises(ValueError, match="has no rows beneath its columns; write a row"):
        read_timings(folder)


def test_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere' is not there; give a folder of timings"):
        read_timings(tmp_path / "nowhere")


def test_timings_without_devices_say_what_is_missing(folder):
    (folder / "devices.json").unlink()
    with pytest.raises(ValueError, match="has no devices.json, which says what the devices are"):
        read_timings(folder)


def test_a_single_device_has_nothing_to_be_left_out_of(kernels):
    own = [group for group in kernels if group.device.title == "T4"]
    with pytest.raises(ValueError, match="T4 alone has rows, so that nothing is left to fit to"):
        left_out_errors(own)


def test_a_device_without_rows_cannot_be_left_out(kernels):
    with pytest.raises(ValueError, match="unknown device 'H100'; allowed are A100"):
        left_out_errors(kernels, ["H100"])
