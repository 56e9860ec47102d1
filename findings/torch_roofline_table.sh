#!/usr/bin/env bash
# torch 2.15.0 (Python 3.11, Linux): the device table behind torch's roofline estimates is off by 2 and by 11 for two common GPUs.
#
# Inductor's analysis and torch.utils._runtime_estimation take peak and bandwidth of a GPU from one table, by its name, without
# the GPU. Where a data sheet prints numbers for sparse matrices, a factor of 2 is taken off all formats alike: so an H100 computes
# float32 and float64 at half of what its data sheet says, though these two are printed for dense matrices (67 TFLOP/s each). The L4
# has the memory bandwidth of the H100, 3350 GB/s in place of 300, and its float16 is the sparse number without the factor. Whoever
# asks which of two kernels is bound by memory gets, for an L4, the answer of a GPU that does not exist.
#
# Seen, TFLOP/s of float32, tf32, float16 and GB/s; data sheets say 67, 494.5, 989.5, 3350; 19.5, 156, 312, 2039; 30.3, 60, 121, 300:
#   NVIDIA H100 33.5 494.5 989.5 3350
#   NVIDIA A100 19.5 156.0 312.5 2039
#   NVIDIA L4 30.3 120.0 242.0 3350
#
# Needs 6 GB for torch and its CUDA libraries; no GPU. Ends with 0 as long as this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet uv==0.9.7
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" torch==2.15.0 numpy==2.3.4
cat >"$folder/table.py" <<'PYTHON'
import torch
from torch._inductor.analysis.device_info import datasheet_tops, lookup_device_info

for name in ("NVIDIA H100", "NVIDIA A100", "NVIDIA L4"):
    float32 = datasheet_tops(torch.float32, device_name=name)
    tf32 = datasheet_tops(torch.float32, is_tf32=True, device_name=name)
    float16 = datasheet_tops(torch.float16, device_name=name)
    print(name, float32, tf32, float16, round(lookup_device_info(name).dram_bw_gbs))
PYTHON
"$folder/venv/bin/python" "$folder/table.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
NVIDIA H100 33.5 494.5 989.5 3350
NVIDIA A100 19.5 156.0 312.5 2039
NVIDIA L4 30.3 120.0 242.0 3350
SEEN
