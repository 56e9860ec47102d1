import json
import math
from dataclasses import asdict, replace
from operator import itemgetter

import pytest

from ann.spec import Size
from bench.training.data.readers import DATASET_LAYOUTS
from bench.training.data.scene_drawing import SCENE_SIZE
from experiments.recipes import BUDGETS, CITYSCAPES_WEIGHTS, RECIPES, recipe_for


@pytest.mark.parametrize(
    ("dataset", "iterations", "batch", "side", "learning_rate", "weight_decay"),
    [
        ("cityscapes", 60_000, 8, 769, 0.01, 5e-4),
        ("ade20k", 150_000, 16, 520, 0.02, 1e-4),
        ("pascal-context-59", 28_000, 16, 480, 0.01, 1e-4),
        # By analogy: as many passes as on the set above.
        ("coco-stuff-10k", 50_000, 16, 480, 0.01, 1e-4),
        ("nyud-v2", 4_500, 16, 480, 0.01, 1e-4),
    ],
)
def test_the_paper_trained_its_sets_so(
    dataset, iterations, batch, side, learning_rate, weight_decay
):
    recipe = recipe_for("paper", dataset)
    assert recipe.length("paper") == iterations
    assert (recipe.batch, recipe.crop) == (batch, Size(height=side, width=side))
    assert (recipe.learning_rate, recipe.weight_decay) == (learning_rate, weight_decay)
    assert (recipe.ohem_threshold, recipe.ohem_min_kept, recipe.divisor) == (0.7, 100_000, "kept")


@pytest.mark.parametrize(
    ("dataset", "iterations", "batch", "crop"),
    [
        ("cityscapes", 80_000, 8, "1024x512"),
        ("ade20k", 160_000, 16, "512x512"),
        ("voc2012aug", 40_000, 16, "512x512"),
        ("coco-stuff-10k", 40_000, 16, "512x512"),
    ],
)
def test_mmseg_trained_its_zoo_so(dataset, iterations, batch, crop):
    recipe = recipe_for("mmseg", dataset)
    assert recipe.length("paper") == iterations
    assert (recipe.batch, str(recipe.crop)) == (batch, crop)
    assert (recipe.floor, recipe.ohem_threshold, recipe.class_weights) == (1e-4, None, ())


def test_class_weights_are_for_the_nineteen_classes_of_cityscapes_alone():
    weighted = [name for name in DATASET_LAYOUTS if recipe_for("paper", name).class_weights]
    assert weighted == ["cityscapes"]
    assert len(CITYSCAPES_WEIGHTS) == 19


def test_the_road_weighs_least_and_the_motorcycle_most():
    names = DATASET_LAYOUTS["cityscapes"].classes().names
    weights = dict(zip(names, CITYSCAPES_WEIGHTS, strict=True))
    assert min(weights.items(), key=itemgetter(1)) == ("road", 0.8373)
    assert max(weights.items(), key=itemgetter(1)) == ("motorcycle", 1.1529)
    assert math.fsum(CITYSCAPES_WEIGHTS) == pytest.approx(19, abs=2e-4)


@pytest.mark.parametrize("name", ["paper", "mmseg"])
@pytest.mark.parametrize("dataset", DATASET_LAYOUTS)
def test_both_sources_have_a_recipe_for_every_set(name, dataset):
    assert recipe_for(name, dataset).name == name


@pytest.mark.parametrize("name", RECIPES)
def test_budgets_grow(name):
    smoke, quick, standard, paper = (RECIPES[name].length(budget) for budget in BUDGETS)
    assert 0 < smoke < quick < standard < paper


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_goes_into_an_id(recipe):
    assert json.loads(json.dumps(asdict(recipe)))["learning_rate"] == recipe.learning_rate


def test_scenes_are_seen_whole_and_at_their_scale():
    recipe = recipe_for("scenes", "scenes")
    assert recipe.scale == recipe.aspect == (1.0, 1.0)
    assert recipe.crop == SCENE_SIZE
    assert not recipe.photometric


def test_an_unknown_recipe_is_answered_with_the_known_ones():
    with pytest.raises(
        ValueError,
        match="unknown recipe 'papr'; did you mean 'paper'. allowed are paper, mmseg, scenes",
    ):
        recipe_for("papr", "cityscapes")


def test_a_recipe_for_other_sets_says_which():
    with pytest.raises(ValueError, match="recipe 'scenes' is not for 'camvid'; it is for scenes"):
        recipe_for("scenes", "camvid")


def test_an_unknown_budget_is_answered_with_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown budget 'long'; allowed are quick, standard, paper"
    ):
        RECIPES["paper"].length("long")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": (2.0, 0.5)}, r"scale=\(2.0, 0.5\) is not possible; pass a range above 0"),
        ({"aspect": (0.0, 1.0)}, "aspect="),
        ({"flip": 1.5}, "flip=1.5 is not possible; pass a share"),
        ({"cat_max_ratio": -0.1}, "cat_max_ratio="),
        ({"batch": 0}, "batch=0 is not possible; pass more than 0"),
        ({"learning_rate": 0.0}, "learning_rate="),
        ({"short_side": 0}, "short_side=0"),
        ({"ohem_threshold": 70}, "ohem_threshold=70 is not possible; pass 0.7, or None"),
        ({"floor": 1.0}, "floor=1.0 is not possible; pass 0 to the learning rate, 0.01"),
        ({"optimiser": "adam"}, "optimiser='adam' is not possible; pass one of sgd, adamw"),
        ({"divisor": "some"}, "divisor='some'"),
        ({"precision": "half"}, "precision='half'"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RECIPES["paper"], **change)
