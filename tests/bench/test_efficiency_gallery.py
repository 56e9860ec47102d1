"""The gallery as it is asked for on the command line: its settings, its one table, its share of the time."""

import csv
import io

import pytest

from ann.spec import Size
from bench import efficiency
from bench.records.record import Record


def test_the_gallery_has_a_map_of_its_own_unless_another_is_given():
    usual = efficiency._parse(["--gallery"])
    assert (usual.channels, efficiency._sizes(usual)) == (512, (Size(width=128, height=64),))
    other = efficiency._parse(["--gallery", "--channels", "64", "--size", "32x16"])
    assert (other.channels, efficiency._sizes(other)) == (64, (Size(width=32, height=16),))
    assert efficiency._parse([]).channels == 2048


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--gallery", "--mode", "train"], "--mode does not go with --gallery"),
        (["--gallery", "--protocol", "paper"], "--protocol does not go with --gallery"),
        (["--gallery", "--fits"], "--gallery does not go with --fits"),
        (["--gallery", "--compare", "nb", "apnb"], "--gallery does not go with --compare"),
    ],
)
def test_what_does_not_go_with_the_gallery_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        efficiency.main(given)


def test_the_gallery_is_one_table_with_a_row_for_an_own_block(tmp_path, capsys):
    small = ["--channels", "16", "--key-channels", "8", "--size", "12x8", "--device", "meta"]
    more = ["--block", "ann.gallery:CrissCross", "--format", "csv", "--out", str(tmp_path)]
    assert efficiency.main(["--gallery", *small, *more]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    own = next(row for row in rows if row["block"] == "ann.gallery:CrissCross")
    same = next(row for row in rows if row["block"] == "cc")
    assert len(rows) == 21
    assert {**own, "block": "cc"} == same


@pytest.mark.slow
def test_the_gallery_has_likely_times_on_a_known_device(tmp_path, capsys):
    small = ["--channels", "16", "--key-channels", "8", "--size", "12x8", "--predict", "t4"]
    assert efficiency.main(["--gallery", *small, "--format", "csv", "--out", str(tmp_path)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    apnb = next(row for row in rows if row["block"] == "apnb-residual")
    assert 0 < float(apnb["time_t4_predicted_seconds"]) < 1
    assert apnb["less_time_t4_than_nb_from"]


def test_time_of_a_gallery_is_shared_by_what_is_measured(tmp_path):
    options = efficiency._parse(["--gallery", "--budget", "42"])
    asked_for = efficiency.cells(options)
    blank = {"source": "predicted", "experiment": "e", "subject": "s", "axes": {}, "size": "1x1"}
    predicted_ = [Record(cell=cell.id, **blank) for cell in asked_for]
    executed = efficiency._budgeted(asked_for, predicted_, options, device="cpu")
    assert {cell.budget_s for cell in executed} == {42 / 2 / 20}
