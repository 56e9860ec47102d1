"""The library where nothing but its wheel is installed; `nox -s wheel` runs this there."""

import importlib.util
import sys
from pathlib import Path

import torch

import ann
from ann import build

BESIDE = ("bench", "reports", "experiments", "pydantic", "pandas")

found = [name for name in BESIDE if importlib.util.find_spec(name)]
assert not found, f"the wheel brings {found}"
assert Path(ann.__file__).with_name("py.typed").is_file()
block = build.block("apnb", channels=8, key_channels=4)
assert block(torch.zeros(1, 8, 9, 12)).shape == (1, 8, 9, 12)
assert "timm" not in sys.modules, "a block has loaded timm"
network = build.network("mmseg/ann-r50", num_classes=3).eval()
assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)
print(f"ann {ann.__file__} builds blocks and networks alone")  # noqa: T201
