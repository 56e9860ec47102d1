from dataclasses import replace
from pathlib import Path

import pytest

from ann.catalogue import NETWORKS
from bench.records import record
from bench.training.protocols import PROTOCOLS
from experiments.paper import table6, table7
from experiments.recipes import Iterations
from experiments.spec import TrainingJob
from experiments.training import (
    DATASETS,
    EVALUATIONS,
    PROCEDURAL,
    Setting,
    cells,
    usual_evaluation,
)

ROOT = Path(__file__).resolve().parents[2]
SCENES = Setting()


@pytest.mark.parametrize(("name", "rows"), [("table6", table6.ROWS), ("table7", table7.ROWS)])
def test_the_rows_are_the_published_ones(name, rows):
    published = record.read_records(ROOT / f"reports/published/{name}.jsonl")
    axes = {tuple((key, str(item.axes[key])) for key, _ in next(iter(rows))) for item in published}
    assert set(rows) == axes


@pytest.mark.parametrize("table", [table6, table7])
def test_each_row_is_trained_once_a_seed(table):
    made = table.make(replace(SCENES, seeds=(4, 5))).cells
    cells = [cell for cell in made if isinstance(cell, TrainingJob)]
    assert len(cells) == 2 * len(table.ROWS)
    assert {cell.seed for cell in cells} == {4, 5} == {cell.axes["seed"] for cell in cells}


def test_the_full_network_of_table_6_is_a_row_of_table_7_and_trained_once():
    ids = [
        {cell.id for cell in table.make(SCENES).cells if isinstance(cell, TrainingJob)}
        for table in (table6, table7)
    ]
    assert len(ids[0] & ids[1]) == len(SCENES.seeds)


def test_where_the_data_lie_changes_no_id():
    here, there = (
        table6.make(Setting(dataset="camvid", root=root)).cells[-1].id for root in ("a", "b")
    )
    assert here == there


def test_in_which_files_the_labels_are_changes_no_id():
    ids, colours = (
        table6.make(Setting(dataset="camvid", root="a", palette=palette)).cells[-1]
        for palette in (False, True)
    )
    assert (colours.training.palette, colours.id) == (True, ids.id)


def test_another_length_of_another_budget_changes_no_id():
    (*_, cell) = table6.make(SCENES).cells
    recipe = replace(cell.training.recipe, iterations=Iterations(quick=1, standard=2, paper=3))
    assert replace(cell, training=replace(cell.training, recipe=recipe)).id == cell.id


def test_the_budget_changes_the_id():
    quick, standard = (
        table6.make(replace(SCENES, budget=b)).cells[-1] for b in ("quick", "standard")
    )
    assert quick.id != standard.id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"dataset": "kitti"},
            "unknown data set 'kitti'; allowed are scenes, scenes-small, camvid",
        ),
        ({"dataset": "camvid"}, "is read from files; pass --root"),
        ({"budget": "long"}, "unknown budget 'long'; allowed are quick, standard, paper"),
        ({"recipe": "mmseg"}, "recipe 'mmseg' is not for 'scenes'"),
    ],
)
def test_a_setting_that_is_none_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Setting(**fields)


def test_the_usual_recipe_and_backbone_go_unsaid():
    assert SCENES.axes == {"dataset": "scenes", "budget": "quick"}
    assert replace(SCENES, backbone="resnet18").axes["backbone"] == "resnet18"


def test_the_procedural_sets_are_those_that_can_be_made():
    from bench.training.data import scenes

    assert tuple(scenes.PROCEDURAL) == PROCEDURAL


@pytest.mark.parametrize("name", PROCEDURAL)
def test_the_scenes_are_as_their_maker_has_them(name):
    from bench.training.data import scene_drawing, scenes

    assert DATASETS[name].num_classes == len(scenes.CLASSES)
    assert DATASETS[name].size == scene_drawing.SCENE_SIZE


def test_other_validation_images_are_another_training():
    usual, small = (table7.make(Setting(dataset=name)).cells[-1].id for name in PROCEDURAL)
    assert usual != small


@pytest.mark.parametrize("name", [name for name in DATASETS if name not in PROCEDURAL])
def test_the_number_of_classes_is_that_of_the_reader(name):
    from bench.training.data.readers import DATASET_LAYOUTS

    assert DATASETS[name].num_classes == len(DATASET_LAYOUTS[name].classes().names)


@pytest.mark.parametrize("source", EVALUATIONS)
def test_protocols_of_sources_are_known_ones_of_known_sets(source):
    assert EVALUATIONS[source].keys() <= DATASETS.keys()
    assert set(EVALUATIONS[source].values()) <= PROTOCOLS.keys()


@pytest.mark.parametrize(
    ("source", "dataset", "expected"),
    [
        ("mmseg", "ade20k", "mmseg-short-side-512"),
        ("mmseg", "cityscapes", "whole"),
        ("official", "ade20k", "official-ade20k"),
        ("semseg", "voc2012", "semseg-465"),
        ("denseaspp", "cityscapes", "whole"),
        ("mmseg", "camvid", "whole"),
    ],
)
def test_a_set_is_evaluated_as_the_source_does(source, dataset, expected):
    assert usual_evaluation(source, dataset) == expected


@pytest.mark.parametrize("name", ["zoo_ann", "zoo_dnl", "table6", "table7"])
def test_published_accuracies_name_a_known_protocol_each(name):
    for item in record.read_records(ROOT / f"reports/published/{name}.jsonl"):
        printed = {key for key in item.measures.printed if key.startswith("miou")}
        assert item.document.protocols.keys() == printed
        assert set(item.document.protocols.values()) <= PROTOCOLS.keys()


@pytest.mark.parametrize(
    ("recipe", "expected"), [("mmseg", "mmseg-short-side-512"), ("paper", "official-ade20k")]
)
def test_a_training_is_evaluated_as_its_recipe_s_source_does(recipe, expected):
    setting = Setting(dataset="ade20k", root="/there", recipe=recipe)
    assert setting.training().evaluation == expected


def test_a_recipe_at_half_the_size_is_judged_and_costed_there():
    (*_, cell) = table6.make(Setting(dataset="camvid", root="a", recipe="half")).cells
    protocol = PROTOCOLS[cell.training.evaluation]
    assert cell.size == protocol.target(DATASETS["camvid"].size, 1.0) == cell.training.recipe.crop


def test_frozen_features_have_their_own_backbone_weights_and_recipe():
    setting = Setting(dataset="camvid", root="/there", features="frozen", seeds=(0,))
    training = setting.training()
    chosen = training.features, training.pretrained, training.recipe.name
    assert chosen == ("frozen", "package", "frozen")
    assert setting.network(NETWORKS["paper/nb"]).backbone == "efficientnet-lite0"
    assert setting.axes["features"] == "frozen"


def test_a_step_of_heads_alone_is_not_said_to_cost_what_the_whole_network_does():
    setting = Setting(dataset="camvid", root="/there", features="frozen", seeds=(0,))
    rows = {(("network", "paper/nb"),): NETWORKS["paper/nb"]}
    assert [type(cell) for cell in cells("test", rows, setting)] == [TrainingJob]


def test_another_kind_of_features_is_answered_with_those_there_are():
    with pytest.raises(
        ValueError, match="unknown kind of features 'warm'; allowed are trained, frozen"
    ):
        Setting(features="warm")
