#!/usr/bin/env bash
# torch 2.15.0 and 2.11.0 (Python 3.11 and 3.12, Linux): who keeps what a dispatch mode shows makes autograd copy gradients.
#
# A TorchDispatchMode sees each operator with its results, and tools that count operations or memory are written so. One
# that only looks sees a parameter's first gradient handed over by `detach`. One that keeps the results, say to draw them
# later, sees `new_empty_strided` and `copy_` in its place, and one `detach` more: autograd gives a gradient away only if nobody
# else holds it, and copies it otherwise. So the watched step runs other operators and needs more memory than the
# step by itself: as much again as the gradient, for each parameter. To keep `result.detach()` in place of the result, which is another
# tensor on the same memory, changes nothing.
#
# Seen, operators of a linear layer without bias, forward and backward:
#   looking:  t mm sum ones_like expand t mm t t detach
#   keeping:  t mm sum ones_like detach expand t mm t t new_empty_strided copy_
#   keeping another name: t mm sum ones_like expand t mm t t detach
#
# Needs 6 GB for torch and its CUDA libraries; no GPU. Ends with 0 as long as this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet uv==0.9.7
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" torch==2.15.0 numpy==2.3.4
cat >"$folder/watch.py" <<'PYTHON'
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Watch(TorchDispatchMode):
    def __init__(self, keep):
        super().__init__()
        self.keep, self.names, self.kept = keep, [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.names.append(func.overloadpacket.__name__)
        if self.keep is not None:
            self.kept.append(self.keep(result))
        return result


def step(what, keep=None):
    layer, x = torch.nn.Linear(64, 64, bias=False), torch.randn(8, 64)
    with Watch(keep) as watch:
        layer(x).sum().backward()
    print(f"{what}: {' '.join(watch.names)}")


step("looking")
step("keeping", lambda result: result)
step("keeping another name", lambda result: result.detach())
PYTHON
cat >"$folder/expected" <<'SEEN'
looking: t mm sum ones_like expand t mm t t detach
keeping: t mm sum ones_like detach expand t mm t t new_empty_strided copy_
keeping another name: t mm sum ones_like expand t mm t t detach
SEEN
"$folder/venv/bin/python" -W ignore "$folder/watch.py" | tee "$folder/seen"
diff "$folder/expected" "$folder/seen"
