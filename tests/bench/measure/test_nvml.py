"""NVML answers through a simulated library, and its absence."""

from types import SimpleNamespace

import pytest

from bench.measure import nvml
from bench.measure.nvml import Nvml, reason_names


class NVMLError(Exception):
    pass


def refuse(*_):
    raise NVMLError


def library(**answers):
    defaults = {
        "NVMLError": NVMLError,
        "NVML_CLOCK_SM": 1,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByIndex": lambda index: f"index {index}",
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetClockInfo": refuse,
        "nvmlDeviceGetCurrentClocksThrottleReasons": refuse,
        "nvmlDeviceGetComputeRunningProcesses": refuse,
        "nvmlSystemGetDriverVersion": refuse,
        "nvmlDeviceGetEnforcedPowerLimit": refuse,
        "nvmlDeviceGetMemoryInfo": refuse,
    }
    return SimpleNamespace(**{**defaults, **answers})


def test_without_a_driver_there_is_no_device():
    assert Nvml.open(library=library(nvmlInit=refuse)) is None


def test_an_unknown_uuid_is_no_device():
    assert Nvml.open("1234", library=library(nvmlDeviceGetHandleByUUID=refuse)) is None


@pytest.mark.parametrize("uuid", ["ab-12", "GPU-ab-12"])
def test_torchs_uuid_finds_the_device(uuid):
    assert Nvml.open(uuid, library=library()).handle == "GPU-ab-12"


def test_a_device_that_answers_nothing_gives_nothing():
    device = Nvml.open(library=library())
    assert device.handle == "index 0"
    assert device.sm_clock_mhz() is None
    assert device.throttle_reasons() == ()
    assert device.other_processes() is None
    assert device.memory_bytes() is None
    assert device.driver_version() is None
    assert device.power_limit_w() is None


def test_the_clock_of_the_multiprocessors_is_asked_for():
    clocks = {0: 900, 1: 1980, 2: 2619}
    device = Nvml.open(library=library(nvmlDeviceGetClockInfo=lambda _, which: clocks[which]))
    assert device.sm_clock_mhz() == 1980


@pytest.mark.parametrize(("running", "others"), [(0, None), (1, 0), (3, 2)])
def test_the_own_process_is_not_another(running, others):
    listed = [SimpleNamespace(pid=pid) for pid in range(running)]
    device = Nvml.open(library=library(nvmlDeviceGetComputeRunningProcesses=lambda _: listed))
    assert device.other_processes() == others


@pytest.mark.parametrize(("running", "others"), [(2, 0), (3, 1), (1, 0)])
def test_a_process_that_waits_for_this_one_is_not_another(monkeypatch, running, others):
    monkeypatch.setattr(nvml.waiting, "count", 1)
    listed = [SimpleNamespace(pid=pid) for pid in range(running)]
    device = Nvml.open(library=library(nvmlDeviceGetComputeRunningProcesses=lambda _: listed))
    assert device.other_processes() == others


def test_memory_is_what_is_free_and_all_that_there_is():
    seen = SimpleNamespace(free=7, total=9, used=2)
    device = Nvml.open(library=library(nvmlDeviceGetMemoryInfo=lambda _: seen))
    assert device.memory_bytes() == (7, 9)


def test_the_power_cap_is_in_watts():
    device = Nvml.open(library=library(nvmlDeviceGetEnforcedPowerLimit=lambda _: 700_000))
    assert device.power_limit_w() == 700


def test_idle_is_no_throttling():
    assert reason_names(0x1) == ()


def test_every_bit_set_is_named():
    assert reason_names(0x4 | 0x40) == ("power-cap", "hardware-thermal")
    assert reason_names(0x1000) == ("0x1000",)


def test_reasons_are_nvmls_own():
    pynvml = pytest.importorskip("pynvml")
    assert reason_names(pynvml.nvmlClocksThrottleReasonSwPowerCap) == ("power-cap",)
    assert reason_names(pynvml.nvmlClocksThrottleReasonHwSlowdown) == ("hardware-slowdown",)
    assert reason_names(pynvml.nvmlClocksThrottleReasonSwThermalSlowdown) == ("thermal",)
    assert reason_names(pynvml.nvmlClocksThrottleReasonHwThermalSlowdown) == ("hardware-thermal",)
    assert reason_names(pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown) == ("power-brake",)


def test_the_simulated_library_has_only_functions_of_the_real_one():
    pynvml = pytest.importorskip("pynvml")
    assert [name for name in vars(library()) if not hasattr(pynvml, name)] == []


@pytest.mark.gpu
def test_a_real_device_has_a_clock_and_a_driver():
    device = Nvml.open()
    if device is None:
        pytest.skip("NVML finds no NVIDIA GPU")
    assert device.sm_clock_mhz() > 0
    assert device.driver_version()
