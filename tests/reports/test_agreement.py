"""What two machines say of the same cells, side by side."""

import pytest

from reports import report
from reports.agreement import agreement_tables
from reports.model import frame
from reports.model.layout import text_of
from reports.training import training_studies

OTHER = "Other CPU"


def on_other(make, record):
    where = make.CPU.model_copy(update={"device_name": OTHER})
    return record.model_copy(update={"environment": where})


def tables(records):
    return agreement_tables(frame.build_frame(list(records)))


def texts(row, table):
    return {c.heading: text_of(v, c) for c, v in zip(table.columns, row, strict=True)}


def trained(make, percents, shift):
    for name, percent in percents.items():
        for seed in (0, 1, 2):
            axes = {"network": f"paper/{name}"}
            yield make.training("table6", axes, seed, percent + seed)
            yield on_other(make, make.training("table6", axes, seed, percent + seed + shift[seed]))


@pytest.fixture(scope="module")
def accuracies(make):
    (table,) = tables(trained(make, {"baseline": 40.0, "nb": 50.0}, (0.1, 0.2, 0.6)))
    return table


def test_each_row_has_both_machines_and_their_difference(accuracies):
    first = texts(accuracies.rows[0], accuracies)
    assert first["Example CPU, measured (%)"] == "41.00 \N{PLUS-MINUS SIGN} 1.00"
    assert first[f"{OTHER}, measured (%)"] == "41.30 \N{PLUS-MINUS SIGN} 1.25"
    # 0.1, 0.2 and 0.6 by Student's t.
    assert first["difference, measured (points)"] == "0.30 [-0.36, 0.96]"
    assert (first["largest of any seed (points)"], first["seeds"]) == ("0.60", "3")


def test_the_caption_says_how_far_the_machines_agree(accuracies):
    assert accuracies.caption == (
        "2 rows: the means differ by 0.30 points at most and 0.30 on average, a seed by 0.60 at most; 0 of the "
        "intervals leave 0 out."
    )


def test_a_row_of_one_machine_alone_is_not_compared(make):
    records = [*trained(make, {"baseline": 40.0}, (0, 1, 2)), *make.table6({"nb": 50.0})]
    (table,) = tables(records)
    assert [row[1] for row in table.rows] == ["baseline"]


def test_one_machine_has_no_table(make):
    assert tables([*make.table6(), make.measured("nb", "96x96", time_s=1.0)]) == ()


def test_what_was_trained_by_another_recipe_is_not_compared(make):
    records = list(trained(make, {"nb": 50.0}, (0.1, 0.2, 0.6)))
    records[-1] = records[-1].model_copy(update={"cell": "another"})
    (table,) = tables(records)
    assert texts(table.rows[0], table)["seeds"] == "2"


def test_another_recipe_is_set_beside_the_usual_one(make):
    setting = {"dataset": "camvid", "budget": "standard"}
    records = [
        make.training(
            "table6", {"network": "paper/nb"}, seed, percent + seed, setting=setting | more
        )
        for more, percent in (({"recipe": "half"}, 41.0), ({}, 40.0), ({"recipe": "mmseg"}, 43.0))
        for seed in (0, 1, 2)
    ]
    table, other = tables(records)
    assert "mmseg, measured (%)" in texts(other.rows[0], other)
    shown = texts(table.rows[0], table)
    assert table.title == "Effect of the recipe on mIoU, camvid, standard"
    assert shown["usual recipe, measured (%)"].startswith("41.00")
    assert shown["half, measured (%)"].startswith("42.00")
    assert shown["difference, measured (points)"].startswith("1.00")


def test_each_machine_has_tables_of_its_own(make):
    records = list(trained(make, {"baseline": 40.0, "nb": 50.0}, (0.1, 0.2, 0.6)))
    settings = [study.setting for study in training_studies(frame.build_frame(records))]
    assert [setting["machine"] for setting in settings] == ["Example CPU", OTHER]


def test_a_setting_is_divided_by_machine_in_all_of_its_tables_and_no_other_one_is(make):
    camvid = {"dataset": "camvid", "budget": "standard"}
    sampler = {"sampler": "average", "grids": "15"}
    records = [
        *trained(make, {"nb": 50.0}, (0.1, 0.2, 0.6)),
        make.training("table7", sampler, 0, 50.0),
        make.training("table6", {"network": "paper/nb"}, 0, 40.0, setting=camvid),
        on_other(make, make.training("table6", {"network": "paper/nb"}, 1, 41.0, setting=camvid)),
    ]
    found = [
        (study.experiment, study.setting["dataset"], study.setting.get("machine"))
        for study in training_studies(frame.build_frame(records))
    ]
    assert sorted(found, key=str) == [
        ("table6", "camvid", None),
        ("table6", "scenes", "Example CPU"),
        ("table6", "scenes", OTHER),
        ("table7", "scenes", "Example CPU"),
    ]


def test_recipes_are_compared_on_one_machine_alone(make):
    setting = {"dataset": "camvid", "budget": "standard"}
    usual = make.training("table6", {"network": "paper/nb"}, 0, 40.0, setting=setting)
    half = make.training(
        "table6", {"network": "paper/nb"}, 0, 41.0, setting=setting | {"recipe": "half"}
    )
    assert tables([usual, on_other(make, half)]) == ()


def test_seeds_that_two_machines_share_out_stay_one_table(make):
    axes = {"network": "paper/nb"}
    records = [make.training("table6", axes, 0, 40.0)]
    records.append(on_other(make, make.training("table6", axes, 1, 41.0)))
    (study,) = training_studies(frame.build_frame(records))
    assert (study.seeds, "machine" in study.setting) == ((0, 1), False)


def timed(make, times):
    for block, (here, there) in times.items():
        yield make.measured(block, "96x96", time_s=here)
        yield on_other(make, make.measured(block, "96x96", time_s=there))


def test_times_are_compared_as_ratios_on_each_machine(make):
    (table,) = tables(timed(make, {"nb": (6.0, 2.0), "apnb": (2.0, 1.0)}))
    (row,) = table.rows
    assert [text_of(v, c) for v, c in zip(row, table.columns, strict=True)] == [
        *("nb", "96x96", "3.00", "2.00", "0.67"),
    ]


def test_without_the_block_of_reference_no_ratio_is_made(make):
    assert tables(timed(make, {"nb": (6.0, 2.0), "apnb-concat": (2.0, 1.0)})) == ()


def test_the_report_has_the_agreement_of_two_machines(make):
    built = frame.build_frame(list(trained(make, {"nb": 50.0}, (0, 1, 2))))
    assert any(table.name.startswith("agreement") for table in report.report_tables(built))
