"""The audit: every published efficiency number against the records, with a verdict that follows from the numbers.

A reading agrees where it rounds to what is printed ("to the digit") or is within 1 % of it. The verdict is the best
of: our reading to the digit, the paper's protocol to the digit, ours within 1 %, the paper's protocol within 1 %.
A number that can be counted and that no reading meets is not derivable; one that needs a device that the records
do not have is not checked.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reports.audit.claims import VERDICT_KINDS, VerdictKind, published_claims
from reports.audit.readings import Claim, OurReading
from reports.model import Column, Mark, Number, Table, Value, decimal

if TYPE_CHECKING:
    import pandas as pd

NEEDED = {
    "gpu": "a GPU",
    "titan xp": "a Titan Xp",
    "unnamed": "the paper's GPU, which it does not name",
}
NEAR_SHARE = 0.01
AGREEMENT = (
    "Agreement is to the digit that is printed, or within 1 %. The paper's protocol repeats the "
    "released scripts' procedure; its readings are not what a block needs."
)


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """How a claim stands; `reading` is the one that decided it."""

    kind: VerdictKind
    reading: OurReading | None
    why: str


def judge_claim(claim: Claim) -> AuditVerdict:
    """Hold the readings of a claim against what is printed."""
    usable = tuple(reading for reading in claim.readings if _fits(reading, claim))
    for close, words in (
        (_to_the_digit, "to the digit"),
        (_near, f"within {100 * NEAR_SHARE:.0f} %"),
    ):
        for protocol in ("strict", "paper"):
            found = [r for r in usable if r.protocol == protocol and close(r, claim)]
            if found:
                best = min(found, key=lambda reading: _distance(reading, claim))
                kind: VerdictKind = (
                    "reproduced" if protocol == "strict" else "paper's protocol only"
                )
                return _verdict(claim, kind, best, f"{best}, {words}")
    nearest = min(usable, key=lambda reading: _distance(reading, claim), default=None)
    if nearest is None:
        return _unchecked(claim)
    kind = "not derivable" if claim.device == "none" else "not reproduced"
    return _verdict(claim, kind, nearest, f"nearest: {nearest}")


def _verdict(claim: Claim, kind: VerdictKind, reading: OurReading | None, why: str) -> AuditVerdict:
    remark = claim.remarks.get(kind, "")
    return AuditVerdict(kind, reading, f"{why}; {remark}" if remark else why)


def _unchecked(claim: Claim) -> AuditVerdict:
    if claim.device == "none":
        return _verdict(claim, "not checked here", None, "the records hold no such reading")
    needs = f"needs {NEEDED[claim.device]}"
    # A GPU's reading says more about a GPU's than a processor's does.
    ours = next(
        iter(sorted(claim.readings, key=lambda reading: reading.device[:4] != "cuda")), None
    )
    if ours is None:
        return _verdict(claim, "not checked here", None, needs)
    shown = decimal(ours.value, 0 if ours.value >= 100 else claim.digits or 1)
    return _verdict(
        claim, "not checked here", ours, f"{needs}; {shown} {claim.unit} on {ours.place}"
    )


def _fits(reading: OurReading, claim: Claim) -> bool:
    if claim.device == "titan xp":
        return "titan xp" in reading.device.lower()
    if claim.device == "unnamed":
        return False
    return claim.device == "none" or reading.device.startswith("cuda")


def _to_the_digit(reading: OurReading, claim: Claim) -> bool:
    return round(reading.value, claim.digits) == round(claim.printed, claim.digits)


def _near(reading: OurReading, claim: Claim) -> bool:
    return _distance(reading, claim) <= NEAR_SHARE


def _distance(reading: OurReading, claim: Claim) -> float:
    return abs(reading.value / claim.printed - 1)


def audit_table(frame: "pd.DataFrame") -> Table:
    """The audit as a table: a row for each number, in the order of the paper."""
    judged = [(claim, judge_claim(claim)) for claim in published_claims(frame)]
    counted = (f"{sum(v.kind == kind for _, v in judged)} {kind}" for kind in VERDICT_KINDS)
    return Table(
        name="audit",
        title="Audit of the published efficiency numbers",
        columns=(
            Column("where", align="left"),
            Column("number", align="left"),
            Column("verdict", align="left"),
            Column("printed"),
            Column("ours"),
            Column("unit", align="left"),
            Column("off", "%", 1, 0.01),
            Column("why", align="left", wide=True),
        ),
        rows=tuple(_row(claim, verdict) for claim, verdict in judged),
        caption=f"{len(judged)} numbers: {', '.join(counted)}.",
        notes=(AGREEMENT,),
        group_by=(0,),
    )


def _row(claim: Claim, verdict: AuditVerdict) -> tuple[Value, ...]:
    ours = verdict.reading
    checked = verdict.kind != "not checked here" or claim.device in ("none", "gpu")
    off = round(ours.value / claim.printed - 1, 3) if ours and checked else None
    missing = Mark("no record of this number")
    return (
        claim.where,
        claim.what,
        verdict.kind,
        Number(claim.printed, claim.digits),
        Number(ours.value, claim.digits + (claim.unit == "times")) if ours else missing,
        claim.unit,
        off,
        verdict.why,
    )
