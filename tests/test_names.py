"""A name that is not known: what was meant is named, wherever a name is given."""

from functools import partial
from importlib import import_module
from pathlib import Path

import pytest
from torch import nn

from ann import build
from ann.backbones import make_backbone
from ann.backbones.pretrained import find_weights
from ann.checkpoints.keys import layout_keys
from ann.fast import optimize
from ann.implementations import implement
from ann.spec import BlockSpec, look_up
from bench.estimate.errors import left_out_errors
from bench.measure import probe_modules
from bench.training.data import open_dataset
from bench.training.evaluate import PROTOCOLS
from experiments.recipes import recipe_for
from experiments.select import find_experiment
from experiments.training import Setting

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "reports" / "reference"

# Command, what is given, what was meant.
GIVEN = [
    ("bench.efficiency", "--block apbn", "apnb"),
    ("bench.efficiency", "--block apnb:fats", "fast"),
    ("bench.efficiency", "--gallery --block pssp", "psp"),
    ("bench.efficiency", "--compare nb apbn", "apnb"),
    ("bench.efficiency", "--compare nb mmseg/an-r50", "mmseg/ann-r50"),
    ("bench.efficiency", "--predict h20", "h200"),
    ("bench.efficiency", "--predict a100", "a100-40gb"),
    ("bench.efficiency", "--fits v10", "v100"),
    ("bench.efficiency", "--block json:laods", "loads"),
    ("bench.efficiency", "--device cdua", "cuda"),
    ("bench.efficiency", "--dtype flaot16", "float16"),
    ("bench.efficiency", "--mode trian", "train"),
    ("bench.efficiency", "--layout nhw", "nhwc"),
    ("bench.efficiency", "--format markdwn", "markdown"),
    ("bench.efficiency", "--protocol papr", "paper"),
    ("bench.efficiency", "--sise 3x4", "--size"),
    ("bench.ablations", "--experiment crosover", "crossover"),
    ("bench.ablations", "--dataset citiscapes", "cityscapes"),
    ("bench.ablations", "--recipe papr", "paper"),
    ("bench.ablations", "--budget quik", "quick"),
    ("bench.ablations", "--backbone resnet19", "resnet18"),
    ("bench.ablations", "--features frosen", "frozen"),
    ("bench.ablations", "--engine rya", "ray"),
    ("bench.ablations", "--bugdet=quick", "--budget"),
    ("bench.ablations", "--evaluate x.pth --network mmseg/an-r50", "mmseg/ann-r50"),
    ("bench.ablations", "--evaluate x.pth --network mmseg/ann-r50 --evaluation hole", "whole"),
    ("bench.ablations", "--evaluate x.pth --network mmseg/ann-r50 --backbone tin", "tiny"),
    ("bench.regress", "histroy results", "history"),
    ("bench.regress", "--base HEAD --block apbn", "apnb"),
    ("bench.regress", "--base HEAD --experiment fig3", "fig2"),
    ("bench.regress", "--base HEAD --marign 0.1", "--margin"),
    ("bench.regress", "history {kept}/intel-xeon-2-core", "{kept}/intel-xeon-2-cores"),
    ("bench.reference", "--dataset camvd --out unused", "camvid"),
    ("bench.reference", "--device cup --out unused", "cpu"),
    ("bench.reference", "--minuts 9 --out unused", "--minutes"),
    ("bench.validate", "{kept}/gpu-timing", "{kept}/gpu-timings"),
    ("bench.validate", "--hrness", "--harness"),
    ("reports", "{kept}/nvidia-h20", "{kept}/nvidia-h200"),
    ("reports", "{kept}/nvidia-h200 --format markdwn", "markdown"),
    ("reports", "--fromat csv", "--format"),
]


@pytest.mark.parametrize(("program", "given", "meant"), GIVEN)
def test_a_command_names_what_was_meant(program, given, meant, capsys, tmp_path):
    module = import_module("reports.__main__" if program == "reports" else program)
    arguments = given.format(kept=KEPT).split()
    if program in ("bench.efficiency", "bench.ablations"):
        arguments += ["--out", str(tmp_path)]
    try:
        status, said = module.main(arguments), ""
    except SystemExit as end:
        status, said = end.code, ""
    except ValueError as error:  # of which `guarded` makes a line and this status
        status, said = 2, str(error)
    said += capsys.readouterr().err
    assert status == 2
    assert f"did you mean {meant.format(kept=KEPT)!r}" in said


CALLED = [
    (partial(build.block, "apbn"), "apnb"),
    (partial(build.block, "apnb", chanels=3), "channels"),
    (partial(build.network, "mmseg/an-r50"), "mmseg/ann-r50"),
    (partial(BlockSpec, channels=8, sampler="pyramid-mex"), "pyramid-max"),
    (partial(implement, nn.Identity(), "sdap"), "sdpa"),
    (partial(optimize, nn.Identity(), "trainig"), "training"),
    (partial(make_backbone, "resnet19"), "resnet18"),
    (partial(find_weights, "resnet18", "timm:a1_in1"), "a1_in1k"),
    (partial(layout_keys, nn.Identity(), "mseg"), "mmseg"),
    (partial(open_dataset, "scenes", "", "trian"), "train"),
    (partial(open_dataset, "camvid", "", "vall"), "val"),
    (partial(open_dataset, "camvd", ""), "camvid"),
    (partial(look_up, "protocol", "hole", PROTOCOLS), "whole"),
    (partial(Setting, dataset="camvd"), "camvid"),
    (partial(recipe_for, "papr", "camvid"), "paper"),
    (partial(find_experiment, "tabel7", Setting()), "table7"),
    (partial(probe_modules, ["timings"], "cpu"), "timing"),
    (partial(left_out_errors, (), ["h20"]), None),
]


@pytest.mark.parametrize(("call", "meant"), CALLED)
def test_a_function_names_what_was_meant(call, meant):
    with pytest.raises(ValueError, match="did you mean " if meant else "unknown device") as raised:
        call()
    assert meant is None or f"did you mean {meant!r}? allowed are" in str(raised.value)


def test_what_trains_is_said_to_where_nothing_is_trained():
    with pytest.raises(ValueError, match="experiment 'table7' trains networks"):
        find_experiment("table7")
