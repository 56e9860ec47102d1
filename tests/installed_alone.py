"""The library where nothing but its wheel is installed; `nox -s wheel` runs this there."""

import importlib.util
import subprocess
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
command = Path(sys.executable).with_name("ann-bench")
done = subprocess.run([command, "efficiency"], capture_output=True, text=True, check=False)
assert done.returncode == 2, done.stderr
assert done.stderr.count("\n") == 1, done.stderr
assert "ann-bench[bench]" in done.stderr, done.stderr
assert subprocess.run([command], check=True, capture_output=True).stdout
print(f"ann {ann.__file__} builds blocks and networks alone")  # noqa: T201
