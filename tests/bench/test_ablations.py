"""The command line of bench.ablations; trainings are of four iterations on a few scenes."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ann import build
from bench import ablations
from bench.records import record
from bench.training.data import scenes
from bench.training.evaluate import evaluate
from experiments.catalogue import EXPERIMENTS
from experiments.spec import TrainingJob

ROOT = Path(__file__).resolve().parents[2]
OWN = """
from dataclasses import replace
from experiments.paper import table6
from experiments.spec import Experiment, TrainingJob

KEPT = ("paper/baseline", "paper/apnb")

def make(setting):
    cells = [cell for cell in table6.make(setting).cells if cell.axes["network"] in KEPT]
    cells = [cell for cell in cells if isinstance(cell, TrainingJob)]
    short = [replace(cell, training=replace(cell.training, iterations=4)) for cell in cells]
    return Experiment(name="own", question="Does it run?", cells=tuple(short))
"""


def call(*arguments, cwd=ROOT):
    command = [sys.executable, "-m", "bench.ablations", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def asked(*arguments):
    return ablations.experiments(ablations.parser().parse_args(list(map(str, arguments))))


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "own_ablation.py"
    path.write_text(OWN)
    return path


def test_what_the_paper_has_is_asked_for_by_default():
    assert [one.name for one in asked()] == [
        *("table1", "fig2", "zoo_ann", "zoo_dnl", "table2", "table6", "table7")
    ]


def test_everything_is_asked_for_by_all():
    assert [one.name for one in asked("--all")] == [*EXPERIMENTS, "table6", "table7"]


def test_what_settles_how_networks_are_trained_is_asked_for_by_name_alone():
    assert [one.name for one in asked("--experiment", "schedule")] == ["schedule"]


def test_a_table_is_asked_for_by_its_number():
    assert [one.name for one in asked("--table", 6, "--table", 1)] == ["table6", "table1"]


def test_seeds_are_trainings_of_each_row():
    (table,) = asked("--table", 7, "--seeds", 2)
    assert sum(isinstance(cell, TrainingJob) for cell in table.cells) == 16


def test_somebodys_own_file_is_run_by_its_path(own):
    (made,) = asked("--experiment", own, "--seeds", 1)
    assert {cell.name for cell in made.cells} == {"paper/baseline", "paper/apnb"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "AttributeError.*it must have EXPERIMENT or make"),
        ("EXPERIMENT = 3", "gives int; it must give an experiments.spec.Experiment"),
        ("1 / 0", "ZeroDivisionError: division by zero; it must have"),
    ],
)
def test_a_file_that_holds_no_experiment_says_why(tmp_path, text, message):
    path = tmp_path / "wrong.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        asked("--experiment", path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--experiment", "tabel1"],
            "unknown experiment 'tabel1'; did you mean 'table1'? allowed are",
        ),
        (["--experiment", "none.py"], "experiment file 'none.py' does not exist"),
        (["--dataset", "camvid"], "data set 'camvid' is read from files; pass --root"),
        (["--evaluate", "x.pth"], "--evaluate needs the network of the checkpoint"),
        (
            ["--evaluate", "x.pth", "--network", "mmseg/ann"],
            "unknown network 'mmseg/ann'; did you mean",
        ),
        (["--table", "9"], "argument --table: unknown table '9'; allowed are 1, 2"),
    ],
)
def test_a_wrong_argument_gets_one_line_and_status_2(typed, tmp_path, arguments, message):
    status, printed, errors = typed(ablations, *arguments, "--out", tmp_path)
    assert (status, printed, errors.count("\n")) == (2, "", 1)
    assert message in errors


@pytest.mark.parametrize("smoke", [True, False])
def test_what_only_shows_that_it_works_does_not_lie_beside_results(tmp_path, smoke):
    budget = "quick" if smoke else "smoke"
    (tmp_path / "records.jsonl").write_text(f'{{"axes":{{"budget":"{budget}"}}}}\n')
    with pytest.raises(ValueError, match="choose another --out"):
        ablations.check_folder(tmp_path, smoke=smoke)
    ablations.check_folder(tmp_path, smoke=not smoke)


def test_a_missing_data_set_is_drawn_before_anything_runs(typed, tmp_path):
    asked = ("--table", 6, "--dataset", "camvid", "--root", tmp_path, "--out", tmp_path / "out")
    status, printed, errors = typed(ablations, *asked)
    assert (status, printed) == (2, "")
    assert "is missing; camvid is expected as" in errors
    assert not (tmp_path / "out" / "records.jsonl").exists()


def test_networks_are_trained_judged_and_tabled_and_nothing_twice(typed, tmp_path, own):
    out = tmp_path / "out"
    arguments = ("--experiment", own, "--seeds", 1, "--out", out)
    done = call(*arguments)
    assert done.returncode == 0, done.stderr
    what, how_long, *_ = done.stderr.splitlines()
    assert f"into {out}, but for what has a record there" in what
    assert how_long.startswith("0 of 4 records are there; about ")
    found = [
        item for item in record.read_records(out / "records.jsonl") if item.source == "measured"
    ]
    assert {item.subject: item.failure for item in found} == {
        "paper/baseline": None,
        "paper/apnb": None,
    }
    assert all(item.measures.accuracy.iterations == 4 for item in found)
    assert {item.environment.threads for item in found} == {1}
    with np.load(out / "pictures" / f"{found[0].cell}.npz", allow_pickle=False) as pictures:
        assert pictures["predictions"].shape == pictures["labels"].shape
    assert typed(ablations, *arguments)[0] == 0
    assert len(record.read_records(out / "records.jsonl")) == 4


def test_a_checkpoint_is_evaluated_recorded_and_tabled(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    network = build.network("paper/apnb", num_classes=16, backbone="tiny")
    torch.save(network.state_dict(), tmp_path / "own.pth")
    monkeypatch.setitem(scenes.LENGTHS, "val", 2)
    arguments = ("--evaluate", tmp_path / "own.pth", "--network", "paper/apnb")
    options = ("--backbone", "tiny", "--device", "cpu", "--out", tmp_path / "out")
    assert ablations.main(list(map(str, (*arguments, *options)))) == 0
    (kept,) = record.read_records(tmp_path / "out" / "records.jsonl")
    assert kept.experiment == "evaluation"
    assert kept.axes == {
        "network": "paper/apnb",
        "dataset": "scenes",
        "evaluation": "whole",
        "checkpoint": "own.pth",
        "backbone": "tiny",
    }
    assert re.fullmatch("[0-9a-f]{12}", kept.environment.code)
    accuracy = kept.measures.accuracy
    assert (accuracy.iterations, accuracy.train_images, accuracy.backbone) == (0, 0, "tiny")
    assert accuracy.confusion == evaluate(network, scenes.Scenes("val")).rows()
    assert "own.pth" in capsys.readouterr().out


def test_a_checkpoint_of_our_own_training_is_evaluated_and_its_notes_shown(
    tmp_path, monkeypatch, capsys
):
    torch.manual_seed(0)
    network = build.network("paper/apnb", num_classes=16, backbone="tiny")
    state = {"network": network.state_dict(), "trained": {}, "optimiser": {}}
    torch.save(state | {"ema": network.state_dict()}, tmp_path / "training.pt")
    monkeypatch.setitem(scenes.LENGTHS, "val", 1)
    arguments = ("--evaluate", tmp_path / "training.pt", "--network", "paper/apnb")
    options = ("--backbone", "tiny", "--device", "cpu", "--out", tmp_path / "out")
    assert ablations.main(list(map(str, (*arguments, *options)))) == 0
    (kept,) = record.read_records(tmp_path / "out" / "records.jsonl")
    assert kept.measures.accuracy.confusion == evaluate(network, scenes.Scenes("val")).rows()
    assert "averaged ones too, under 'ema', not read" in " ".join(capsys.readouterr().out.split())


def test_a_checkpoint_is_not_evaluated_by_several_processes(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    arguments = ["--evaluate", "own.pth", "--network", "mmseg/ann-r50"]
    with pytest.raises(ValueError, match="runs in one process; call it without torchrun"):
        ablations.evaluate_published(ablations.parser().parse_args(arguments))


def test_places_are_told_to_workers_from_the_root_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments = ["--dataset", "camvid", "--root", "set", "--pretrained", "file:weights.pth"]
    setting = ablations.setting_of(ablations.parser().parse_args(arguments))
    assert setting.root == str(tmp_path / "set")
    assert setting.pretrained == f"file:{tmp_path / 'weights.pth'}"


@pytest.mark.slow
def test_two_processes_of_torchrun_train_one_network(tmp_path, own):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "bench.ablations", "--experiment", own, "--seeds", "1", "--out", tmp_path / "out",
    ]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = record.read_records(tmp_path / "out" / "records.jsonl")
    assert [item.subject for item in found] == ["paper/baseline", "paper/apnb"]
    assert {item.environment.flags["processes"] for item in found} == {"2"}


@pytest.mark.slow
def test_a_ray_cluster_of_this_machine_trains_the_networks(tmp_path, own):
    pytest.importorskip("ray")
    done = call("--experiment", own, "--seeds", 1, "--engine", "ray", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = [
        item
        for item in record.read_records(tmp_path / "out" / "records.jsonl")
        if item.source == "measured"
    ]
    assert {item.failure for item in found} == {None}


def test_a_recipe_of_heads_wants_the_features_kept():
    asked_for = ["--table", "6", "--dataset", "camvid", "--root", "x", "--recipe", "frozen-sgd"]
    with pytest.raises(ValueError, match="pass --features frozen with it"):
        ablations.main(asked_for)
