"""Files of other tools are recognised by what is in them, and read with their own units."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports.gate import foreign_files
from tests.reports.gate import foreign


def read(folder, content, name="file.json"):
    return foreign_files.read_timings(foreign.write(folder / name, content))


def test_pytest_benchmark_has_seconds_and_samples(tmp_path):
    file = read(tmp_path, foreign.pytest_benchmark({"test_a": [0.002, 0.001, 0.003]}))
    reading = file.readings["tests/test_speed.py::test_a"]
    assert (file.tool, reading.samples_s) == ("pytest-benchmark", (0.002, 0.001, 0.003))
    assert (reading.time_s, reading.statistic, reading.device) == (0.002, "median", "here, A CPU")
    assert file.taken_at.isoformat() == "2026-01-02T03:04:05+00:00"


def test_pytest_benchmark_without_its_data_has_a_median_of_calls(tmp_path):
    file = read(tmp_path, foreign.pytest_benchmark({"test_a": [0.001] * 5}, data=False))
    (reading,) = file.readings.values()
    assert (reading.samples_s, reading.calls) == ((), 5)
    assert reading.deviation == pytest.approx(0.2)


def test_what_pytest_benchmark_itself_writes_is_read(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(benchmark):\n    benchmark(sum, [1, 2])\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    options = ["--benchmark-json=out.json", "--benchmark-max-time=0.01", "--benchmark-save-data"]
    # Inside a run that has several workers it would time nothing.
    variables = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    done = subprocess.run(
        [*command, *options], cwd=tmp_path, capture_output=True, check=False, env=variables
    )
    assert done.returncode == 0, done.stdout
    file = foreign_files.read_timings(tmp_path / "out.json")
    assert file.taken_at is not None
    ((name, reading),) = file.readings.items()
    assert name.endswith("test_it.py::test_it")
    assert 0 < min(reading.samples_s) <= reading.time_s


def test_nvbench_has_means_in_seconds_with_their_noise(tmp_path):
    file = read(tmp_path, foreign.nvbench({"T=U8": 2e-3}, skipped=["T=F64"]))
    reading = file.readings["copy Device=0 T=U8"]
    assert (file.tool, reading.time_s, reading.calls) == ("nvbench", 2e-3, 100)
    assert (reading.deviation, reading.device) == (0.01, "NVIDIA H200")
    assert file.readings["copy Device=0 T=F64"] == "skipped: too large"
    assert file.taken_at is None


@pytest.mark.parametrize("place", ["", "a.json-bin"])
def test_nvbench_has_samples_in_a_file_beside_it(tmp_path, place):
    (tmp_path / place).mkdir(exist_ok=True)
    foreign.write_floats(tmp_path / place / "0.bin", [0.5, 0.25, 1.0])
    name = str(Path(place) / "0.bin")
    file = read(tmp_path, foreign.nvbench({"T=U8": 1.0}, samples=(name, 3)))
    (reading,) = file.readings.values()
    assert (reading.samples_s, reading.time_s) == ((0.5, 0.25, 1.0), 0.5)


def test_nvbench_whose_samples_are_gone_has_its_mean(tmp_path):
    file = read(tmp_path, foreign.nvbench({"T=U8": 1.0}, samples=("gone.bin", 3)))
    (reading,) = file.readings.values()
    assert (reading.samples_s, reading.time_s) == ((), 1.0)


def test_samples_that_are_not_as_many_as_said_are_an_error(tmp_path):
    foreign.write_floats(tmp_path / "0.bin", [0.5, 0.25])
    with pytest.raises(ValueError, match=r"0.bin has 8 bytes and not 4 for each of 3 samples"):
        read(tmp_path, foreign.nvbench({"T=U8": 1.0}, samples=("0.bin", 3)))


def test_kernelbench_has_milliseconds_of_trials(tmp_path):
    file = read(tmp_path, foreign.kernelbench({"19_ReLU.py": 4.0}))
    reading = file.readings["level1/19_ReLU.py"]
    assert (file.tool, reading.time_s, reading.calls) == ("KernelBench", 0.004, 100)
    assert reading.deviation == pytest.approx(0.0025)
    assert reading.device == "NVIDIA H100 80GB HBM3"


def test_samples_of_kernelbench_stand_by_problem_and_number(tmp_path):
    file = read(tmp_path, foreign.kernelbench_samples([1.5, 1.6]))
    assert {name: reading.time_s for name, reading in file.readings.items()} == {
        "7/0": 0.0015,
        "7/1": 0.0016,
    }


def test_a_kernel_that_is_not_correct_has_no_time(tmp_path):
    with pytest.raises(ValueError, match="KernelBench's, without a time"):
        read(tmp_path, foreign.kernelbench_samples([1.5], correct=False))


def test_kernelbench_is_read_from_csv(tmp_path):
    file = read(tmp_path, foreign.KERNELBENCH_CSV, "file.csv")
    assert file.readings["1/19_ReLU.py"].time_s == pytest.approx(0.00427)


def test_tritonbench_has_latencies_in_milliseconds_and_no_average(tmp_path):
    file = read(tmp_path, foreign.TRITONBENCH_CSV, "op_softmax.csv")
    assert file.tool == "tritonbench"
    assert file.readings["x_val (256, 256), fast-one"].time_s == 0.00025
    assert file.readings["x_val (512, 512), fast-one"] == "no latency: CUDA out of memory"
    assert len(file.readings) == 4


@pytest.mark.parametrize("wrapped", [False, True])
def test_metrics_of_tritonbench_are_read_by_input_and_provider(tmp_path, wrapped):
    metrics = foreign.tritonbench({"naive": "0.5", "fast": 0.25})
    file = read(tmp_path, {"name": "softmax", "metrics": metrics} if wrapped else metrics)
    assert {name: reading.time_s for name, reading in file.readings.items()} == {
        "softmax_fwd[x_256-naive]": 0.0005,
        "softmax_fwd[x_256-fast]": 0.00025,
    }


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"a": {"b": 1}}', "a,b\n1,2\n", "[" * 5000])
def test_a_file_of_nobody_is_an_error_that_says_what_is_read(tmp_path, content):
    with pytest.raises(
        ValueError, match="none of the files that are read: pytest-benchmark's JSON"
    ):
        read(tmp_path, content)


@pytest.mark.parametrize("time", [0, -1, "nan", None])
def test_a_time_that_is_none_is_an_error_that_names_the_benchmark(tmp_path, time):
    with pytest.raises(ValueError, match=r"file.json: level1/19_ReLU.py: .* is no time"):
        read(tmp_path, foreign.kernelbench({"19_ReLU.py": time or 0}))


def test_a_file_that_lacks_a_field_is_an_error_that_names_it(tmp_path):
    content = foreign.pytest_benchmark({"test_a": [0.001]})
    del content["benchmarks"][0]["stats"]
    with pytest.raises(ValueError, match="looks like pytest-benchmark's, and is not .*'stats'"):
        read(tmp_path, content)


def test_bytes_are_no_file_of_a_tool(tmp_path):
    (tmp_path / "file.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not text"):
        foreign_files.read_timings(tmp_path / "file.json")


def test_the_gates_own_export_is_of_processes(tmp_path):
    content = foreign.pytest_benchmark({"cell": [0.001] * 9}, project="bench.regress")
    (reading,) = read(tmp_path, json.loads(json.dumps(content))).readings.values()
    assert reading.of_processes


WHOLE = (
    foreign.pytest_benchmark({"a": [1.0, 2.0]}),
    foreign.pytest_benchmark({"a": [1.0, 2.0]}, data=False),
    foreign.nvbench({"a": 1e-3}, samples=("0.bin", 3), skipped=["b"]),
    foreign.kernelbench({"a.py": 4.0}),
    foreign.kernelbench_samples([1.0]),
    foreign.tritonbench({"a": 1.0}),
)


def places(content, above=()):
    """The way to every part of a JSON document."""
    if isinstance(content, dict | list):
        keys = content if isinstance(content, dict) else range(len(content))
        for key in keys:
            yield (*above, key)
            yield from places(content[key], (*above, key))


def damaged(content, place, value):
    copy = json.loads(json.dumps(content))
    inner = copy
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return copy


@pytest.mark.parametrize("content", WHOLE)
@pytest.mark.parametrize("value", [None, {}, "x", float("inf"), [0]], ids=str)
def test_a_damaged_file_is_read_or_is_an_error_of_one_line(tmp_path, content, value):
    foreign.write_floats(tmp_path / "0.bin", [0.5, 0.25, 1.0])
    errors = []
    for place in places(content):
        try:
            read(tmp_path, damaged(content, place, value))
        except ValueError as error:  # each file of its own
            errors.append(str(error))
    assert all(error.startswith(str(tmp_path)) for error in errors)
