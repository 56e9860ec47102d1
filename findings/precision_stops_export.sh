#!/usr/bin/env bash
# torch 2.15.0 (Python 3.11, Linux): float32 without TF32 in cuDNN stops torch.export.
#
# `fp32_precision = "ieee"` is the newer of two switches that keep float32 products out of TF32. Once it is set for cuDNN, for its
# convolutions alone or by the switch for everything, torch.export.export raises in that process for every
# module, one without a convolution and on a processor too: on its way it saves cuDNN's flags by the older switch,
# `allow_tf32`, which refuses to answer. The export to ONNX goes the same way. The switch for matrix products has no such effect,
# and the older switch, which turns the same TF32 off, has none either. In torch 2.11.0 it is the convolutions' switch alone
# that does it, and those for cuDNN and for everything are harmless.
#
# Seen, one process each:
#   pass: exported
#   cudnn.conv.fp32_precision = "ieee": RuntimeError: PyTorch is checking whether allow_tf32 is enabled for cuDNN without a specific operator name
#   cudnn.fp32_precision = "ieee": (the same)
#   backends.fp32_precision = "ieee": (the same)
#   backends.cuda.matmul.fp32_precision = "ieee": exported
#   cudnn.allow_tf32 = False: exported
#
# Needs 6 GB for torch and its CUDA libraries; no GPU. Ends with 0 as long as this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet uv==0.9.7
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" torch==2.15.0 numpy==2.3.4
cat >"$folder/export.py" <<'PYTHON'
import sys

import torch
from torch import backends
from torch.backends import cudnn


class Double(torch.nn.Module):
    def forward(self, x):
        return 2 * x


exec(sys.argv[1])
try:
    torch.export.export(Double(), (torch.ones(3),))
except RuntimeError as error:
    print(f"{sys.argv[1]}: RuntimeError: {str(error).split(',')[0]}")
else:
    print(f"{sys.argv[1]}: exported")
PYTHON
refused="RuntimeError: PyTorch is checking whether allow_tf32 is enabled for cuDNN without a specific operator name"
cat >"$folder/expected" <<SEEN
pass: exported
cudnn.conv.fp32_precision = "ieee": $refused
cudnn.fp32_precision = "ieee": $refused
backends.fp32_precision = "ieee": $refused
backends.cuda.matmul.fp32_precision = "ieee": exported
cudnn.allow_tf32 = False: exported
SEEN
while IFS= read -r line; do
  "$folder/venv/bin/python" -W ignore "$folder/export.py" "${line%%: *}"
done <"$folder/expected" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen"
