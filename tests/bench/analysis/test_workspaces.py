"""What cuBLAS may take, by torch's version, by device, and in training."""

import pytest

from bench.analysis import DEVICES, cublas_bytes

BEFORE, HOPPER = 8_519_680, 32 * 2**20  # 2 x 4 MiB and 8 x 16 KiB


@pytest.mark.parametrize(
    ("device", "torch", "trains", "size"),
    [
        ("a100-80gb", "2.11.0+cu130", False, BEFORE),
        ("a100-80gb", "2.11.0+cu130", True, 2 * BEFORE),
        ("h100", "2.9.1", False, HOPPER),
        ("h100", "2.14.0", True, 2 * HOPPER),
        ("h200", "2.15.0+cu132", True, HOPPER),
        ("titan-xp", "2.15.0a0+git", True, BEFORE),
        ("v100", "3.0", False, BEFORE),
    ],
)
def test_a_handle_keeps_its_workspace_up_to_2_14(device, torch, trains, size):
    assert cublas_bytes(DEVICES[device], torch, trains=trains) == size
