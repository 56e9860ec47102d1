"""The crossover's tables, sentence and figure say what was planted in the records."""

import itertools
import xml.etree.ElementTree as ET

import pytest

from bench.records.record import Failure, MeasuredMemory, Measures, PredictedMemory, Timing
from reports import report
from reports.crossover import answer, curves
from reports.crossover import figure as crossings
from reports.crossover import tables as crossover
from reports.model import frame
from reports.model.layout import text_of
from reports.render import markdown

SIDES = (16, 32, 64, 128, 256)
MEBI = 2**20
TOO_LARGE = Failure(kind="foreseen", reason="needs 33.0 GiB", needs_bytes=33 * 2**30)


def quadratic(factor, side):
    return factor * 1e-9 * side**4


def linear(factor, side):
    return factor * 1e-6 * side**2


# APNB is faster from 32x32 on; fused NB is half of NB, and fast APNB an eighth of APNB: from 16x16 on.
TIMES = {
    "nb": lambda side: quadratic(1, side),
    "nb:sdpa": lambda side: quadratic(0.5, side),
    "apnb": lambda side: linear(1.024, side),
    "apnb:fast": lambda side: linear(0.3, side),
}


@pytest.fixture(scope="session")
def swept(make):
    """Records of a planted crossover; an arm with `last` is too large beyond that side."""

    def records(times=TIMES, *, sides=SIDES, spread=0.001, last=None, environment=make.CPU):
        made = []
        for side, (arm, time) in itertools.product(sides, times.items()):
            quadratics = side**4 if arm == "nb" else side**2
            common = {
                "axes": {"block": arm, "size": f"{side}x{side}"},
                "size": f"{side}x{side}",
                "subject": arm,
            }
            memory = PredictedMemory(
                peak_bytes=2 * MEBI * quadratics,
                increment_bytes=MEBI * quadratics,
                input_bytes=MEBI,
                parameter_bytes=MEBI,
                peak_operator="aten.bmm",
            )
            block = arm.partition(":")[0]
            known = Measures(counts=make.counts(block, f"{side}x{side}"), predicted=memory)
            made.append(make.record("crossover", source="predicted", measures=known, **common))
            seen = {"source": "measured", "environment": environment, **common}
            if last and side > last.get(arm, side):
                made.append(make.record("crossover", failure=TOO_LARGE, **seen))
                continue
            timing = Timing(clock="wall", samples_s=make.samples(time(side), spread=spread))
            read = MeasuredMemory(high_water_bytes=2 * MEBI * quadratics)
            measures = Measures(timings=(timing,), memory=read)
            made.append(make.record("crossover", measures=measures, **seen))
        return made

    return records


def study(records):
    return curves.crossover_studies(frame.build_frame(records))[0]


def column(table, heading):
    at = [c.heading for c in table.columns].index(heading)
    return [text_of(row[at], table.columns[at]) for row in table.rows]


def arms(nb, apnb):
    """Times of the fused NB, and of APNB as a multiple of them, by side."""
    return {
        "nb:sdpa": lambda side: nb * side,
        "apnb": lambda side: nb * side * apnb(side),
    }


def test_the_tables_are_as_kept(swept, golden):
    made = crossover.crossover_tables(frame.build_frame(swept(last={"nb": 64})))
    assert [table.name for table in made] == [
        "crossover",
        "crossover-exponents",
        "crossover-sizes",
    ]
    golden("crossover.md", "\n".join(markdown.to_markdown(table) for table in made))


def test_the_crossing_is_where_it_was_planted(swept):
    table = crossover.crossing_table(study(swept()))
    assert column(table, "APNB faster from") == ["32x32", "45x45", "24x24"]
    early, late = column(table, "at the earliest"), column(table, "at the latest")
    assert all(
        int(low.partition("x")[0]) < int(high.partition("x")[0])
        for low, high in zip(early, late, strict=True)
    )


def test_exponents_are_those_of_the_planted_laws(swept):
    table = crossover.exponent_table(study(swept()))
    fitted = [text.partition(" ")[0] for text in column(table, "time, measured")]
    assert fitted == ["2.00", "2.00", "1.00", "1.00"]
    assert column(table, "memory, predicted") == ["2.00", "1.00", "1.00", "1.00"]


def test_yes_with_the_size_and_its_ends(swept):
    assert answer.crossover_answer(study(swept())) == (
        "Is asymmetric sampling still worth it with fused attention? On Example CPU, float32: best "
        "against best, yes, from about 24x24 on (between 23x23 and 26x26). At 256x256, the largest "
        "size with both times, nb:sdpa takes 109 [98.8, 121] times as long as apnb:fast, and 1 times the "
        "memory, measured. Plain against plain, yes, from about 32x32 on (between 30x30 and 34x34)."
    )


@pytest.mark.parametrize(
    ("apnb", "said", "marked"),
    [
        (
            lambda _: 0.5,
            "yes, at every size measured; the size from which it pays is below",
            "the best APNB wins at every size",
        ),
        (
            lambda _: 2.0,
            "no, not up to the largest size measured, 256x256",
            "the best NB wins at the largest size",
        ),
        (
            lambda _: 1.01,
            "it cannot be decided, the intervals of the times overlap up to",
            "undecided up to the largest size",
        ),
        (
            lambda side: 2.0 if side < 64 else 1.0,
            "it cannot be decided up to the largest size, 256x256; not below",
            "undecided up to the largest size",
        ),
        (
            lambda side: 1.0 if side < 64 else 0.5,
            "yes, from 35x35 on at the latest; below, the intervals of the times overlap",
            "from 35x35 on at the latest",
        ),
    ],
    ids=["always", "never", "alike", "alike-at-last", "alike-at-first"],
)
def test_what_the_intervals_do_not_decide_is_not_decided(swept, apnb, said, marked):
    found = study(swept(arms(1e-3, apnb)))
    assert said in answer.crossover_answer(found)
    assert marked in " ".join(words(crossings.crossover_figure(found)))


def test_without_a_fused_arm_it_cannot_be_decided(swept):
    plain = {arm: TIMES[arm] for arm in ("nb", "apnb", "apnb:fast")}
    assert answer.crossover_answer(study(swept(plain))).endswith(
        "it cannot be decided, no fused attention was timed."
    )


def test_without_apnb_it_cannot_be_decided(swept):
    alone = {arm: TIMES[arm] for arm in ("nb", "nb:sdpa")}
    found = study(swept(alone))
    assert answer.crossover_answer(found).endswith(
        "it cannot be decided, fewer than two sizes have a time of both."
    )
    assert column(crossover.crossing_table(found), "APNB faster from") == ["-"] * 3
    assert "wins" not in " ".join(words(crossings.crossover_figure(found)))


def test_of_two_sizes_the_figure_says_no_exponent(swept):
    said = words(crossings.crossover_figure(study(swept(sides=(16, 32)))))
    assert "apnb" in said
    assert not any("N^" in word for word in said)


def test_an_arm_that_was_never_timed_has_no_line(swept):
    said = words(crossings.crossover_figure(study(swept(last={"nb": 8}))))
    assert [word for word in said if word.startswith("nb N^")] == ["nb N^2.00"]  # of memory alone


def test_few_calls_widen_the_interval_more_than_many(swept, make):
    def width(count):
        timing = Timing(clock="wall", samples_s=make.samples(1.0, count=count))
        found = curves.time_bounds({"timings": (timing,)})
        return found.high - found.low

    assert width(25) == pytest.approx(2 * 0.05)
    assert width(3) == pytest.approx(2 * curves.FEW)


def test_of_few_calls_every_one_counts():
    timing = Timing(clock="wall", samples_s=(1.0, 1.0, 5.0))
    found = curves.time_bounds({"timings": (timing,)})
    assert (found.low, found.median, found.high) == (0.75, 1.0, 5.0)


def test_a_wide_interval_stays_as_wide_as_it_is(make):
    timing = Timing(clock="wall", samples_s=make.samples(1.0, spread=0.5))
    found = curves.time_bounds({"timings": (timing,)})
    assert found.high - found.low > 0.2


def test_an_arm_too_large_is_a_row_and_the_end_of_its_line(swept):
    found = study(swept(last={"nb": 64}))
    table = crossover.size_table(found)
    assert column(table, "time, measured (ms)").count("needs 33.0 GiB") == 2
    assert "nb needs 33 GiB at 128x128" in words(crossings.crossover_figure(found))


def test_ratios_are_to_plain_apnb(swept):
    table = crossover.size_table(study(swept()))
    last = column(table, "time ratio")[-4:]
    assert last == ["64.00", "32.00", "1.00", "0.29"]


def test_devices_and_formats_have_studies_of_their_own(swept, make):
    both = [*swept(), *swept(environment=make.GPU)]
    half = [item.model_copy(update={"dtype": "bfloat16"}) for item in swept(environment=make.GPU)]
    built = frame.build_frame([*both, *half])
    places = [one.place for one in curves.crossover_studies(built)]
    assert places == ["Example CPU, float32", "Example GPU, float32", "Example GPU, bfloat16"]
    names = [table.name for table in crossover.crossover_tables(built)]
    assert len(names) == len(set(names))


def test_predictions_alone_have_exponents_and_a_figure(swept):
    built = frame.build_frame([item for item in swept() if item.source == "predicted"])
    assert [table.name for table in crossover.crossover_tables(built)] == [
        "crossover-exponents",
        "crossover-sizes",
    ]
    (figure,) = crossings.crossover_figures(built)
    assert "nb 4,294,967,296 MiB at 256x256" in figure.alternative


def test_anchors_have_a_table_with_the_exponent_of_s(swept, make):
    anchored = [
        make.measured(
            "apnb", "128x128", time_s=0.001 * s, experiment="crossover", axes={"anchors": s}
        )
        for s in (1, 14, 50, 110)
    ]
    table = crossover.crossover_tables(frame.build_frame([*swept(), *anchored]))[-1]
    assert table.name == "crossover-anchors"
    assert column(table, "time ratio") == ["1.00", "14.00", "50.00", "110.00"]
    assert any("S to the power of 1 [1, 1] from S = 14 to 110" in note for note in table.notes)


def words(figure):
    return [
        "".join(node.itertext())
        for node in ET.fromstring(figure.svg).iter()
        if node.tag.endswith("}text")
    ]


def test_the_figure_has_exponents_and_the_crossing(swept):
    figure = crossings.crossover_figure(study(swept()))
    said = words(figure)
    assert "apnb N^1.00" in said
    assert "the best APNB wins" in " ".join(said)
    assert "yes, from about 24x24 on" in figure.alternative


def test_the_same_records_draw_the_same_bytes(swept):
    found = study(swept(sides=(16, 32, 64)))
    assert crossings.crossover_figure(found).svg == crossings.crossover_figure(found).svg


def test_the_other_figures_leave_the_sweep_out(swept):
    built = frame.build_frame(swept())
    assert [figure.name for figure in report.report_figures(built)] == ["crossover-figure"]
    assert "crossover" in [table.name for table in report.report_tables(built)]


def test_without_the_experiment_there_is_nothing(make):
    built = frame.build_frame(make.table1())
    assert (crossover.crossover_tables(built), crossings.crossover_figures(built)) == ((), ())
