"""Tables and figures of what was trained, from records alone."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from bench.records import ImageConfusions, ImageEntries
from bench.records.record import Failure
from reports import report, training
from reports.model import frame, plain
from reports.model.layout import lay_out, text_of
from reports.render import TerminalTable, csv, html, latex, markdown
from reports.training import cost_figure
from reports.training import runs as trained
from reports.training import tables as ablations

KILLED = Failure(kind="out-of-memory", reason="the process was killed | signal 9")
HOSTILE = ("../../etc", "<script>alert(1)</script>", "a|b", r"\input{x}", "=1+1", "[red]x[/red]")


def column(table, heading):
    at = [c.heading for c in table.columns].index(heading)
    return [text_of(row[at], table.columns[at]) for row in table.rows]


def row(table, key):
    (found,) = [
        {c.heading: text_of(v, c) for c, v in zip(table.columns, row, strict=True)}
        for row in table.rows
        if key in row[:2]
    ]
    return found


def named(records):
    return {table.name: table for table in ablations.training_tables(frame.build_frame(records))}


def notes(table):
    return [note for _, note in lay_out(table).notes]


def shown(table):
    console = Console(file=io.StringIO(), width=140, legacy_windows=False)
    console.print(TerminalTable(table))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


RENDERERS = {"md": markdown.to_markdown, "tex": latex.to_latex, "csv": csv.to_csv, "txt": shown}


def table7(make, seeds=(0, 1, 2), **fields):
    percents = {("average", "15"): 50.0, ("max", "15"): 52.0, ("pyramid-average", "1,4,8,12"): 53}
    for at, ((sampler, grids), percent) in enumerate(percents.items()):
        axes = {"sampler": sampler, "grids": grids}
        for seed in seeds:
            score = percent + 0.4 * seed + 0.1 * ((at + seed) % 3)
            yield make.training("table7", axes, seed, score, **fields)


@pytest.fixture(scope="module")
def records(make):
    """Table 6 with a row that was not run and a seed that failed, and a part of Table 7."""
    found = [
        record
        for record in make.table6()
        if record.axes["network"] != "paper/common-fusion+nb"
        and (record.axes["network"], record.axes.get("seed")) != ("paper/fnb", 2)
    ]
    failed = make.training("table6", {"network": "paper/fnb"}, 2, failure=KILLED)
    return [*found, failed, *table7(make)]


@pytest.fixture(scope="module")
def made(records):
    return named(records)


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
    other = pair[1].environment.model_copy(update={"device_name": "Other CPU"})
    pair[1] = pair[1].model_copy(update={"environment": other})
    table = named(pair)["table6-scenes-quick"]
    assert row(table, "paper/nb")["mIoU, measured (%)"] == "60.00"


def test_seeds_in_the_caption_are_in_the_order_of_numbers(make):
    found = [make.training("table6", {"network": "paper/nb"}, seed, 50.0) for seed in (10, 9, 2)]
    assert "seeds 2, 9, 10;" in named(found)["table6-scenes-quick"].caption


@pytest.mark.parametrize(("count", "said"), [(5, "0, 1, 2, 3, 4"), (20, "0 to 19")])
def test_many_seeds_are_named_by_the_first_and_the_last(make, count, said):
    found = [make.training("table6", {"network": "paper/nb"}, s, 50.0) for s in range(count)]
    assert f"; seeds {said};" in named(found)["table6-scenes-quick"].caption


def verdict(table, title):
    found = row(table, title)
    stands = found["p among all"] != "-" and float(found["p among all"]) <= 0.05
    return found["verdict"], found["verdict"] if stands else "undecided"


def test_verdicts_follow_from_the_seeds(made):
    found = made["comparisons-scenes-quick"]
    assert verdict(found, "nb over baseline")[0] == "supported"
    assert verdict(found, "apnb over nb") == ("undecided", "undecided")
    assert verdict(found, "apnb no worse than nb")[0] == "supported"
    assert verdict(found, "average 15 over max 15") == ("not supported", "not supported")


def test_what_stands_alone_may_not_stand_among_all(make):
    # Differences of 1, 1.5 and 2 have p = 0.035: below 0.05, but not below a third of it.
    percents = {"baseline": (40, 41, 42), "nb": (41, 42.5, 44), "apnb": (42, 41, 45)}
    runs = [
        make.training("table6", {"network": f"paper/{name}"}, seed, score)
        for name, scores in percents.items()
        for seed, score in enumerate(scores)
    ]
    found = named(runs)["comparisons-scenes-quick"]
    assert verdict(found, "nb over baseline") == ("supported", "undecided")
    assert "3 comparisons have an interval" in " ".join(notes(found))


def test_a_comparison_without_its_seeds_is_a_row_with_the_reason(made):
    found = made["comparisons-scenes-quick"]
    assert len(found.rows) == 25
    assert row(found, "common-fusion+nb over nb")["difference, measured (points)"] == "-"
    assert {"2 of 3 seeds", "common-fusion+nb has no score"} <= set(notes(found))


def test_the_caption_counts_the_verdicts(made):
    table = made["comparisons-scenes-quick"]
    given = column(table, "verdict")
    said = ", ".join(
        f"{given.count(kind)} {kind}" for kind in ("supported", "not supported", "undecided")
    )
    assert table.caption.startswith(f"25 comparisons: {said}; among all ")
    assert "supported. scenes, val set;" in table.caption


def test_the_caption_counts_what_stands_among_all(made):
    table = made["comparisons-scenes-quick"]
    standing = [
        kind
        for kind, p in zip(column(table, "verdict"), column(table, "p among all"), strict=True)
        if p != "-" and float(p) <= 0.05
    ]
    said = (
        f"{standing.count('supported')} supported, {standing.count('not supported')} not supported"
    )
    assert f"; among all {said}. " in table.caption


def test_published_differences_are_those_of_the_printed_numbers(made):
    found = row(made["comparisons-scenes-quick"], "nb over baseline")
    assert found["gain, published (points)"] == "2.6"
    assert found["difference, measured (points)"] == "10.00 [9.57, 10.43]"


def test_the_table_of_comparisons_fits_a_terminal_of_100_columns(made):
    console = Console(file=io.StringIO(), width=100, legacy_windows=False)
    console.print(TerminalTable(made["comparisons-scenes-quick"]))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    # Each comparison is named in both parts; no interval is broken.
    assert sum(line.startswith("afnb+apnb over common-fusion+nb ") for line in lines) == 2
    assert any("10.00 [9.57, 10.43]" in line for line in lines)


def test_half_widths_are_told_beside_the_aim(made):
    (note,) = [n for n in notes(made["comparisons-scenes-quick"]) if n.startswith("Half")]
    assert note == (
        "Half an interval by seeds is 0.00 to 0.43 points (median 0.43); 4 of 14 are at most 0.3."
    )


def test_a_table_says_the_smallest_difference_that_its_seeds_tell(make):
    # Differences of the first pair scatter by 1, so do those of the others.
    runs = [
        make.training("mine", {"width": width}, seed, 50 + gain * (seed - 1))
        for width, gain in ((8, 0.0), (16, 1.0))
        for seed in (0, 1, 2)
    ]
    (note,) = [n for n in notes(named(runs)["mine-scenes-quick"]) if n.startswith("With 3 seeds")]
    # 3.26 deviations (noncentral t, 2 degrees of freedom).
    assert "can be told is 3.26 points where they share seeds" in note
    assert "from seed to seed a difference scatters by 1.00 and a training by 1.00" in note


def test_the_seeds_that_the_papers_step_takes_are_told(make):
    percents = {"baseline": (40.0, 40.0, 40.0), "nb": (41.0, 42.0, 43.0)}
    runs = [
        make.training("table6", {"network": f"paper/{name}"}, seed, score)
        for name, scores in percents.items()
        for seed, score in enumerate(scores)
    ]
    found = row(named(runs)["comparisons-scenes-quick-power"], "nb over baseline")
    assert found["scatter of a difference, measured (points)"] == "1.00"
    assert found["smallest difference, predicted (points)"] == "3.26"
    # For 2.6 points, from the tables of the t test: paired at a deviation of 1, unpaired at 0.71.
    assert (found["seeds needed, predicted"], found["unpaired, predicted"]) == ("4", "3")


def by_image(matrix, *, images=25):
    """Accuracy fields of a matrix that is shared out among images, the first having what is over."""
    rng = np.random.default_rng(sum(map(sum, matrix)) % 997)
    total = np.array(matrix)
    shares = rng.multinomial(total.ravel(), [1 / images] * images)
    entries = [ImageEntries(np.flatnonzero(each), each[each > 0]) for each in shares.T]
    return {
        "confusion": total.tolist(),
        "image_confusions": ImageConfusions.of(entries, len(matrix)).pack(),
    }


@pytest.fixture(scope="module")
def beyond(make):
    """Two networks with the matrices of their images."""
    runs = [
        make.training(
            "table6",
            {"network": f"paper/{name}"},
            seed,
            accuracy=by_image(make.confusion(percent + seed, pixels=2_000)),
        )
        for name, percent in (("baseline", 40.0), ("nb", 60.0))
        for seed in (0, 1, 2)
    ]
    return frame.build_frame(runs)


@pytest.fixture(scope="module")
def over_images(beyond):
    (table,) = [
        table
        for table in ablations.training_tables(beyond)
        if table.name == "comparisons-scenes-quick"
    ]
    return table


def test_comparisons_over_images_have_intervals_and_verdicts_of_their_own(over_images):
    found = row(over_images, "nb over baseline")
    assert found["over images, measured (points)"].startswith("20.01 [")
    assert found["verdict over images"] == "supported"
    assert "Over images: 1 supported" in over_images.caption


def test_half_widths_over_images_are_told_apart_from_those_by_seeds(over_images):
    halves = [note for note in notes(over_images) if note.startswith("Half an interval")]
    assert [note.split(" is ")[0] for note in halves][-1] == "Half an interval over images"


def test_a_sentence_has_the_interval_over_images_too(beyond):
    (first, *_) = training.accuracy_answers(training.training_studies(beyond))
    assert re.search(r", over images \[[\d., ]+\] \(paper \+2.6\)", first)


def test_with_images_the_table_of_comparisons_fits_100_columns_in_two_parts(over_images):
    console = Console(file=io.StringIO(), width=100, legacy_windows=False)
    console.print(TerminalTable(over_images))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("afnb+apnb over common-fusion+nb ") for line in lines) == 2


def test_without_matrices_of_images_there_are_no_columns_of_them(made):
    headings = [c.heading for c in made["comparisons-scenes-quick"].columns]
    assert not [heading for heading in headings if "images" in heading]


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
