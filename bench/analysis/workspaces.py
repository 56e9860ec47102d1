"""GPU memory that is not tensors: bounds of workspaces, and assumptions."""

import re

from bench.analysis.devices import Datasheet

KIBI, MEBI = 2**10, 2**20
# Assumptions. Of an A100's 80 and 40 GiB torch reports 79.25 and 39.50 (Vad-R1#11, CoSeR#10 on GitHub); CUDA's context
# and the kernels of its libraries are outside of the allocator, 0.3 to 0.6 GiB.
DRIVER_SHARE = 1 / 80
CONTEXT_BYTES = 600 * MEBI
# By the first compute capability that has it (aten/src/ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize):
# :4096:2:16:8 in KiB, and more since Hopper.
CUBLAS_BYTES = {0: (2 * 4096 + 8 * 16) * KIBI, 9: 32 * MEBI}
# Up to 2.14 one stays for each handle and stream, and cuBLASLt uses it too; from here each product has its own
# while it runs (pytorch#194311), 1 MiB where it is cuBLASLt's.
SINCE_OF_A_PRODUCT = (2, 15)
CUBLAS_NOTE = (
    "Workspaces are not in it. Those of cuBLAS are bounded: 8.1 MiB, since Hopper 32 MiB; up to torch 2.14 they stand "
    "before the call, two of them in training, whose backward pass has a thread and so a handle of its own; from 2.15 "
    "one comes and goes with each product."
)
# aten/src/ATen/native/cudnn/Conv_v8.cpp, try_configs.
CUDNN_NOTE = (
    "Those of cuDNN nothing bounds: its first choice takes what it takes. What has no room is passed over for the next "
    "choice, so that it costs time and seldom the fit."
)
WORKSPACE_NOTES = (CUBLAS_NOTE, CUDNN_NOTE)


def cublas_bytes(device: Datasheet, torch: str, *, trains: bool) -> int:
    """Bound what workspaces of products take at one time on a device with a version of torch, in bytes."""
    size_bytes = max(size for since, size in CUBLAS_BYTES.items() if device.capability[0] >= since)
    version = tuple(map(int, re.findall(r"\d+", torch)[:2]))
    return size_bytes * (2 if trains and version < SINCE_OF_A_PRODUCT else 1)


def usable_bytes(device: Datasheet, workspace_bytes: int) -> int:
    """Give what the allocator may reserve on a device beside workspaces, by the assumptions that stand here."""
    return int(device.memory_bytes * (1 - DRIVER_SHARE)) - CONTEXT_BYTES - workspace_bytes
