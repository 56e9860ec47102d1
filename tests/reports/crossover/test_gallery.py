"""The gallery's table, from costs that are planted here."""

import pytest

from bench.records.record import Counts, Failure, Measures, PredictedMemory, Timing
from reports import report
from reports.crossover import gallery
from reports.model import Interval, Mark, frame
from reports.model.layout import text_of
from reports.render import FILE_FORMATS

MEBI = 2**20
# MACs and bytes of a map of N places: the block crosses NB at 1024 places, or nowhere.
COSTS = {
    "nb-residual": lambda n: (n * n, MEBI * n * n),
    "line": lambda n: (1024 * n, MEBI * 16 * n),
    "worse": lambda n: (2 * n * n, 3 * MEBI * n * n),
}


def pixels(size):
    width, height = map(int, size.split("x"))
    return width * height


@pytest.fixture(scope="session")
def hung(make):
    """Records of a gallery with blocks of known costs."""

    def records(*, costs=COSTS, sizes=("64x32",), times=None, failure=None, channels=512):
        kept = []
        for block, cost in costs.items():
            jobs = [("gallery", size, "eval", 1) for size in sizes]
            jobs += [("gallery", size, "train", 2) for size in sizes]
            jobs += [("gallery-sizes", f"{n}x{n}", "eval", 1) for n in (16, 32, 64, 128, 256)]
            for experiment, size, mode, batch in jobs:
                macs, byte_count = cost(pixels(size))
                memory = PredictedMemory(
                    peak_bytes=2 * byte_count,
                    increment_bytes=byte_count * (10 if mode == "train" else 1),
                    input_bytes=MEBI,
                    parameter_bytes=MEBI,
                    peak_operator="aten.bmm",
                )
                counts = Counts(parameters=10**6, buffers=0, macs=macs, flops=2 * macs)
                axes = {"block": block, "size": size, "channels": channels}
                axes |= {"mode": "train"} if mode == "train" else {}
                common = {
                    "axes": axes,
                    "size": size,
                    "subject": block,
                    "mode": mode,
                    "batch": batch,
                }
                known = Measures(counts=counts, predicted=memory)
                outcome = {"measures": known}
                if failure and block == failure[0]:
                    outcome = {"failure": failure[1]}
                kept.append(make.record(experiment, source="predicted", **common, **outcome))
                if times and experiment == "gallery" and mode == "eval":
                    taken = times[block](pixels(size))
                    timing = Timing(clock="wall", samples_s=make.samples(taken))
                    seen = {"environment": make.CPU, "measures": Measures(timings=(timing,))}
                    kept.append(make.record(experiment, source="measured", **common, **seen))
        return kept

    return records


def only(records):
    (table,) = report.gallery_report(records)
    return table


def column(table, heading):
    (at,) = (at for at, each in enumerate(table.columns) if each.heading == heading)
    return [text_of(row[at], table.columns[at]) for row in table.rows]


def headings(table):
    return [column.heading for column in table.columns]


def test_a_block_stands_in_one_row_with_both_memories(hung):
    table = only(hung())
    assert column(table, "block") == ["nb-residual", "line", "worse"]
    assert column(table, "memory, predicted (MiB)")[1] == f"{16 * 2048}.0"
    assert column(table, "training, batch 2, predicted (MiB)")[1] == f"{160 * 2048}.0"


def test_a_block_says_from_which_map_it_needs_less(hung):
    table = only(hung())
    assert column(table, "fewer MACs than NB from") == ["-", "32x32", "above 256x256"]
    assert column(table, "less memory than NB from")[1:] == ["below 16x16", "above 256x256"]


def test_what_was_not_measured_has_no_column(hung):
    assert not any("measured" in heading for heading in headings(only(hung())))


def test_the_time_crosses_between_the_maps_of_the_table(hung):
    times = {
        "nb-residual": lambda n: 1e-9 * n * n,
        "line": lambda n: 1e-9 * 256 * n,
        "worse": lambda n: 3e-9 * n * n,
    }
    one = only(hung(times=times))
    assert column(one, "time, measured (ms)")[0].startswith("4.2")
    assert "less time than NB from" not in headings(one)
    two = only(hung(times=times, sizes=("8x8", "64x32")))
    assert column(two, "less time than NB from") == ["-", "16x16", "above 45x45"] * 2
    assert column(two, "size") == ["8x8"] * 3 + ["64x32"] * 3


def test_two_runs_with_other_channels_stay_apart(hung):
    table = only([*hung(), *hung(channels=64)])
    assert column(table, "channels") == ["512"] * 3 + ["64"] * 3
    assert column(table, "fewer MACs than NB from") == ["-", "32x32", "above 256x256"] * 2


def test_a_block_that_could_not_be_built_is_a_row_with_its_reason(hung):
    failure = Failure(kind="unavailable", reason="needs a package")
    table = only(hung(failure=("line", failure)))
    assert column(table, "params (M)")[1] == "unavailable"
    assert column(table, "fewer MACs than NB from")[1] == "-"
    assert "needs a package" in FILE_FORMATS["markdown"][1](table)


def test_a_likely_time_crosses_as_the_others(hung):
    def likely(row):
        n = pixels(row["size"])
        factor = {"nb-residual": n, "line": 4096, "worse": 2 * n}[row["axes"]["block"]]
        return Interval(1e-9 * n * factor, 0.0, 1.0)

    (table,) = gallery.gallery_tables(frame.build_frame(hung()), {"A GPU": likely})
    assert column(table, "time, A GPU, predicted (ms)")[1].startswith("8.389")
    crossings = column(table, "less time, A GPU, than NB from")
    assert crossings == ["-", "64x64", "above 256x256"]


def test_a_time_that_no_device_has_is_a_dash(hung):
    blank = {"A GPU": lambda _: Mark("too large")}
    (table,) = gallery.gallery_tables(frame.build_frame(hung()), blank)
    assert column(table, "time, A GPU, predicted (ms)") == ["-"] * 3
    assert "less time, A GPU, than NB from" not in headings(table)


def test_of_one_map_alone_no_column_says_from_which_map_on(hung):
    one = [record for record in hung() if record.experiment == "gallery"]
    table = only(one)
    assert not [text for text in (*headings(table), *table.notes) if "than NB from" in text]


@pytest.mark.parametrize("form", FILE_FORMATS)
def test_the_gallery_is_written_in_every_format(hung, form):
    assert "worse" in FILE_FORMATS[form][1](only(hung()))


def test_the_best_of_a_column_is_marked(hung):
    text = FILE_FORMATS["markdown"][1](only(hung()))
    line = next(line for line in text.splitlines() if line.startswith("| line"))
    assert line.count("**") == 6  # MACs and two memories


def test_a_report_on_a_folder_has_the_gallery_once(hung, tmp_path):
    from bench.records.files import append_line

    for record in hung():
        append_line(tmp_path / "records.jsonl", record)
    tables = [table.name for table in report.build_report(tmp_path).tables]
    assert [name for name in tables if "gallery" in name] == [gallery.GALLERY]


def test_the_figure_has_a_point_for_each_block_and_says_it_in_words(hung):
    figures = report.report_figures(frame.build_frame(hung()))
    (figure,) = [figure for figure in figures if figure.name == gallery.GALLERY]
    assert "line 0.0021 G and 32,768 MiB" in figure.alternative
    assert all(f">{block}<" in figure.svg for block in COSTS)


def test_blocks_of_another_kind_are_left_out_of_the_figure(hung):
    costs = {**COSTS, "scales": lambda n: (1, MEBI)}
    figures = report.report_figures(frame.build_frame(hung(costs=costs)))
    (figure,) = [figure for figure in figures if figure.name == gallery.GALLERY]
    assert "scales" not in figure.svg


def test_a_gallery_that_counted_nothing_has_no_figure(hung):
    failure = Failure(kind="error", reason="nothing works")
    alone = hung(costs={"line": COSTS["line"]}, failure=("line", failure))
    assert report.report_figures(frame.build_frame(alone)) == ()
