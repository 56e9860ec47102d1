"""The published efficiency numbers, each with what the records say about it and why that may differ."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from reports.audit import readings as evidence
from reports.audit.readings import AuditRows, Claim, OurReading
from reports.model import GIGA

if TYPE_CHECKING:
    import pandas as pd

VerdictKind = Literal[
    "reproduced", "paper's protocol only", "not derivable", "not reproduced", "not checked here"
]
VERDICT_KINDS: tuple[VerdictKind, ...] = (
    "reproduced",
    "paper's protocol only",
    "not derivable",
    "not reproduced",
    "not checked here",
)
NAMES = {"nb": "NB", "apnb": "APNB"}
NETWORKS = {
    "denseaspp/161": "DenseASPP",
    "semseg/psanet-r101": "PSANet",
    "official/ann-r101": "ANN",
}


def published_claims(frame: "pd.DataFrame") -> tuple[Claim, ...]:
    """Every efficiency number of the paper: Table 1 (12), Table 2 (9), Fig. 2's text, the abstract, Eq. 13."""
    found = AuditRows(frame)
    return (*_table1(found), *_table2(found), *_texts(found))


def _table1(found: AuditRows) -> Iterator[Claim]:
    documents = found.documents("table1", "block", "size")
    for size in evidence.SIZES:
        for base in ("nb", "apnb"):
            document = documents.get((base, size))
            if document is None:
                continue
            subject = f"{NAMES[base]} {size}"
            yield Claim(
                where="Table 1",
                what=f"{subject}, operations",
                unit="GFLOPs",
                printed=document["published_operations"] / GIGA,
                digits=1,
                readings=tuple(evidence.operations(found.blocks(base, size))),
                remarks=_operation_remarks(found, base, size),
            )
            yield Claim(
                where="Table 1",
                what=f"{subject}, memory",
                unit="MB",
                printed=document["published_memory_bytes"] / 2**20,
                digits=0,
                readings=tuple(evidence.block_memory(found.blocks(base, size))),
                remarks={"paper's protocol only": _memory_remark(found, base, size)},
            )
            yield Claim(
                where="Table 1",
                what=f"{subject}, time",
                unit="ms",
                printed=document["published_time_s"] * 1e3,
                digits=1,
                readings=tuple(evidence.block_times(found.blocks(base, size))),
                device="titan xp",
            )


def _operation_remarks(found: AuditRows, base: str, size: str) -> dict[str, str]:
    macs = next((row["macs"] for row in found.blocks(base, size) if row["macs"]), None)
    executed = f"{macs / GIGA:.1f} GMAC as executed" if macs else ""
    product = evidence.products(found.blocks("nb", "96x96"))
    taken = f"NB's matrix products at 96x96 are {product / GIGA:.2f} GMAC" if product else ""
    return {
        "paper's protocol only": f"{executed}; the script counts a module once" if executed else "",
        "not derivable": "; ".join(filter(None, (executed, taken if base == "apnb" else ""))),
    }


def _memory_remark(found: AuditRows, base: str, size: str) -> str:
    needs = (
        row["predicted_increment_bytes"]
        for row in found.blocks(base, size)
        if row["axes"]["block"] == base
    )
    need = next((value for value in needs if value is not None), None)
    return f"one call adds {need / 2**20:.0f} MiB" if need is not None else ""


def _table2(found: AuditRows) -> Iterator[Claim]:
    documents = found.documents("table2", "network")
    for name, network in NETWORKS.items():
        document = documents.get((name,))
        if document is None:
            continue
        yield Claim(
            where="Table 2",
            what=f"{network}, time",
            unit="s",
            printed=document["published_time_s"],
            digits=3,
            readings=tuple(evidence.network_times(found.networks(name))),
            device="unnamed",
        )
        yield Claim(
            where="Table 2",
            what=f"{network}, memory",
            unit="MB",
            printed=document["published_memory_bytes"] / 2**20,
            digits=0,
            readings=tuple(evidence.network_memory(found.networks(name))),
            remarks={"not derivable": "the paper does not say how it was read"},
        )
        yield Claim(
            where="Table 2",
            what=f"{network}, parameters",
            unit="M",
            printed=document["published_parameters"] / 1e6,
            digits=2,
            readings=tuple(evidence.stored(found.networks(name))),
            remarks=_stored_remarks(found, name),
        )


def _stored_remarks(found: AuditRows, network: str) -> dict[str, str]:
    said = {
        reading.label: f"{reading.value:.2f}"
        for reading in evidence.stored(found.networks(network))
    }
    return {
        "reproduced": f"with buffers {said.get('parameters and buffers')}",
        "paper's protocol only": f"without batch norm's buffers {said.get('parameters')}",
    }


def _texts(found: AuditRows) -> Iterator[Claim]:
    printed = {
        axes[0]: row["published_times"] for axes, row in found.documents("claims", "claim").items()
    }
    for name, make in (
        ("fig2-faster", _fig2_faster),
        ("abstract-faster", _abstract_faster),
        ("abstract-smaller", _abstract_smaller),
        ("eq13-saved", _eq13_saved),
    ):
        if name in printed:
            yield replace(make(found), printed=printed[name])


def _times(where: str, what: str, readings: Iterator[OurReading]) -> Claim:
    return Claim(
        where=where, what=what, unit="times", printed=1.0, digits=0, readings=tuple(readings)
    )


def _fig2_faster(found: AuditRows) -> Claim:
    above, below = (
        evidence.operation_sums(found.blocks(base, "256x128", experiment="fig2")) for base in NAMES
    )
    claim = _times("Fig. 2", "APNB faster, 256x128", evidence.quotients(above, below))
    return replace(claim, device="gpu")


def _fewer_macs(found: AuditRows, size: str) -> float | None:
    nb, apnb = (
        next(
            (row["macs"] for row in found.blocks(base, size) if row["axes"]["block"] == base), None
        )
        for base in NAMES
    )
    return nb / apnb if nb and apnb else None


def _abstract_faster(found: AuditRows) -> Claim:
    above, below = (evidence.block_times(found.blocks(base, "256x128")) for base in NAMES)
    claim = _times("Abstract", "APNB faster, 256x128", evidence.quotients(above, below))
    fewer = _fewer_macs(found, "256x128")
    remark = f"{fewer:.1f} times fewer MACs" if fewer else ""
    return replace(claim, device="gpu", remarks=dict.fromkeys(VERDICT_KINDS, remark))


def _abstract_smaller(found: AuditRows) -> Claim:
    above, below = (evidence.block_memory(found.blocks(base, "256x128")) for base in NAMES)
    quotients = tuple(evidence.quotients(above, below))
    needed = [r for r in quotients if r.label == "predicted increment"]
    said = " or ".join(dict.fromkeys(f"{r.value:.1f} ({r.form})" for r in needed))
    remark = f"of what one call adds: {said}" if said else ""
    claim = _times("Abstract", "APNB smaller, 256x128", iter(quotients))
    return replace(claim, remarks={"paper's protocol only": remark})


def _eq13_saved(found: AuditRows) -> Claim:
    above, below = (evidence.products(found.blocks(base, "96x96")) for base in NAMES)
    quotient = (
        [OurReading(above / below, "MACs of the matrix products, NB over APNB")]
        if above and below
        else []
    )
    fewer = _fewer_macs(found, "96x96")
    remark = f"{fewer:.1f} times for the whole block" if fewer else ""
    claim = _times("Eq. 13", "matrix products saved, 96x96", iter(quotient))
    return replace(claim, remarks={"reproduced": remark})
