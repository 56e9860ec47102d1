"""The published efficiency numbers, each with what the records say about it and why that may differ."""

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal, get_args

from reports.audit import readings
from reports.audit.readings import AuditRows, Claim, OurReading
from reports.model import GIGA, MEBI, MEGA, MILLI, Frame

if TYPE_CHECKING:
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


def published_claims(frame: Frame) -> tuple[Claim, ...]:
    """Every efficiency number of the paper: Table 1 (12), Table 2 (9), Fig. 2's text, the abstract, Eq. 13."""
    rows = AuditRows(frame)
    return (*_table1_claims(rows), *_table2_claims(rows), *_text_claims(rows))


def _table1_claims(rows: AuditRows) -> Iterator[Claim]:
    claim = partial(Claim, where="Table 1")
    documents = rows.documents("table1", "block", "size")
    for base, size in ((base, size) for size in ("96x96", "256x128") for base in BLOCK_NAMES):
        if (base, size) not in documents:
            continue
        document, blocks = documents[base, size], rows.blocks(base, size)
        subject = f"{BLOCK_NAMES[base]} {size}"
        yield claim(
            what=f"{subject}, operations",
            unit="GFLOPs",
            printed=document["published_operations"] / GIGA,
            digits=1,
            readings=tuple(readings.operations(blocks)),
            remarks=_operation_remarks(rows, base, size),
        )
        yield claim(
            what=f"{subject}, memory",
            unit="MB",
            printed=document["published_memory_bytes"] / MEBI,
            digits=0,
            readings=tuple(readings.block_memory(blocks)),
            remarks={"paper's protocol only": _memory_remark(rows, base, size)},
        )
        yield claim(
            what=f"{subject}, time",
            unit="ms",
            printed=document["published_time_s"] / MILLI,
            digits=1,
            readings=tuple(readings.block_times(blocks)),
            device="titan xp",
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


def _memory_remark(rows: AuditRows, base: str, size: str) -> str:
    need = _of_plain_form(rows, base, size, column="predicted_increment_bytes")
    return f"one call adds {need / MEBI:.0f} MiB" if need is not None else ""


def _of_plain_form(rows: AuditRows, base: str, size: str, *, column: str) -> int | None:
    """What the first row of a block in its plain form says that says it."""
    values = (row[column] for row in rows.blocks(base, size) if row["axes"]["block"] == base)
    return next((value for value in values if value is not None), None)


def _table2_claims(rows: AuditRows) -> Iterator[Claim]:
    claim = partial(Claim, where="Table 2")
    documents = rows.documents("table2", "network")
    for name, network in NETWORK_NAMES.items():
        if (name,) not in documents:
            continue
        document, networks = documents[name,], rows.networks(name)
        yield claim(
            what=f"{network}, time",
            unit="s",
            printed=document["published_time_s"],
            digits=3,
            readings=tuple(readings.network_times(networks)),
            device="unnamed",
        )
        yield claim(
            what=f"{network}, memory",
            unit="MB",
            printed=document["published_memory_bytes"] / MEBI,
            digits=0,
            readings=tuple(readings.network_memory(networks)),
            remarks={"not derivable": "the paper does not say how it was read"},
        )
        counts = tuple(readings.stored(networks))
        text = {reading.label: f"{reading.value:.2f}" for reading in counts}
        yield claim(
            what=f"{network}, parameters",
            unit="M",
            printed=document["published_parameters"] / MEGA,
            digits=2,
            readings=counts,
            remarks={
                "reproduced": f"with buffers {text.get('parameters and buffers')}",
                "paper's protocol only": f"without batch norm's buffers {text.get('parameters')}",
            },
        )


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
