"""What users rely on: commands with their options, sessions, and what is imported by name.

The files that are written and read are held by `test_kept_lines.py` and `test_kept_reports.py`.
"""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MEASURED = "--batch --block --channels --device --dtype --key-channels --mode --out --size"
COMPARED = "--level --margin --rounds"
OPTIONS = {
    "bench.efficiency:parser": f"{MEASURED} {COMPARED} --budget --compare --fits --format --fresh --gallery "
    "--inputs --json --layout --predict --protocol --quiet --strict",
    "bench.ablations:parser": "--all --backbone --budget --dataset --device --engine --evaluate --evaluation "
    "--experiment --features --fresh --json --network --out --palette --pretrained --quiet --recipe --root --seeds "
    "--slots --table",
    "bench.regress:parser": f"{MEASURED} {COMPARED} --accept --accepted --base --exact-only "
    "--experiment --head --inputs --json --layout --planted --quiet",
    "bench.regress:history_parser": "--json --out --quiet",
    "bench.reference:parser": "--dataset --device --json --look --minutes --no-tests --out --quiet --root",
    "bench.validate:parser": f"{COMPARED} --fit --format --harness --json --leave-out --out --planted --quiet --real "
    "--simulations",
    "reports.__main__:_parser": "--compare --format --json --out --quiet",
}
SESSIONS = (
    "ablations coverage cluster docs efficiency gate lint main_job mutants portable reference tests wheel "
    "interop zoo"
)
SPEC = ("experiment", "axes", "subject", "size", "device", "time_limit_s", "seed", "batch", "dtype")
CALL = ("mode", "protocol", "preceded_by", "probes", "implementation", "budget_s")
NAMES = {
    "ann.build:block": ("name", "changes"),
    "ann.build:network": ("name", "pretrained", "changes"),
    "ann.checkpoints:load": ("net", "source"),
    "ann.fast:optimize": ("module", "mode", "check"),
    "ann.export:to_onnx": ("module", "inputs", "path", "dynamic", "opset"),
    "experiments.spec:Experiment": ("name", "question", "cells"),
    "experiments.spec:OwnModule": ("factory", "channels", "key_channels"),
    "experiments.spec:Cell": (*SPEC, *CALL),
    "experiments.training:cells": ("experiment", "rows", "setting"),
}


def take(place):
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("place", OPTIONS)
def test_a_command_takes_what_it_always_took(place):
    taken = {option for action in take(place)()._actions for option in action.option_strings}
    assert {option for option in taken if option.startswith("--")} == {
        *OPTIONS[place].split(),
        "--help",
    }


@pytest.mark.parametrize("place", NAMES)
def test_a_name_is_there_with_its_arguments(place):
    assert [*NAMES[place]] == [
        name for name in inspect.signature(take(place)).parameters if name in NAMES[place]
    ]


def test_the_sessions_are_there():
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    sessions = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list
    }
    assert sessions == set(SESSIONS.split())
