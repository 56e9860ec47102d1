"""The floor of each operator: the time that it takes at the least by its operations and its bytes.

A call can't be faster than its products at the peak of their number format, its other operations at
that of float32, or its bytes at the memory's bandwidth, whichever takes longest (Williams et al.,
Roofline, 2009). The floor of a block is the sum over its calls, since one runs after the other. It
knows no launch, no cache that holds what an earlier call left, and no fusion of operators.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.analysis.devices import Ceilings
from bench.analysis.statistics import without_rejected

if TYPE_CHECKING:  # pydantic, which --help does without
    from collections.abc import Mapping, Sequence

    from bench.records import Alike, Ceiling, Environment, Operator

# Operators below these are not those of the ledger, which is of the module that they were made from.
FUSING = ("compiled", "fast-compiled", "onnxruntime")
PRODUCTS_OF_3XTF32 = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """In which format products of float32 operands are computed, convolutions and others."""

    convolution: str = "float32"
    product: str = "float32"


IEEE = Policy()
TF32 = Policy(convolution="tf32", product="tf32")
# What PyTorch does unless told otherwise, on GPUs since Ampere.
TORCH = Policy(convolution="tf32", product="float32")


def policy_of(dtype: str, environment: "Environment | None" = None) -> Policy:
    """Policy of a cell: what was set where it ran on CUDA, else what its number format says."""
    if dtype == "tf32":
        return TF32
    if environment is None or environment.device != "cuda":
        return IEEE
    kinds = {"convolution": "conv_precision", "product": "matmul_precision"}
    shorter = {kind: environment.flags.get(flag) == "tf32" for kind, flag in kinds.items()}
    return replace(IEEE, **{kind: "tf32" for kind, is_so in shorter.items() if is_so})


@dataclass(frozen=True, kw_only=True, slots=True)
class Floor:
    """All calls of one operator at the ceilings of a machine, in seconds.

    `time_s` adds up the longest of each call's three, so that it is at least each of them.
    """

    name: str
    calls: int
    product_s: float
    arithmetic_s: float
    memory_s: float
    time_s: float

    @property
    def bound(self) -> str:
        """What holds it back: operations or memory; nothing where it takes no time."""
        if not self.time_s:
            return ""
        return "memory" if self.memory_s >= max(self.product_s, self.arithmetic_s) else "operations"


def floors(
    ledger: "Sequence[Operator]", ceilings: Ceilings, policy: Policy = IEEE
) -> tuple[Floor, ...]:
    """Floor of each operator of a ledger, in its order.

    Raises:
        ValueError: there is no ceiling for the number format of a product.
    """
    return tuple(_floor(row, ceilings, policy) for row in ledger)


def floor_total_s(ledger: "Sequence[Operator]", ceilings: Ceilings, policy: Policy = IEEE) -> float:
    """Sum of the floors: the predicted time of one call, if all goes as well as it can.

    Raises:
        ValueError: as `floors`.
    """
    return sum(row.time_s for row in floors(ledger, ceilings, policy))


def _floor(row: "Operator", ceilings: Ceilings, policy: Policy) -> Floor:
    from bench.records import Alike

    # Records from before calls stood apart have their sums alone, whose floor is no higher.
    alike = row.alike or (
        Alike(calls=1, macs=row.macs, flops=row.flops, moved_bytes=row.moved_bytes),
    )
    parts = [_parts(row.name, one, ceilings, policy) for one in alike]
    sums = [
        sum(one.calls * part[at] for one, part in zip(alike, parts, strict=True)) for at in range(3)
    ]
    return Floor(
        name=row.name,
        calls=row.calls,
        product_s=sums[0],
        arithmetic_s=sums[1],
        memory_s=sums[2],
        time_s=sum(one.calls * max(part) for one, part in zip(alike, parts, strict=True)),
    )


def _parts(
    name: str, one: "Alike", ceilings: Ceilings, policy: Policy
) -> tuple[float, float, float]:
    """Seconds of one call: its products, its other operations, its bytes."""
    products = 2 * one.macs / _rate(name, one.dtype, ceilings, policy) if one.macs else 0.0
    others = one.flops - 2 * one.macs
    arithmetic = others / _peak("float32", ceilings) if others else 0.0
    return products, arithmetic, one.moved_bytes / ceilings.bandwidth


def _rate(name: str, dtype: str, ceilings: Ceilings, policy: Policy) -> float:
    """Peak of an operator's products.

    Memory-efficient attention multiplies float32 on tensor cores where there are some, as three
    products of TF32 (OpMultiplyAddFastF32 in mem_eff_attention/gemm_kernel_utils.h, PyTorch 2.11
    and 2.15), which is faster than float32 itself.
    """
    peak = _peak(_format(name, dtype, policy), ceilings)
    if dtype == "float32" and "efficient_attention" in name and "tf32" in ceilings.products:
        return max(peak, ceilings.products["tf32"] / PRODUCTS_OF_3XTF32)
    return peak


def _format(name: str, dtype: str, policy: Policy) -> str:
    if dtype != "float32":
        return dtype
    return policy.convolution if "convolution" in name else policy.product


def _peak(dtype: str, ceilings: Ceilings) -> float:
    if dtype not in ceilings.products:
        msg = f"no ceiling for products in {dtype}; there are {', '.join(ceilings.products)}"
        raise ValueError(msg)
    return ceilings.products[dtype]


def measured_ceilings(found: "Sequence[Ceiling]") -> Ceilings | None:
    """Ceilings that a machine reached; None if they lack the copy or every product."""
    rates = {(one.kind, one.dtype): rate for one in found if (rate := ceiling_rate(one))}
    products: Mapping[str, float] = {
        dtype: rate for (kind, dtype), rate in rates.items() if kind == "product"
    }
    copies = [rate for (kind, _), rate in rates.items() if kind == "copy"]
    return Ceilings(bandwidth=copies[0], products=products) if copies and products else None


def ceiling_rate(ceiling: "Ceiling") -> float | None:
    """Bytes or FLOPs a second at best, for a ceiling is what is not passed; None where nothing was timed."""
    timing = ceiling.timing
    if timing is None or not timing.samples_s:
        return None
    kept = without_rejected(timing.samples_s, timing.rejected) or timing.samples_s
    return ceiling.amount / min(kept)
