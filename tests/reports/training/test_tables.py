"""Tables and figures of what was trained, from records alone."""

import re

import pytest

from reports import report
from reports.model import frame, plain
from reports.render import csv, html, latex, markdown
from reports.training import cost_figure
from reports.training import studies as trained
from reports.training import tables as ablations
from tests.reports.training.trained_tables import KILLED, column, named, notes, row, shown

HOSTILE = ("../../etc", "<script>alert(1)</script>", "a|b", r"\input{x}", "=1+1", "[red]x[/red]")


RENDERERS = {"md": markdown.to_markdown, "tex": latex.to_latex, "csv": csv.to_csv, "txt": shown}


@pytest.mark.parametrize("ending", RENDERERS)
@pytest.mark.parametrize("name", ["table6-scenes-quick", "comparisons-scenes-quick"])
def test_the_tables_are_as_kept(made, golden, name, ending):
    golden(f"{name}.{ending}", RENDERERS[ending](made[name]))


def test_every_seed_is_as_kept(made, golden):
    golden("table6-scenes-quick-seeds.md", markdown.to_markdown(made["table6-scenes-quick-seeds"]))


def test_there_are_tables_for_each_table_and_one_comparison(made):
    assert list(made) == [
        "table6-scenes-quick",
        "table6-scenes-quick-seeds",
        "table7-scenes-quick",
        "table7-scenes-quick-seeds",
        "comparisons-scenes-quick",
        "comparisons-scenes-quick-power",
        "comparisons-scenes-quick-groups",
    ]


def test_the_mean_is_over_the_seeds(made):
    # 39.4, 40.0 and 40.6, from matrices of a million pixels a class.
    assert row(made["table6-scenes-quick"], "paper/baseline")["mIoU, measured (%)"] == (
        "40.00 \N{PLUS-MINUS SIGN} 0.60"
    )
    seeds = row(made["table6-scenes-quick-seeds"], "paper/baseline")
    assert [seeds[f"seed {seed}, measured (%)"] for seed in range(3)] == ["39.40", "40.00", "40.60"]


def test_rows_stand_in_the_papers_order_beside_its_numbers(made):
    printed = column(made["table6-scenes-quick"], "mIoU, published (%)")
    assert printed == ["75.8", "78.4", "78.6", "76.5", "77.3", "77.1", "79.0", "79.7", "79.9"]


def test_a_row_that_was_not_run_keeps_what_the_paper_prints(made):
    found = row(made["table7-scenes-quick"], "random")
    assert (found["anchors"], found["mIoU, published (%)"]) == ("225", "78.2")
    assert (found["mIoU, measured (%)"], found["seeds"]) == ("-", "0")


def test_a_failed_seed_is_counted_and_gives_its_reason(made):
    found = made["table6-scenes-quick"]
    assert row(found, "paper/fnb")["seeds"] == "2 of 3"
    assert "seed 2: out of memory: the process was killed | signal 9" in notes(found)
    seeds = row(made["table6-scenes-quick-seeds"], "paper/fnb")
    assert seeds["seed 2, measured (%)"] == "out of memory"


def test_a_row_of_failures_alone_says_why_in_the_place_of_its_mean(make):
    found = [make.training("table6", {"network": "paper/nb"}, s, failure=KILLED) for s in (0, 1)]
    table = named(found)["table6-scenes-quick"]
    assert row(table, "paper/nb")["mIoU, measured (%)"] == "out of memory"


def test_groups_of_classes_have_columns(make):
    matrix = ((5, 5, 0, 0), (0, 10, 0, 0), (0, 0, 10, 0), (0, 0, 0, 10))
    record = make.training("table6", {"network": "paper/nb"}, 0, accuracy={"confusion": matrix})
    found = row(named([record])["table6-scenes-quick"], "paper/nb")
    assert found["mIoU, cue, measured (%)"] == "100.00"
    assert found["mIoU, other, measured (%)"] == f"{100 * (5 / 10 + 10 / 15) / 2:.2f}"


def test_without_groups_there_are_no_columns_of_them(make):
    record = make.training("table6", {"network": "paper/nb"}, 0, accuracy={"groups": {}})
    found = named([record])
    assert not [c for c in found["table6-scenes-quick"].columns if "cue" in c.name]
    assert "comparisons-scenes-quick-groups" not in found


def test_the_caption_says_data_backbone_iterations_seeds_and_machine(made):
    assert made["table6-scenes-quick"].caption == (
        "scenes, val set; backbone tiny; 500 iterations on 4,096 training images; seeds 0, 1, 2; protocol 'whole' on "
        "images of 192x96; trained on Example CPU (1 thread), torch 2.15.0."
    )


def test_the_papers_own_conditions_are_noted(made):
    noted = "The published column: Cityscapes, validation set, single scale; ResNet-101, 60K iterations."
    assert noted in notes(made["table6-scenes-quick"])


def test_crops_that_were_passed_over_are_told(make):
    runs = [
        make.training("table6", {"network": "paper/nb"}, seed, 50.0, accuracy={"empty_crops": 600})
        for seed in (0, 1)
    ]
    said = notes(named(runs)["table6-scenes-quick"])
    assert "1,200 crops had no labelled pixel and added nothing to the loss." in said


def test_costs_stand_beside_the_score(make):
    axes = {"network": "paper/nb"}
    costs_of = [
        make.network_cost("table6", axes, 2 * 10**9),
        make.network_cost("table6", axes, 9 * 10**10, mode="train", mebibytes=100),
    ]
    found = row(
        named([*costs_of, make.training("table6", axes, 0, 50.0)])["table6-scenes-quick"],
        "paper/nb",
    )
    assert (found["MACs (G)"], found["MACs of a step (G)"]) == ("2.000", "90.00")
    assert found["memory of a call, predicted (MiB)"] == "10.0"
    assert found["memory of training, predicted (MiB)"] == "105.0"
    assert found["time of a step, measured (ms)"] == "100.0"


def test_predictions_without_a_setting_count_for_all(make):
    axes = {"network": "paper/nb"}
    shared = make.network_cost("table6", axes, 2 * 10**9, setting={})
    runs = [
        make.training("table6", axes, 0, 50.0, setting={"dataset": data, "budget": "quick"})
        for data in ("scenes", "camvid")
    ]
    found = named([shared, *runs])
    for data in ("scenes", "camvid"):
        assert row(found[f"table6-{data}-quick"], "paper/nb")["MACs (G)"] == "2.000"


def test_settings_have_tables_of_their_own(make):
    other = {"dataset": "camvid", "budget": "quick"}
    found = named([*make.table6(), *make.table6({"nb": 30.0}, setting=other)])
    nb = [row(found[f"table6-{d}-quick"], "paper/nb") for d in ("scenes", "camvid")]
    assert [one["mIoU, measured (%)"][:5] for one in nb] == ["50.00", "30.00"]
    assert {"comparisons-scenes-quick", "comparisons-camvid-quick"} <= set(found)
    assert row(found["table6-camvid-quick"], "paper/afnb+apnb")["mIoU, published (%)"] == "79.9"


def test_a_setting_that_says_more_takes_nothing_from_one_that_says_less(make):
    usual = {"dataset": "scenes", "budget": "quick"}
    runs = [
        make.training("table6", {"network": "paper/nb"}, 0, score, setting=setting)
        for score, setting in ((50.0, usual), (60.0, {**usual, "backbone": "resnet18"}))
    ]
    found = named(runs)
    for name, score in (("quick", "50.00"), ("quick-resnet18", "60.00")):
        assert row(found[f"table6-scenes-{name}"], "paper/nb")["mIoU, measured (%)"] == score


def test_settings_with_like_names_do_not_share_a_file(make):
    found = [
        make.training("table6", {"network": "paper/nb"}, 0, 50.0, setting={"dataset": name})
        for name in ("a b", "a/b")
    ]
    tables_of = ablations.training_tables(frame.build_frame(found))
    names = [table.name for table in tables_of]
    assert len(names) == len(set(names))
    assert {"table6-a-b", "table6-a-b-2"} <= set(names)


def test_of_two_trainings_of_a_seed_the_later_counts(make):
    pair = [
        make.training("table6", {"network": "paper/nb"}, 0, score, created_at=f"2026-01-0{day}")
        for score, day in ((60.0, 2), (50.0, 1))
    ]
    table = named(pair)["table6-scenes-quick"]
    assert row(table, "paper/nb")["mIoU, measured (%)"] == "60.00"


def test_seeds_in_the_caption_are_in_the_order_of_numbers(make):
    found = [make.training("table6", {"network": "paper/nb"}, seed, 50.0) for seed in (10, 9, 2)]
    assert "seeds 2, 9, 10;" in named(found)["table6-scenes-quick"].caption


@pytest.mark.parametrize(("count", "said"), [(5, "0, 1, 2, 3, 4"), (20, "0 to 19")])
def test_many_seeds_are_named_by_the_first_and_the_last(make, count, said):
    found = [make.training("table6", {"network": "paper/nb"}, s, 50.0) for s in range(count)]
    assert f"; seeds {said};" in named(found)["table6-scenes-quick"].caption


def test_the_order_is_compared_with_the_papers(make):
    (note,) = [n for n in notes(named(make.table6())["table6-scenes-quick"]) if "Kendall" in n]
    # The made-up means have the paper's order.
    assert note.startswith("Kendall's tau with the order of Table 6: 1.00 [")
    assert "35 of 36 pairs of rows are told apart by 3 seeds" in note


def test_a_reversed_order_has_a_negative_tau(make):
    turned = {name: 100 - percent for name, percent in make.TABLE6_PERCENT.items()}
    (study,) = trained.training_studies(frame.build_frame(make.table6(turned)))
    from reports.training.verdicts import ranking_tau

    assert ranking_tau(study).value == -1


def test_what_was_only_predicted_has_costs_and_no_verdicts(make):
    predicted = [
        make.network_cost("table6", {"network": "paper/nb", "seed": s}, 10**9) for s in (0, 1)
    ]
    found = named(predicted)
    assert list(found) == ["table6-scenes-quick"]
    assert row(found["table6-scenes-quick"], "paper/nb")["MACs (G)"] == "1.000"


def test_an_experiment_of_ones_own_has_a_table_without_the_papers(make):
    runs = [make.training("mine", {"width": 8, "block": "x"}, seed, 50 + seed) for seed in (0, 1)]
    found = named(runs)
    assert list(found) == ["mine-scenes-quick", "mine-scenes-quick-seeds"]
    headings = [c.heading for c in found["mine-scenes-quick"].columns]
    assert headings[:3] == ["width", "block", "mIoU, measured (%)"]


def test_an_accuracy_without_a_seed_is_no_ablation(make):
    run = make.training("evaluation", {"network": "mmseg/ann-r50"}, 0, 50.0)
    axes = {name: value for name, value in run.axes.items() if name != "seed"}
    assert named([run.model_copy(update={"axes": axes})]) == {}


def test_a_row_of_ones_own_stands_after_the_papers(make):
    own = make.training("table6", {"network": "my_package:make"}, 0, 50.0)
    table = named([*make.table6(), own])["table6-scenes-quick"]
    assert table.rows[-1][0] == "my_package:make"
    assert table.rows[-1][1].text == "-"


def test_trained_tables_take_the_place_of_the_published_ones(make):
    names = [table.name for table in report.report_tables(frame.build_frame(make.table6()))]
    assert "table6" not in names
    assert "table7" in names


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_stays_text_and_leaves_the_folder_never(make, text):
    own = [
        make.training(
            "table6",
            {"network": name},
            seed,
            50.0 + seed,
            setting={"dataset": text, "budget": text},
            accuracy={"dataset": text, "groups": {text: (0,)}, "protocol": text, "backbone": text},
        )
        for name in ("paper/nb", text)
        for seed in (0, 1, 2)
    ]
    built = frame.build_frame(
        [*own, make.network_cost("table6", {"network": text}, 10**9, setting={})]
    )
    made = ablations.training_tables(built)
    for table in made:
        assert re.fullmatch(r"[a-z0-9-]+", table.name)
        lines = markdown.to_markdown(table).splitlines()
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in lines if line.startswith("|")}
        assert cells == {len(table.columns) + 1}
        assert plain(text) in table.title
        assert r"\input" not in latex.to_latex(table)
        assert not [line for line in csv.to_csv(table).splitlines() if line.startswith("=")]
    page = html.report_page(made, cost_figure.cost_figures(built))
    assert page.count("<script") == 1  # the page's own
