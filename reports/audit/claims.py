"""The published efficiency numbers, each with what the records say about it and why that may differ."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Literal, NamedTuple, get_args

from reports.audit import readings
from reports.audit.readings import AuditRows, Claim, Need, OurReading
from reports.model import GIGA, MEBI, MEGA, MILLI, Frame, Row

VerdictKind = Literal[
    "reproduced", "paper's protocol only", "not derivable", "not reproduced", "not checked here"
]
VERDICT_KINDS: tuple[VerdictKind, ...] = get_args(VerdictKind)
BLOCK_NAMES = {"nb": "NB", "apnb": "APNB"}
NETWORK_NAMES = {
    "denseaspp/161": "DenseASPP",
    "semseg/psanet-r101": "PSANet",
    "official/ann-r101": "ANN",
}
FACTOR = partial(Claim, unit="times", digits=0)


class PrintedColumn(NamedTuple):
    """A column of a table: where, of what, in which unit, its place in the frame, and what is held against it."""

    where: str
    what: str
    unit: str
    digits: int
    name: str
    scale: float
    read: Callable[[Iterable[Row]], Iterator[OurReading]]
    needs: Need = "none"


TABLE1 = (
    PrintedColumn("Table 1", "operations", "GFLOPs", 1, "operations", GIGA, readings.operations),
    PrintedColumn("Table 1", "memory", "MB", 0, "memory_bytes", MEBI, readings.block_memory),
    PrintedColumn("Table 1", "time", "ms", 1, "time_s", MILLI, readings.block_times, "titan xp"),
)
TABLE2 = (
    PrintedColumn("Table 2", "time", "s", 3, "time_s", 1, readings.network_times, "unnamed"),
    PrintedColumn("Table 2", "memory", "MB", 0, "memory_bytes", MEBI, readings.network_memory),
    PrintedColumn("Table 2", "parameters", "M", 2, "parameters", MEGA, readings.stored),
)
Remarks = Mapping[str, Mapping[str, str]]  # of a column, by verdict


def published_claims(frame: Frame) -> tuple[Claim, ...]:
    """Every efficiency number of the paper: Table 1 (12), Table 2 (9), Fig. 2's text, the abstract, Eq. 13."""
    rows = AuditRows(frame)
    return (*_table1_claims(rows), *_table2_claims(rows), *_text_claims(rows))


def _table1_claims(rows: AuditRows) -> Iterator[Claim]:
    documents = rows.documents("table1", "block", "size")
    for base, size in ((base, size) for size in ("96x96", "256x128") for base in BLOCK_NAMES):
        need = _of_plain_form(rows, base, size, column="predicted_increment_bytes")
        added = f"one call adds {need / MEBI:.0f} MiB" if need is not None else ""
        remarks: Remarks = {
            "operations": _operation_remarks(rows, base, size),
            "memory": {"paper's protocol only": added},
        }
        blocks, subject = rows.blocks(base, size), f"{BLOCK_NAMES[base]} {size}"
        yield from _claims_of(
            documents.get((base, size)), subject, blocks, columns=TABLE1, remarks=remarks
        )


def _table2_claims(rows: AuditRows) -> Iterator[Claim]:
    documents = rows.documents("table2", "network")
    for name, network in NETWORK_NAMES.items():
        networks = rows.networks(name)
        counts = {each.label: f"{each.value:.2f}" for each in readings.stored(networks)}
        remarks: Remarks = {
            "memory": {"not derivable": "the paper does not say how it was read"},
            "parameters": {
                "reproduced": f"with buffers {counts.get('parameters and buffers')}",
                "paper's protocol only": f"without batch norm's buffers {counts.get('parameters')}",
            },
        }
        yield from _claims_of(
            documents.get((name,)), network, networks, columns=TABLE2, remarks=remarks
        )


def _claims_of(
    document: Row | None,
    subject: str,
    rows: Iterable[Row],
    *,
    columns: Iterable[PrintedColumn],
    remarks: Remarks,
) -> Iterator[Claim]:
    if document is None:
        return
    for column in columns:
        yield Claim(
            where=column.where,
            what=f"{subject}, {column.what}",
            unit=column.unit,
            printed=document[f"published_{column.name}"] / column.scale,
            digits=column.digits,
            readings=tuple(column.read(rows)),
            device=column.needs,
            remarks=remarks.get(column.what, {}),
        )


def _operation_remarks(rows: AuditRows, base: str, size: str) -> dict[str, str]:
    macs = next((row["macs"] for row in rows.blocks(base, size) if row["macs"]), None)
    executed = f"{macs / GIGA:.1f} GMAC as executed" if macs else ""
    product = readings.products(rows.blocks("nb", "96x96"))
    other = f"NB's matrix products at 96x96 are {product / GIGA:.2f} GMAC" if product else ""
    return {
        "paper's protocol only": f"{executed}; the script counts a module once" if executed else "",
        "not derivable": "; ".join(filter(None, (executed, other if base == "apnb" else ""))),
    }


def _of_plain_form(rows: AuditRows, base: str, size: str, *, column: str) -> int | None:
    """What the first row of a block in its plain form says that says it."""
    values = (row[column] for row in rows.blocks(base, size) if row["axes"]["block"] == base)
    return next((value for value in values if value is not None), None)


def _text_claims(rows: AuditRows) -> Iterator[Claim]:
    documents = rows.documents("claims", "claim")
    for name, claim in (
        ("fig2-faster", _fig2_faster),
        ("abstract-faster", _abstract_faster),
        ("abstract-smaller", _abstract_smaller),
        ("eq13-saved", _eq13_saved),
    ):
        if (name,) in documents:
            yield claim(rows, documents[name,]["published_times"])


def _fig2_faster(rows: AuditRows, printed: float) -> Claim:
    above, below = (
        readings.operation_sums(rows.blocks(base, "256x128", experiment="fig2"))
        for base in BLOCK_NAMES
    )
    return FACTOR(
        where="Fig. 2",
        what="APNB faster, 256x128",
        printed=printed,
        readings=tuple(readings.quotients(above, below)),
        device="gpu",
    )


def _abstract_faster(rows: AuditRows, printed: float) -> Claim:
    above, below = (readings.block_times(rows.blocks(base, "256x128")) for base in BLOCK_NAMES)
    fewer = _fewer_macs(rows, "256x128")
    return FACTOR(
        where="Abstract",
        what="APNB faster, 256x128",
        printed=printed,
        readings=tuple(readings.quotients(above, below)),
        device="gpu",
        remarks=dict.fromkeys(VERDICT_KINDS, f"{fewer:.1f} times fewer MACs" if fewer else ""),
    )


def _fewer_macs(rows: AuditRows, size: str) -> float | None:
    nb, apnb = (_of_plain_form(rows, base, size, column="macs") for base in BLOCK_NAMES)
    return nb / apnb if nb and apnb else None


def _abstract_smaller(rows: AuditRows, printed: float) -> Claim:
    above, below = (readings.block_memory(rows.blocks(base, "256x128")) for base in BLOCK_NAMES)
    quotients = tuple(readings.quotients(above, below))
    needs = [each for each in quotients if each.label == "predicted increment"]
    needed = " or ".join(dict.fromkeys(f"{need.value:.1f} ({need.form})" for need in needs))
    remark = f"of what one call adds: {needed}" if needed else ""
    return FACTOR(
        where="Abstract",
        what="APNB smaller, 256x128",
        printed=printed,
        readings=quotients,
        remarks={"paper's protocol only": remark},
    )


def _eq13_saved(rows: AuditRows, printed: float) -> Claim:
    above, below = (readings.products(rows.blocks(base, "96x96")) for base in BLOCK_NAMES)
    label = "MACs of the matrix products, NB over APNB"
    fewer = _fewer_macs(rows, "96x96")
    return FACTOR(
        where="Eq. 13",
        what="matrix products saved, 96x96",
        printed=printed,
        readings=(OurReading(above / below, label),) if above and below else (),
        remarks={"reproduced": f"{fewer:.1f} times for the whole block" if fewer else ""},
    )
