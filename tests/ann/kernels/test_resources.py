"""Every kernel compiles for every target, with no spills but known ones, by NVIDIA's assembler and without a GPU.

    python -m pytest tests/ann/kernels/test_resources.py -m slow -s

prints the rows of the table in docs/kernels.md; a quarter of an hour. Compiling is done in processes of their own,
since this one interprets kernels.
"""

import json
import os
import subprocess
import sys

import pytest

from ann.kernels.resources import COMPILED_FORMATS, SHARED_BYTES, TARGETS

pytest.importorskip("triton", reason="torch has Triton on Linux alone")
COMPILE = """
import json, sys
from dataclasses import asdict
from ann.kernels.resources import COMPILED_SIZES, compile_all
target, numbers, sizes = sys.argv[1:]
for example, found in compile_all(int(target), numbers, sizes=COMPILED_SIZES[: int(sizes)]):
    place = f"{example.block} {example.mode} {example.size}"
    print(json.dumps({"place": place, "numbers": numbers, **asdict(found)}))
"""
ATTEND = """
import json
from dataclasses import asdict
import torch
from ann.catalogue import BLOCKS
from ann.kernels.resources import COMPILED_SIZES, launches_of, resources_of
launches = launches_of(BLOCKS["apnb"], COMPILED_SIZES[0], target=90, dtype=torch.bfloat16)
print(json.dumps(asdict(resources_of(launches[-1], 90))))
"""
FAR = """
import json
from dataclasses import asdict
import torch
from ann.catalogue import BLOCKS
from ann.kernels.resources import launches_of, resources_of
from ann.spec import Size
launches = launches_of(BLOCKS["apnb-concat"], Size(width=2048, height=1024), target=90, dtype=torch.bfloat16)
for launch in launches:
    row = asdict(resources_of(launch, 90))
    print(json.dumps({"is_far": launch.arguments.get("IS_FAR", False), **row}))
"""

# Bytes of a thread. The tiles that spill in TF32 were faster on an H200 than those that don't (440 us and 600);
# Blackwell, which has them too, was not timed.
SPILLS = {
    (90, "tf32", "project_tile"): 256,
    (100, "tf32", "project_tile"): 256,
    (100, "ieee", "project_tile"): 16,
}


def compiled(code, *arguments):
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert not found.returncode, found.stderr[-3000:]
    lines = found.stdout.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


@pytest.mark.slow
def test_attention_to_few_anchors_compiles_for_hopper():
    (row,) = compiled(ATTEND)
    assert row["kernel"] == "attend_tile"
    assert row["spilled_bytes"] == 0
    assert 32 <= row["registers"] <= 255
    assert 0 < row["shared_bytes"] <= SHARED_BYTES[90]


@pytest.mark.slow
def test_kernels_of_a_map_that_32_bits_cannot_address_compile():
    rows = compiled(FAR)
    assert {row["kernel"] for row in rows if row["is_far"]} >= {"project_tile", "attend_tile"}


@pytest.mark.slow
@pytest.mark.parametrize("numbers", COMPILED_FORMATS)
@pytest.mark.parametrize("target", TARGETS)
def test_every_kernel_compiles_for_every_target_with_no_spill_but_the_known(
    target, numbers, capsys
):
    rows = compiled(COMPILE, target, numbers, 3)
    with capsys.disabled():
        print("", *rows, sep="\n")  # noqa: T201  # the figures are what it is for
    kernels = {row["kernel"] for row in rows}
    assert kernels == {"project_tile", "collect_anchor", "attend_tile", "spread_tile", "score_tile"}
    spilled = ((row, SPILLS.get((target, numbers, row["kernel"]), 0)) for row in rows)
    assert [row for row, allowed in spilled if row["spilled_bytes"] > allowed] == []
    assert [row for row in rows if row["shared_bytes"] > SHARED_BYTES[target]] == []
