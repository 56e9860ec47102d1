"""The environment says what makes readings comparable, and nothing about who or where."""

import getpass
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bench.measure import nvml as clocks
from bench.run import environment
from bench.run.environment import available_bytes, commit, describe, fingerprint, processor_name

torch = pytest.importorskip("torch")

GIB = 2**30


@pytest.fixture(scope="module")
def here():
    return describe("cpu")


@pytest.fixture(autouse=True)
def _settings_stay_as_they_were():
    threads, precision = torch.get_num_threads(), torch.backends.cuda.matmul.fp32_precision
    yield
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.fp32_precision = precision


def test_versions_are_those_that_run(here):
    assert here.torch == torch.__version__
    assert here.python == platform.python_version()
    assert here.packages["numpy"]


def test_the_processor_is_named(here):
    assert here.device_name
    assert here.device_name == processor_name()


def test_the_model_name_is_read_from_the_kernels_list(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nmodel name\t: Intel(R)  Xeon(R) CPU @ 2.10GHz\n")
    assert processor_name(listing) == "Intel(R) Xeon(R) CPU @ 2.10GHz"


def test_without_a_list_the_architecture_stands_in(tmp_path):
    assert processor_name(tmp_path / "none") in {platform.processor(), platform.machine()}


def test_neither_names_nor_paths_are_told(here):
    text = here.model_dump_json()
    for private in (platform.node(), str(Path.home()), str(environment.ROOT)):
        assert private not in text
    assert f'"{getpass.getuser()}"' not in text


def test_the_precision_of_products_and_convolutions_is_told(here):
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    told = describe("cpu").flags
    assert told["matmul_precision"] == "tf32"
    assert told["conv_precision"] == here.flags["conv_precision"]


def test_variables_of_the_allocator_are_told(monkeypatch):
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    assert describe("cpu").flags["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"


def test_the_fingerprint_is_the_same_twice(here):
    assert fingerprint(describe("cpu")) == fingerprint(here)
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(here))


@pytest.mark.parametrize(
    "change",
    [
        {"device": "meta"},
        {"device_name": "NVIDIA H200"},
        {"torch": "2.11.0"},
        {"driver": "570.86"},
        {"threads": 97},
        {"flags": {"matmul_precision": "tf32"}},
    ],
)
def test_the_fingerprint_changes_with(here, change):
    assert fingerprint(here.model_copy(update=change)) != fingerprint(here)


@pytest.mark.parametrize(
    "change", [{"load_average": 77.0}, {"commit": "0" * 40}, {"memory_bytes": 1}, {"packages": {}}]
)
def test_the_fingerprint_does_not_change_with(here, change):
    assert fingerprint(here.model_copy(update=change)) == fingerprint(here)


def test_a_patch_of_the_driver_does_not_change_the_fingerprint_but_another_branch_does(here):
    first, patch, branch = (
        fingerprint(here.model_copy(update={"driver": driver}))
        for driver in ("580.159.03", "580.159.04", "590.1")
    )
    assert first == patch != branch


def test_the_number_of_threads_changes_the_fingerprint_for_real(here):
    torch.set_num_threads(here.threads + 1)
    assert fingerprint(describe("cpu")) != fingerprint(here)


def test_a_folder_without_git_has_no_commit(tmp_path):
    assert commit(tmp_path) is None


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_a_checkout_tells_its_commit_and_whether_it_changed(tmp_path):
    def git(*arguments):
        name = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(
            ["git", *name, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    git("init", "-q")
    assert commit(tmp_path) is None
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    head = git("rev-parse", "HEAD")
    assert commit(tmp_path) == head
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path) == f"{head}-dirty"


def test_available_bytes_are_at_most_the_machines():
    for device in ("cpu", "meta"):
        assert 0 < available_bytes(device) <= psutil.virtual_memory().total


def group(folder, **files):
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_a_control_groups_limit_counts_without_the_cache_it_can_drop(tmp_path):
    (tmp_path / "self").write_text("0::/job\n")
    group(
        tmp_path / "job",
        memory__max="1000\n",
        memory__current="600\n",
        memory__stat="anon 400\ninactive_file 150\n",
    )
    assert environment.cgroup_limits(tmp_path, tmp_path / "self") == [(1000, 450)]


def test_a_control_group_of_version_1_counts_too(tmp_path):
    (tmp_path / "self").write_text("4:memory:/job\n3:cpu:/\n0::/\n")
    group(
        tmp_path / "memory" / "job",
        memory__limit_in_bytes="1000",
        memory__usage_in_bytes="600",
        memory__stat="total_inactive_file 100\n",
    )
    assert environment.cgroup_limits(tmp_path, tmp_path / "self") == [(1000, 500)]


def test_a_control_group_without_a_limit_limits_nothing(tmp_path):
    (tmp_path / "self").write_text("0::/\n")
    group(tmp_path / "top", memory__max="max", memory__current="6", memory__stat="")
    assert environment.cgroup_limits(tmp_path / "top", tmp_path / "self") == []


def test_a_control_groups_limit_bounds_what_is_available(monkeypatch):
    monkeypatch.setattr(environment, "cgroup_limits", lambda: [(10_000, 4_000)])
    assert available_bytes("cpu") == 6_000
    assert describe("cpu").memory_bytes == 10_000


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("ask", [describe, available_bytes])
def test_cuda_without_a_gpu_names_the_way_out(ask):
    with pytest.raises(ValueError, match="torch finds no NVIDIA GPU; pass cpu or meta"):
        ask("cuda")


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of 80 GiB that torch knows, without a context; which bytes NVML tells can be set."""
    seen = SimpleNamespace(uuid="a", total_memory=80 * GIB)
    answers = {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "get_device_properties": lambda _: seen,
        "memory_reserved": lambda: 3,
        "memory_allocated": lambda: 1,
        "mem_get_info": lambda: (7 * GIB, 80 * GIB),
    }
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, answer)

    def tell(memory_bytes):
        nvml = memory_bytes and SimpleNamespace(memory_bytes=lambda: memory_bytes)
        monkeypatch.setattr(clocks.Nvml, "open", lambda *_: nvml)

    return tell


def test_free_bytes_of_a_gpu_are_asked_without_making_a_context(gpu, monkeypatch):
    gpu((60 * GIB, 81 * GIB))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: pytest.fail("that makes a context"))
    assert available_bytes("cuda") == 60 * GIB + 2


@pytest.mark.parametrize("told", [None, (600 * GIB, 640 * GIB)])
def test_of_a_part_of_a_gpu_and_without_nvml_cuda_is_asked(gpu, told):
    gpu(told)
    assert available_bytes("cuda") == 7 * GIB + 2


def test_importing_the_probes_loads_neither_torch_nor_scipy():
    heavy = "{'torch', 'scipy', 'numpy', 'pynvml', 'psutil'}"
    modules = (
        "bench.run.environment, bench.measure.cpu_timer, bench.measure.profiler, bench.measure.nvml"
    )
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")
def test_a_gpu_is_described_by_its_own_name_and_memory():
    seen = describe("cuda")
    assert seen.device_name == torch.cuda.get_device_name()
    assert 0 < available_bytes("cuda") <= seen.memory_bytes
    assert re.fullmatch(r"[0-9]+\.[0-9]+", seen.compute_capability)
    assert seen.driver
    assert int(seen.flags["l2_bytes"]) > 0


CONTEXT = """
import torch
from bench.run.environment import available_bytes, describe

describe("cuda")
assert available_bytes("cuda") > 0
print(torch._C._cuda_hasPrimaryContext(0))
"""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no NVIDIA GPU")
def test_describing_a_gpu_makes_no_context_on_it():
    done = subprocess.run(
        [sys.executable, "-c", CONTEXT], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
