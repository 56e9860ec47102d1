"""The audit: every published efficiency number against the records, with a verdict that follows from the numbers.

The verdict is the best of: our reading rounds to the digit that is printed, the paper's protocol does, ours is within
1 %, the paper's protocol is. A number that can be counted and that no reading meets is not derivable; one that needs a
device that the records do not have is not checked.
"""

from typing import NamedTuple

from reports.audit.claims import VERDICT_KINDS, VerdictKind, published_claims
from reports.audit.readings import Claim, OurReading, ReadingProtocol
from reports.model import Column, Frame, Mark, Number, Table, Value, decimal, text_column

UNNAMED = "the paper's GPU, which it does not name"
NEEDED = {"gpu": "a GPU", "titan xp": "a Titan Xp", "unnamed": UNNAMED}
KIND_BY_PROTOCOL: dict[ReadingProtocol, VerdictKind] = {
    "strict": "reproduced",
    "paper": "paper's protocol only",
}
NEAR_SHARE = 0.01
VERDICT = 2  # the column of the verdicts
AGREEMENT_RULE = (
    "Agreement is to the digit that is printed, or within 1 %. The paper's protocol repeats the "
    "released scripts' procedure; its readings are not what a block needs."
)


class AuditVerdict(NamedTuple):
    """How a claim stands; `reading` is the one that decided it."""

    kind: VerdictKind
    reading: OurReading | None
    why: str


def judge_claim(claim: Claim) -> AuditVerdict:
    """Set the readings of a claim against what is printed."""
    kind, reading, why = _judge(claim)
    return AuditVerdict(kind, reading, "; ".join(filter(None, (why, claim.remarks.get(kind)))))


def _judge(claim: Claim) -> AuditVerdict:
    def distance(reading: OurReading) -> float:
        return abs(reading.value / claim.printed - 1)

    usable = sorted((each for each in claim.readings if _fits_device(each, claim)), key=distance)
    printed = round(claim.printed, claim.digits)
    exact = [each for each in usable if round(each.value, claim.digits) == printed]
    near = [each for each in usable if distance(each) <= NEAR_SHARE]
    for close, words in ((exact, "to the digit"), (near, f"within {100 * NEAR_SHARE:.0f} %")):
        for protocol, kind in KIND_BY_PROTOCOL.items():
            reading = next((each for each in close if each.protocol == protocol), None)
            if reading is not None:
                return AuditVerdict(kind, reading, f"{reading}, {words}")
    if usable:
        missed: VerdictKind = "not derivable" if claim.device == "none" else "not reproduced"
        return AuditVerdict(missed, usable[0], f"nearest: {usable[0]}")
    if claim.device == "none":
        return AuditVerdict("not checked here", None, "the records hold no such reading")
    why = f"needs {NEEDED[claim.device]}"
    # A GPU's reading says more about a GPU's than a processor's does.
    ours = min(claim.readings, key=lambda each: not each.device.startswith("cuda"), default=None)
    if ours is not None:
        value = decimal(ours.value, 0 if ours.value >= 100 else claim.digits or 1)
        why += f"; {value} {claim.unit} on {ours.place}"
    return AuditVerdict("not checked here", ours, why)


def _fits_device(reading: OurReading, claim: Claim) -> bool:
    if claim.device == "titan xp":
        return "titan xp" in reading.device.lower()
    if claim.device == "unnamed":
        return False
    return claim.device == "none" or reading.device.startswith("cuda")


def audit_tables(frame: Frame) -> tuple[Table, ...]:
    """The audit, where the records check one published number or more."""
    table = audit_table(frame)
    return (table,) if any(row[VERDICT] != "not checked here" for row in table.rows) else ()


def audit_table(frame: Frame) -> Table:
    """The audit as a table: a row for each number, in the order of the paper."""
    verdicts = [(claim, judge_claim(claim)) for claim in published_claims(frame)]
    kinds = [verdict.kind for _, verdict in verdicts]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in VERDICT_KINDS)
    return Table(
        name="audit",
        title="Audit of the published efficiency numbers",
        columns=(
            *map(text_column, ("where", "number", "verdict")),
            *map(Column, ("printed", "ours")),
            text_column("unit"),
            Column("difference", "%", 1, 0.01),
            text_column("why", wide=True),
        ),
        rows=tuple(_claim_row(claim, verdict) for claim, verdict in verdicts),
        caption=f"{len(verdicts)} numbers: {counts}.",
        notes=(AGREEMENT_RULE,),
        group_by=(0,),
    )


def _claim_row(claim: Claim, verdict: AuditVerdict) -> tuple[Value, ...]:
    ours = verdict.reading
    checked = verdict.kind != "not checked here" or claim.device in ("none", "gpu")
    missing = Mark("no record of this number")
    return (
        claim.where,
        claim.what,
        verdict.kind,
        Number(claim.printed, claim.digits),
        Number(ours.value, claim.digits + (claim.unit == "times")) if ours else missing,
        claim.unit,
        round(ours.value / claim.printed - 1, 3) if ours and checked else None,
        verdict.why,
    )
