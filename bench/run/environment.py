"""Where a measure is taken: machine, versions and switches; no host name, no user name, no path.

Precision is read through torch's `fp32_precision` settings alone: they and the older `allow_tf32`
must not be mixed.
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from bench import COMMAND, installed_from
from bench.measure import current_nvml
from bench.records import Environment

DeviceKind = Literal["cpu", "cuda", "meta"]

PACKAGES = (
    COMMAND,
    "fvcore",
    "numpy",
    "nvidia-ml-py",
    "onnxruntime",
    "scipy",
    "timm",
    "torchvision",
    "triton",
)
# Variables that change what runs or how it is allocated; both names of the allocator's are in use.
VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "KMP_AFFINITY",
    "PYTORCH_ALLOC_CONF",
    "PYTORCH_CUDA_ALLOC_CONF",
    "CUBLAS_WORKSPACE_CONFIG",
    "TORCH_CUBLAS_WORKSPACE_CACHE",
    "NVIDIA_TF32_OVERRIDE",
    "CUDA_LAUNCH_BLOCKING",
    "CUDA_MODULE_LOADING",
)
ROOT = Path(__file__).resolve().parents[2]
CGROUPS = Path("/sys/fs/cgroup")
# Share by which the sizes of one device may differ, as the driver and CUDA tell them.
SAME_DEVICE = 0.05


def describe(device: DeviceKind) -> Environment:
    """Describe this process's machine and settings, for a device that is there.

    Raises:
        ValueError: the device is `cuda` and torch finds none.
    """
    import psutil
    import torch

    packages = {}
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
    limits = (limit for limit, _ in cgroup_limits())
    of_machine: dict[str, Any] = {
        "device_name": processor_name(),
        "memory_bytes": min([int(psutil.virtual_memory().total), *limits]),
        "flags": precision_flags(torch),
    }
    # The rest of a kernel's release is its builder's free text.
    release = re.match(r"[0-9.]*[0-9]", platform.release())
    return Environment(
        device=device,
        cores=len(affinity) or os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        os=f"{platform.system()} {release.group() if release else ''}".strip(),
        python=platform.python_version(),
        torch=str(torch.__version__),
        packages=packages,
        cuda=torch.version.cuda,
        commit=commit(ROOT) or installed_from()[1],
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **(of_machine | (_gpu(torch) if device == "cuda" else {})),
    )


def fingerprint(environment: Environment) -> str:
    """Twelve hexadecimal digits of what makes readings comparable: device, versions, switches.

    Load, commit, memory and the Python packages are not in it. Of the driver its branch is, as
    580 of 580.159.03: two machines of one kind seldom have the same patch, and kernels come with torch.
    """
    machine = {"device", "device_name", "cores", "threads", "driver", "compute_capability"}
    content = environment.model_dump(include=machine | {"torch", "cuda", "cudnn", "flags"})
    if environment.driver:
        content["driver"] = environment.driver.partition(".")[0]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def available_bytes(device: DeviceKind) -> int:
    """Bytes that this process can still take on a device; for `meta` those of the host.

    On CUDA the driver's free bytes and those that torch's allocator has without using. NVML tells them where it
    can: a run that only starts processes has no CUDA context, and with one it would count as one more
    process on the device (as `mem_get_info` makes it in torch 2.11 and 2.15).

    Raises:
        ValueError: as `describe`.
    """
    if device != "cuda":
        import psutil

        limits = (limit - used for limit, used in cgroup_limits())
        return max(0, min([int(psutil.virtual_memory().available), *limits]))
    import torch

    _require_cuda(torch)
    nvml = current_nvml(torch)
    free, total = (nvml.memory_bytes() if nvml else None) or (0, 0)
    size = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory
    # NVML may know the whole device where this process has a part of it (MIG).
    if abs(total - size) >= SAME_DEVICE * size:
        free = int(torch.cuda.mem_get_info()[0])
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def has_context(device: DeviceKind) -> bool:
    """Whether this process has a CUDA context, and so counts as one on the device."""
    import torch

    if device != "cuda" or not torch.cuda.is_initialized():
        return False
    return torch._C._cuda_hasPrimaryContext(torch.cuda.current_device())  # noqa: SLF001  # no other way


def processor_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Name of the processor as its maker writes it, else its architecture."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), flags=re.MULTILINE)
    except OSError:
        names = []
    return " ".join((*names, platform.processor() or platform.machine())[0].split())


def commit(root: Path) -> str | None:
    """Commit of the checkout whose top is `root`, `-dirty` if changed since; None outside one."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    command = [git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        # The command is fixed; git is the one on the path.
        done = subprocess.run(  # noqa: S603
            command, cwd=root, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def precision_flags(torch: Any) -> dict[str, str]:  # noqa: ANN401 - a module
    """Switches of torch and environment variables under which the same code runs differently."""
    backends = torch.backends
    flags = {
        "matmul_precision": backends.cuda.matmul.fp32_precision,
        "conv_precision": backends.cudnn.conv.fp32_precision,
        "fp32_precision": backends.fp32_precision,
        "cudnn_benchmark": backends.cudnn.benchmark,
        "cudnn_deterministic": backends.cudnn.deterministic,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "sdp_flash": backends.cuda.flash_sdp_enabled(),
        "sdp_efficient": backends.cuda.mem_efficient_sdp_enabled(),
        "sdp_math": backends.cuda.math_sdp_enabled(),
        "sdp_cudnn": backends.cuda.cudnn_sdp_enabled(),
    }
    flags |= {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return {name: str(value) for name, value in flags.items()}


def _require_cuda(torch: Any) -> None:  # noqa: ANN401
    if not torch.cuda.is_available():
        msg = "device 'cuda' is not there: torch finds no NVIDIA GPU; pass cpu or meta"
        raise ValueError(msg)


def _gpu(torch: Any) -> dict[str, Any]:  # noqa: ANN401
    _require_cuda(torch)
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    nvml = current_nvml(torch)
    power = nvml.power_limit_w() if nvml else None
    return {
        "device_name": properties.name,
        "memory_bytes": properties.total_memory,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "cudnn": str(torch.backends.cudnn.version()),
        "driver": nvml.driver_version() if nvml else None,
        "flags": {
            **precision_flags(torch),
            "processor": processor_name(),
            "l2_bytes": str(properties.L2_cache_size),
            **({"power_limit_w": f"{power:g}"} if power is not None else {}),
        },
    }


def cgroup_limits(
    root: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")
) -> list[tuple[int, int]]:
    """Memory limits on this process, each with the bytes in use that can't be dropped."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names, base = ("memory.max", "memory.current", "inactive_file"), root
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            base = root / "memory"
        else:
            continue
        # Inside a container the group is often mounted as the root itself.
        for folder in {base / path.lstrip("/"), base}:
            limits += _limit(folder, names)
    return limits


def _limit(folder: Path, names: tuple[str, str, str]) -> list[tuple[int, int]]:
    limit_name, usage_name, droppable = names
    try:
        limit = (folder / limit_name).read_text().strip()
        used = int((folder / usage_name).read_text())
        stat = (folder / "memory.stat").read_text()
    except OSError:
        return []
    # "max", and the largest page-aligned number of version 1, mean no limit.
    if limit == "max" or int(limit) >= 2**60:
        return []
    cached = re.search(rf"^{droppable} (\d+)$", stat, flags=re.MULTILINE)
    return [(int(limit), used - int(cached.group(1) if cached else 0))]
