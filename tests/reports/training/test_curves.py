"""Curves by which rate and length were chosen, from records alone."""

import pytest

from bench.records import Failure
from reports.model import Mark, frame
from reports.model.layout import text_of
from reports.training import curves, tables

FROZEN = {"dataset": "camvid", "budget": "standard", "features": "frozen"}


def point(make, network, rate, iterations, percents, **accuracy):
    axes = {"network": network, "learning_rate": rate, "iterations": iterations}
    for seed, percent in enumerate(percents):
        yield make.training(
            "schedule",
            axes,
            seed,
            percent,
            setting=FROZEN,
            accuracy={"iterations": int(float(iterations))} | accuracy,
        )


@pytest.fixture
def records(make):
    losses = ((200, 2.0), (400, 1.0))
    return [
        *point(make, "paper/baseline", "0.01", "200", (30.0, 32.0)),
        *point(make, "paper/baseline", "0.01", "400", (40.0, 42.0), losses=losses),
        *point(make, "paper/baseline", "0.02", "400", (20.0, 20.0), losses=losses),
        *point(make, "paper/apnb", "0.01", "200", (35.0, 35.0)),
        *point(make, "paper/apnb", "0.01", "400", (45.0, 45.0), losses=losses),
    ]


def figures(records):
    return {one.name: one for one in curves.schedule_figures(frame.build_frame(records))}


def test_there_is_one_against_iterations_one_against_the_rate_and_one_of_losses(records):
    setting = "camvid-standard-frozen-features"
    assert list(figures(records)) == [
        f"schedule-{what}-{setting}" for what in ("iterations", "learning-rate", "loss")
    ]


def test_the_curve_against_iterations_is_at_the_usual_rate_alone(records):
    figure = next(iter(figures(records).values()))
    assert "baseline 31 % at 200, 41 % at 400; apnb 35 % at 200, 45 % at 400" in figure.alternative


def test_the_curve_against_the_rate_has_the_networks_that_were_trained_at_several(records):
    figure = list(figures(records).values())[1]
    assert figure.alternative.endswith("baseline 41 % at 0.01, 20 % at 0.02.")


def test_losses_are_means_over_the_seeds(records):
    figure = list(figures(records).values())[2]
    assert "apnb 2 at 200, 1 at 400" in figure.alternative


def test_without_trainings_there_is_none(make):
    failed = make.training(
        "schedule",
        {"network": "paper/nb", "learning_rate": "0.01", "iterations": "200"},
        0,
        setting=FROZEN,
        failure=Failure(kind="error", reason="it diverged"),
    )
    assert figures([failed]) == {}


def test_a_table_says_that_the_backbone_was_frozen(make):
    trained = point(
        make,
        "paper/nb",
        "0.01",
        "200",
        (30.0,),
        features="frozen",
        pretrained="package",
        backbone="efficientnet-lite0",
    )
    table = tables.training_tables(frame.build_frame(list(trained)))[0]
    assert "frozen features" in table.title
    assert "efficientnet-lite0, pretrained (package) and FROZEN: heads alone were trained" in (
        table.caption
    )


def test_differences_of_networks_stand_by_the_length_of_their_trainings(make):
    records = [
        *point(make, "paper/nb", "0.01", "200", (30.0, 31.0, 32.0)),
        *point(make, "paper/nb", "0.01", "1600", (40.0, 41.0, 42.0)),
        *point(make, "paper/apnb", "0.01", "200", (31.0, 32.0, 34.0)),
        *point(make, "paper/apnb", "0.01", "1600", (39.0, 40.0, 41.0)),
        *point(make, "paper/nb", "0.02", "200", (10.0, 10.0, 10.0)),
    ]
    table = shown(records)["schedule-camvid-standard-frozen-features-differences"]
    assert [column.heading for column in table.columns[1:]] == [
        f"{length} iterations, measured (points)" for length in ("200", "1,600")
    ]
    (row,) = table.rows
    # Of 1, 1 and 2 by Student's t.
    assert [text_of(v, c) for v, c in zip(row, table.columns, strict=True)] == [
        *("apnb over nb", "1.33 [-0.10, 2.77]", "-1.00 [-1.00, -1.00]"),
    ]


def shown(records):
    return {each.name: each for each in tables.training_tables(frame.build_frame(records))}


def test_a_length_that_a_network_lacks_is_a_mark_in_the_table_of_differences(make):
    records = [
        *point(make, "paper/nb", "0.01", "200", (30.0, 31.0, 32.0)),
        *point(make, "paper/nb", "0.01", "1000.0", (40.0, 41.0, 42.0)),
        *point(make, "paper/apnb", "0.01", "200", (31.0, 32.0, 34.0)),
    ]
    table = shown(records)["schedule-camvid-standard-frozen-features-differences"]
    ((_, there, lacking),) = table.rows
    assert (there.median, isinstance(lacking, Mark)) == (pytest.approx(4 / 3, abs=1e-3), True)


@pytest.mark.parametrize(
    "axes",
    [{"network": "paper/nb"}, {"network": "paper/nb", "learning_rate": "a", "iterations": "b"}],
)
def test_an_experiment_of_that_name_with_other_axes_has_neither_figure_nor_differences(make, axes):
    records = [make.training("schedule", axes, seed, 40.0 + seed) for seed in (0, 1)]
    assert not figures(records)
    assert not [name for name in shown(records) if name.endswith("differences")]
