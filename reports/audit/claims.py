"""The published efficiency numbers, each with what the records say about it and why that may differ."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Literal, NamedTuple, get_args

from reports.audit import readings
from reports.audit.readings import AuditRows, Claim, Need, OurReading, read_columns
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
Remarks = Mapping[str, Mapping[str, str]]  # of a column, by verdict
ReadRows = Callable[[Iterable[Row]], Iterator[OurReading]]


class PrintedColumn(NamedTuple):
    """A column of a table: where, of what, in which unit, its place in the frame, and our readings of it."""

    where: str
    what: str
    unit: str
    digits: int
    name: str
    scale: float
    read: ReadRows
    needs: Need = "none"


_counted = partial(read_columns, columns=readings.OPERATIONS)
_block_memory = partial(read_columns, columns=readings.BLOCK_MEMORY)
_network_memory = partial(read_columns, columns=readings.NETWORK_MEMORY)
_network_times = partial(readings.times, unit=1)
TABLE1 = (
    PrintedColumn("Table 1", "operations", "GFLOPs", 1, "operations", GIGA, _counted),
    PrintedColumn("Table 1", "memory", "MB", 0, "memory_bytes", MEBI, _block_memory),
    PrintedColumn("Table 1", "time", "ms", 1, "time_s", MILLI, readings.times, "titan xp"),
)
TABLE2 = (
    PrintedColumn("Table 2", "time", "s", 3, "time_s", 1, _network_times, "unnamed"),
    PrintedColumn("Table 2", "memory", "MB", 0, "memory_bytes", MEBI, _network_memory),
    PrintedColumn("Table 2", "parameters", "M", 2, "parameters", MEGA, readings.stored),
)


def published_claims(frame: Frame) -> tuple[Claim, ...]:
    """Every efficiency number of the paper: Table 1 (12), Table 2 (9), Fig. 2's text, the abstract, Eq. 13."""
    rows = AuditRows(frame)
    return (*_table1_claims(rows), *_table2_claims(rows), *_text_claims(rows))


def _table1_claims(rows: AuditRows) -> Iterator[Claim]:
    documents = rows.documents("table1", "block", "size")
    products = readings.products(rows.blocks("nb", "96x96"))
    other = f"NB's matrix products at 96x96 are {products / GIGA:.2f} GMAC" if products else ""
    for base, size in ((base, size) for size in ("96x96", "256x128") for base in BLOCK_NAMES):
        blocks = rows.blocks(base, size)
        need = _of_plain_form(blocks, base, "predicted_increment_bytes")
        added = f"one call adds {need / MEBI:.0f} MiB" if need is not None else ""
        macs = next((row["macs"] for row in blocks if row["macs"]), None)
        executed = f"{macs / GIGA:.1f} GMAC as executed" if macs else ""
        once = f"{executed}; the script counts a module once" if executed else ""
        missed = "; ".join(filter(None, (executed, other if base == "apnb" else "")))
        remarks: Remarks = {
            "operations": {"paper's protocol only": once, "not derivable": missed},
            "memory": {"paper's protocol only": added},
        }
        if document := documents.get((base, size)):
            subject = f"{BLOCK_NAMES[base]} {size}"
            yield from _claims_of(document, blocks, subject, columns=TABLE1, remarks=remarks)


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
        if document := documents.get((name,)):
            yield from _claims_of(document, networks, network, columns=TABLE2, remarks=remarks)


def _claims_of(
    document: Row,
    rows: Iterable[Row],
    subject: str,
    *,
    columns: Iterable[PrintedColumn],
    remarks: Remarks,
) -> Iterator[Claim]:
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


def _of_plain_form(rows: Iterable[Row], base: str, column: str) -> int | None:
    values = (row[column] for row in rows if row["axes"]["block"] == base)
    return next((value for value in values if value is not None), None)


def _text_claims(rows: AuditRows) -> Iterator[Claim]:
    large, small, profiled = (
        [rows.blocks(base, size, experiment=experiment) for base in BLOCK_NAMES]
        for size, experiment in (("256x128", "table1"), ("96x96", "table1"), ("256x128", "fig2"))
    )
    smaller = _nb_over_apnb(_block_memory, large)
    needed = dict.fromkeys(
        f"{each.value:.1f} ({each.form})" for each in smaller if each.label == "predicted increment"
    )
    of_call = f"of what one call adds: {' or '.join(needed)}" if needed else ""
    above, below = map(readings.products, small)
    label = "MACs of the matrix products, NB over APNB"
    saved = (OurReading(above / below, label),) if above and below else ()
    summed = _nb_over_apnb(readings.operation_sums, profiled)
    timed = _nb_over_apnb(readings.times, large)
    fewer = dict.fromkeys(map(str, VERDICT_KINDS), _fewer_macs(large, "fewer MACs"))
    adds = {"paper's protocol only": of_call}
    whole = {"reproduced": _fewer_macs(small, "for the whole block")}
    claims: Mapping[str, tuple[str, str, tuple[OurReading, ...], Need, Mapping[str, str]]] = {
        "fig2-faster": ("Fig. 2", "APNB faster, 256x128", summed, "gpu", {}),
        "abstract-faster": ("Abstract", "APNB faster, 256x128", timed, "gpu", fewer),
        "abstract-smaller": ("Abstract", "APNB smaller, 256x128", smaller, "none", adds),
        "eq13-saved": ("Eq. 13", "matrix products saved, 96x96", saved, "none", whole),
    }
    documents = rows.documents("claims", "claim")
    for name, (where, what, ours, needs, remarks) in claims.items():
        if (name,) in documents:
            printed = documents[name,]["published_times"]
            yield Claim(
                where=where,
                what=what,
                unit="times",
                printed=printed,
                digits=0,
                readings=ours,
                device=needs,
                remarks=remarks,
            )


def _nb_over_apnb(read_rows: ReadRows, blocks: Iterable[Iterable[Row]]) -> tuple[OurReading, ...]:
    return tuple(readings.quotients(*map(read_rows, blocks)))


def _fewer_macs(blocks: Iterable[Iterable[Row]], of_what: str) -> str:
    nb, apnb = (
        _of_plain_form(rows, base, "macs") for rows, base in zip(blocks, BLOCK_NAMES, strict=True)
    )
    return f"{nb / apnb:.1f} times {of_what}" if nb and apnb else ""
