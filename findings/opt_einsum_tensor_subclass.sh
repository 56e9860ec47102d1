#!/usr/bin/env bash
# opt_einsum 3.4.0, torch 2.15.0, torchvision 0.29.2 (Python 3.11, Linux): contract gives NumPy arrays for images of torchvision.
#
# Which library carries a contraction out follows from the module in which the class of the first operand is defined. Images, masks
# and boxes of torchvision.tv_tensors are torch tensors, and torch.einsum gives tensors for them, but their class is torchvision's,
# which is no backend: NumPy takes them. So the result is a NumPy array if such an image comes first and a tensor if it comes
# second, for the same product; and where an operand wants a gradient, the first order raises and the second does not. The same
# holds for every subclass of torch.Tensor that is defined outside of torch.
#
# Seen: the type by einsum, by contract with the image first, and with it second; then the same two with weights that want a gradient:
#   Tensor ndarray Tensor
#   RuntimeError Tensor
#
# Needs 6 GB for torch and its CUDA libraries; no GPU. Ends with 0 as long as this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet uv==0.9.7
"$folder/venv/bin/uv" pip install --quiet --python "$folder/venv/bin/python" torch==2.15.0 torchvision==0.29.2 \
    opt_einsum==3.4.0 numpy==2.3.4
cat >"$folder/contract.py" <<'PYTHON'
import torch
from opt_einsum import contract
from torchvision import tv_tensors

image = tv_tensors.Image(torch.rand(3, 4, 5))
weights = torch.rand(3)


def kind(function, *operands):
    try:
        return type(function(*operands)).__name__
    except RuntimeError as error:
        return type(error).__name__


first, second = ("chw,c->hw", image), ("c,chw->hw",)
print(
    kind(torch.einsum, *first, weights),
    kind(contract, *first, weights),
    kind(contract, *second, weights, image),
)
weights.requires_grad_()
print(kind(contract, *first, weights), kind(contract, *second, weights, image))
PYTHON
"$folder/venv/bin/python" "$folder/contract.py" | tee "$folder/seen"
diff "$folder/seen" - <<'SEEN'
Tensor ndarray Tensor
RuntimeError Tensor
SEEN
