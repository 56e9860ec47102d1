"""Known devices; the peaks of the H200 are those of the reference on measuring (section 5)."""

import pytest

from bench.analysis import devices
from bench.analysis.devices import DEVICES

TERA = 10**12


def test_the_devices_of_the_documents_are_known():
    assert devices.USUAL_DEVICES == ("titan-xp", "v100", "a100-40gb", "a100-80gb", "h100", "h200")
    assert {*devices.USUAL_DEVICES} < {*DEVICES}


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_a_device_has_what_an_estimate_needs(device):
    assert device.chip.multiprocessors > 0
    assert device.chip.watts > 0
    assert device.ceilings.l2_bytes > 2**20


def test_float32_is_two_operations_a_core_and_clock():
    # Cores of the white papers; clocks in MHz, boost.
    clocks = {
        "h100": (16896, 1980),
        "a100-40gb": (6912, 1410),
        "l4": (7424, 2040),
        "t4": (2560, 1590),
    }
    for name, (cores, megahertz) in clocks.items():
        stated = DEVICES[name].ceilings.products["float32"]
        assert stated == pytest.approx(2 * cores * megahertz * 1e6, rel=0.01), name


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_a_device_says_where_its_numbers_stand(device):
    assert device.source.startswith("NVIDIA, ")
    assert 2016 <= int(device.source.partition(";")[0][-4:]) < 2026


def test_peaks_are_of_dense_matrices():
    peaks = DEVICES["h200"].ceilings.products
    assert (peaks["float32"], peaks["tf32"]) == (67 * TERA, 494.5 * TERA)
    assert peaks["bfloat16"] < 1000 * TERA < 1979 * TERA


def test_what_an_h200_was_seen_to_reach_is_below_its_datasheet():
    stated = DEVICES["h200"].ceilings
    assert 4.3 * TERA < stated.bandwidth == 4.8 * TERA
    assert stated.products["bfloat16"] > 790 * TERA


@pytest.mark.parametrize("name", ["titan-xp", "v100"])
def test_tf32_and_bfloat16_came_with_ampere(name):
    assert not {"tf32", "bfloat16"} & DEVICES[name].ceilings.products.keys()


def test_a_device_is_found_by_its_key():
    assert devices.find_device("h200").title == devices.find_device("H200").title == "H200 SXM"


def test_an_unknown_device_gets_the_nearest_and_all():
    with pytest.raises(
        ValueError, match="unknown device 'H20'; did you mean 'h200'. allowed are tit"
    ):
        devices.find_device("H20")


def test_a_name_that_is_near_none_gets_all():
    with pytest.raises(ValueError, match="unknown device 'tpu'; allowed are titan-xp, .*h200, "):
        devices.find_device("tpu")


@pytest.mark.parametrize("reported", ["NVIDIA H200", "Titan Xp", "Tesla V100-SXM2-32GB"])
def test_a_device_is_recognised_by_what_torch_or_a_document_calls_it(reported):
    assert reported in devices.recognise_device(reported).reported


@pytest.mark.parametrize("reported", ["Intel(R) Xeon(R)", "", None])
def test_others_are_not_recognised(reported):
    assert devices.recognise_device(reported) is None


def test_no_two_devices_share_a_reported_name():
    names = [name for device in DEVICES.values() for name in device.reported]
    assert len(names) == len(set(names))


def test_of_several_that_begin_so_the_first_is_meant():
    with pytest.raises(ValueError, match="unknown device 'A100'; did you mean 'a100-40gb'"):
        devices.find_device("A100")
