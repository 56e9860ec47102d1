"""The library, and the commands that need no extra, where the wheel alone is installed; `nox -s wheel` runs it."""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import ann
from ann import build

OTHERS = ("bench", "reports", "experiments", "matplotlib")
HEAVY = ("fvcore", "pandas", "pydantic", "rich", "scipy", "timm")
SCRIPT = Path(sys.executable).with_name("ann-bench")
SMALL = ("--size", "16x16", "--channels", "16", "--key-channels", "4")
BLOCK = "import torch\ndef make(channels): return torch.nn.Conv2d(channels, channels, 1)\n"


def call(folder, *words, status=frozenset({0})):
    """Run the command in a folder."""
    done = subprocess.run([SCRIPT, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode in status, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


brought = [name for name in OTHERS if importlib.util.find_spec(name)]
assert not brought, f"the wheel brings {brought}"
assert Path(ann.__file__).with_name("py.typed").is_file()
block = build.block("apnb", channels=8, key_channels=4)
assert block(torch.zeros(1, 8, 9, 12)).shape == (1, 8, 9, 12)
loaded = [name for name in HEAVY if name in sys.modules]
assert not loaded, f"a block has loaded {loaded}"
network = build.network("mmseg/ann-r50", num_classes=3).eval()
assert network(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)
with tempfile.TemporaryDirectory() as place:
    folder = Path(place)
    (folder / "blocks.py").write_text(BLOCK)
    measured = call(folder, "efficiency", "--block", "apnb", "blocks:make", *SMALL, "--budget", "1")
    assert "Efficiency: measured" in measured.stdout, measured.stdout
    assert "failed" not in measured.stdout, measured.stdout
    arms = ("--compare", "apnb", "apnb:fast", "--rounds", "2", "--level", "0.49")
    compared = call(folder, "efficiency", *arms, *SMALL, status={0, 3})  # 3: undecided
    assert "A/A" in compared.stdout, compared.stdout
    call(folder, "gallery", "--device", "meta", *SMALL, "--predict", "h200")
    call(folder, "efficiency", "--fits", "l4", *SMALL)
    call(folder, "env")
    refused = call(folder, "report", "results/efficiency", status={2})
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert "ann-bench[reports]" in refused.stderr, refused.stderr
    assert call(folder).stdout
print(f"ann {ann.__file__} builds, and ann-bench measures, alone")  # noqa: T201
