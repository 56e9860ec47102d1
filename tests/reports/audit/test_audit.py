"""Verdicts follow from the numbers."""

import pytest

from reports.audit import audit, claims
from reports.audit.audit import judge_claim
from reports.audit.readings import Claim, OurReading
from reports.model import frame


def claim(*readings, printed=15.5, digits=1, **fields):
    about = {"where": "Table 1", "what": "a block", "unit": "GFLOPs"} | fields
    return Claim(printed=printed, digits=digits, readings=readings, **about)


def verdicts(records):
    built = frame.build_frame(records)
    return {(c.where, c.what): judge_claim(c) for c in claims.published_claims(built)}


def test_our_reading_to_the_digit_is_reproduced():
    assert judge_claim(claim(OurReading(15.54, "MACs"))).kind == "reproduced"


def test_the_papers_reading_to_the_digit_comes_before_ours_within_a_percent():
    found = judge_claim(
        claim(OurReading(15.6, "ours"), OurReading(15.5, "theirs", protocol="paper"))
    )
    assert found.kind == "paper's protocol only"


def test_our_reading_within_a_percent_comes_before_the_papers():
    found = judge_claim(
        claim(OurReading(15.6, "ours"), OurReading(15.57, "theirs", protocol="paper"))
    )
    assert found.kind == "reproduced"


@pytest.mark.parametrize(("value", "kind"), [(15.65, "reproduced"), (15.67, "not derivable")])
def test_the_tolerance_is_one_percent(value, kind):
    assert judge_claim(claim(OurReading(value, "MACs"))).kind == kind


def test_a_countable_number_that_no_reading_meets_is_not_derivable():
    found = judge_claim(
        claim(OurReading(20.0, "MACs"), OurReading(10.0, "theirs", protocol="paper"))
    )
    assert found.kind == "not derivable"
    assert found.reading.value == 20.0


def test_without_a_reading_nothing_is_checked():
    found = judge_claim(claim())
    assert (found.kind, found.reading) == ("not checked here", None)


def test_a_time_on_another_gpu_is_not_checked_but_shown():
    reading = OurReading(15.5, "time", device="cuda: Example GPU")
    found = judge_claim(claim(reading, device="titan xp", unit="ms"))
    assert found.kind == "not checked here"
    assert "15.5 ms on Example GPU" in found.why


@pytest.mark.parametrize(("value", "kind"), [(15.5, "reproduced"), (20.0, "not reproduced")])
def test_a_time_on_the_papers_gpu_is_checked(value, kind):
    reading = OurReading(value, "time", device="cuda: NVIDIA TITAN Xp")
    assert judge_claim(claim(reading, device="titan xp")).kind == kind


def test_a_time_of_an_unnamed_gpu_is_never_checked():
    reading = OurReading(15.5, "time", device="cuda: NVIDIA TITAN Xp")
    found = judge_claim(claim(reading, device="unnamed", unit="s"))
    assert found.kind == "not checked here"
    assert "does not name" in found.why


def test_a_speed_up_on_a_processor_is_not_checked():
    reading = OurReading(6.0, "time", device="cpu: Example CPU")
    assert judge_claim(claim(reading, printed=6, digits=0, device="gpu")).kind == "not checked here"


def test_there_are_25_claims_whatever_the_records(make):
    assert len(claims.published_claims(frame.build_frame([make.predicted("nb", "64x64")]))) == 25


def test_there_are_25_claims_for_the_command_lines_records_alone(make):
    records = [make.predicted("nb", "96x96", experiment="efficiency")]
    found = claims.published_claims(frame.build_frame(records))
    assert len(found) == 25
    assert judge_claim(found[0]).kind == "paper's protocol only"


def test_the_order_of_axes_does_not_matter(make):
    record = make.predicted("nb", "96x96")
    turned = record.model_copy(update={"axes": dict(reversed(record.axes.items()))})
    assert len(claims.published_claims(frame.build_frame([turned]))) == 25


def test_operations_of_table_1(make):
    found = verdicts(make.table1())
    kinds = [
        found["Table 1", f"{block} {size}, operations"].kind
        for size in ("96x96", "256x128")
        for block in ("NB", "APNB")
    ]
    assert kinds == [*["paper's protocol only"] * 3, "not derivable"]


def test_43_5_gflops_is_explained_by_the_products_of_nb_at_the_other_size(make):
    why = verdicts(make.table1())["Table 1", "APNB 256x128, operations"].why
    assert "43.49 GMAC" in why


def test_memory_of_table_1_is_the_papers_procedure_to_the_digit(make):
    found = verdicts(make.table1())
    memory = [verdict for (_, what), verdict in found.items() if what.endswith("28, memory")]
    assert [verdict.kind for verdict in memory] == ["paper's protocol only"] * 2
    assert [verdict.reading.value for verdict in memory] == [7797, 277]


def test_without_paper_records_the_memory_is_not_derivable(make):
    strict = [record for record in make.table1() if record.protocol == "strict"]
    assert verdicts(strict)["Table 1", "NB 256x128, memory"].kind == "not derivable"


def test_other_records_give_other_verdicts(make):
    other = make.predicted("apnb", "256x128")
    counts = other.measures.counts.model_copy(update={"macs": 43_500_000_000})
    changed = other.model_copy(
        update={"measures": other.measures.model_copy(update={"counts": counts})}
    )
    assert verdicts([changed])["Table 1", "APNB 256x128, operations"].kind == "reproduced"


def test_28_times_is_the_procedure_and_the_need_is_said(make):
    found = verdicts(make.table1())["Abstract", "APNB smaller, 256x128"]
    assert found.kind == "paper's protocol only"
    assert found.reading.value == pytest.approx(7797 / 277)
    assert "24.8 (nb over apnb) or 10.8 (nb over apnb-concat)" in found.why


def test_84_times_is_the_ratio_of_the_products(make):
    found = verdicts(make.table1())["Eq. 13", "matrix products saved, 96x96"]
    assert found.kind == "reproduced"
    assert found.reading.value == pytest.approx(96 * 96 / 110)


def test_6_times_on_a_gpu_is_checked(make):
    times = {"nb": 0.0180, "apnb": 0.0030}
    records = [
        make.measured(block, "256x128", time_s=time, environment=make.GPU)
        for block, time in times.items()
    ]
    assert verdicts(records)["Abstract", "APNB faster, 256x128"].kind == "reproduced"


@pytest.mark.parametrize(("nb_s", "kind"), [(0.048, "reproduced"), (0.02, "not reproduced")])
def test_nearly_five_times_is_the_ratio_of_the_sums(make, nb_s, kind):
    records = [
        make.operations("nb", {"matmul": nb_s, "convolution": 0.002}, environment=make.GPU),
        make.operations("apnb", {"matmul": 0.008, "convolution": 0.002}, environment=make.GPU),
    ]
    assert verdicts(records)["Fig. 2", "APNB faster, 256x128"].kind == kind


def test_parameters_of_table_2(make):
    found = verdicts(make.table2())
    assert found["Table 2", "PSANet, parameters"].kind == "paper's protocol only"
    assert found["Table 2", "DenseASPP, parameters"].kind == "paper's protocol only"
    assert "63.08" in found["Table 2", "ANN, parameters"].why


def test_memory_of_table_2_is_not_derivable(make):
    assert verdicts(make.table2())["Table 2", "ANN, memory"].kind == "not derivable"


def test_a_failed_cell_leaves_its_claims_unchecked(make):
    from bench.records.record import Failure, Measures

    failure = Failure(kind="error", reason="no such operator")
    failed = make.measured("nb", "96x96", failure=failure, measures=Measures())
    assert verdicts([failed])["Table 1", "NB 96x96, operations"].kind == "not checked here"


def test_the_table_counts_its_verdicts(make):
    table = audit.audit_table(frame.build_frame([*make.table1(), *make.table2()]))
    assert len(table.rows) == 25
    assert "25 numbers" in table.caption
