#!/usr/bin/env bash
# torch 2.15.0 (Python 3.11, Linux): what F.fold gives, and the gradient behind F.unfold, keep the memory of all columns.
#
# F.unfold makes k x k columns of each position, F.fold adds them up again. The image that comes out of F.fold is as small as its
# shape says, and so is the gradient that F.unfold hands back; the storage under both is that of the columns, since the
# kernel makes its result like them and shrinks only the shape. A map behind fold that is kept for the way back, or a
# parameter's gradient behind unfold that stays until the next step, takes k x k times what nbytes, a profiler's table of shapes or
# a count by hand says; a clone gives it back. The same was reported of F.mse_loss, whose single number keeps a whole map
# (pytorch/pytorch#185647).
#
# Seen, 64 channels at 32x32, bytes by shape and bytes of the storage:
#   fold 3x3 262144 2359296
#   fold 7x7 262144 12845056
#   gradient behind unfold 3x3 262144 2359296
#   clone of it 262144 262144
#   mse_loss 4 262144
#   l1_loss 4 4
#
# Needs 6 GB for torch and its CUDA libraries; no GPU. Ends with 0 as long as this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet uv==0.9.7
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" torch==2.15.0 numpy==2.3.4
cat >"$folder/fold.py" <<'PYTHON'
import torch
import torch.nn.functional as F


def tell(what, tensor):
    print(what, tensor.nbytes, tensor.untyped_storage().nbytes())


image = torch.randn(1, 64, 32, 32)
for side in (3, 7):
    columns = F.unfold(image, side, padding=side // 2)
    tell(f"fold {side}x{side}", F.fold(columns, (32, 32), side, padding=side // 2))
weight = torch.randn(1, 64, 32, 32, requires_grad=True)
F.unfold(weight, 3, padding=1).square().sum().backward()
tell("gradient behind unfold 3x3", weight.grad)
tell("clone of it", weight.grad.clone())
tell("mse_loss", F.mse_loss(image, -image))
tell("l1_loss", F.l1_loss(image, -image))
PYTHON
cat >"$folder/expected" <<'SEEN'
fold 3x3 262144 2359296
fold 7x7 262144 12845056
gradient behind unfold 3x3 262144 2359296
clone of it 262144 262144
mse_loss 4 262144
l1_loss 4 4
SEEN
"$folder/venv/bin/python" -W ignore "$folder/fold.py" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen"
