"""The floor of each operator: the time that it takes at the least by its operations and its bytes.

A call can't be faster than its products at the peak of their number format, its other operations at
that of float32, or its bytes at the memory's bandwidth, whichever takes longest (Williams et al.,
Roofline, 2009). The floor of a block is the sum over its calls, since one runs after the other. Bytes
that a GPU's second cache may hold between two calls don't count, nor do products that a quicker way
of a convolution saves; it knows no launch and no fusion of operators.
"""

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from bench.analysis.devices import Ceilings
from bench.analysis.statistics import without_rejected

if TYPE_CHECKING:  # pydantic, which --help does without
    from collections.abc import Sequence

    from bench.records import Ceiling, Environment, Operator

# Operators below these are not those of the ledger, which is of the module that they were made from.
FUSING = ("compiled", "fast-compiled", "onnxruntime")


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """In which format products of float32 operands are computed, convolutions and others."""

    convolution: str = "float32"
    product: str = "float32"


IEEE = Policy()
TF32 = Policy(convolution="tf32", product="tf32")


def policy_of(dtype: str, environment: "Environment | None" = None) -> Policy:
    """Policy of a cell: what was set where it ran on CUDA, else what its number format says."""
    if dtype == "tf32":
        return TF32
    if environment is None or environment.device != "cuda":
        return IEEE
    flags = {"convolution": "conv_precision", "product": "matmul_precision"}
    shorter = [kind for kind, flag in flags.items() if environment.flags.get(flag) == "tf32"]
    return Policy(**dict.fromkeys(shorter, "tf32"))


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
        """What limits it: operations or memory; nothing where it takes no time."""
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
    sums = Alike(calls=1, macs=row.macs, flops=row.flops, moved_bytes=row.moved_bytes)
    product_s = arithmetic_s = memory_s = time_s = 0.0
    for alike in row.alike or (sums,):
        product = arithmetic = 0.0
        if alike.macs:
            share = least_share(prod(alike.window[2:])) if alike.window else 1.0
            product = 2 * share * alike.macs / _rate(row.name, alike.dtype, ceilings, policy)
        if others := alike.flops - 2 * alike.macs:
            arithmetic = others / _peak("float32", ceilings)
        memory = max(0, alike.moved_bytes - ceilings.l2_bytes) / ceilings.bandwidth
        product_s += alike.calls * product
        arithmetic_s += alike.calls * arithmetic
        memory_s += alike.calls * memory
        time_s += alike.calls * max(product, arithmetic, memory)
    return Floor(
        name=row.name,
        calls=row.calls,
        product_s=product_s,
        arithmetic_s=arithmetic_s,
        memory_s=memory_s,
        time_s=time_s,
    )


def _rate(name: str, dtype: str, ceilings: Ceilings, policy: Policy) -> float:
    """Peak of an operator's products.

    Memory-efficient attention multiplies float32 on tensor cores where there are some, as three
    products of TF32 (OpMultiplyAddFastF32 in mem_eff_attention/gemm_kernel_utils.h, PyTorch 2.11
    and 2.15), which is faster than float32 itself.
    """
    peak = _peak(product_format(name, dtype, policy), ceilings)
    if dtype == "float32" and "efficient_attention" in name and "tf32" in ceilings.products:
        return max(peak, ceilings.products["tf32"] / 3)
    return peak


def product_format(name: str, dtype: str, policy: Policy) -> str:
    """The format in which an operator's products of such operands are computed."""
    if dtype != "float32":
        return dtype
    return policy.convolution if "convolution" in name else policy.product


def _peak(dtype: str, ceilings: Ceilings) -> float:
    if dtype not in ceilings.products:
        msg = f"no ceiling for products in {dtype}; there are {', '.join(ceilings.products)}"
        raise ValueError(msg)
    return ceilings.products[dtype]


def least_share(taps: int) -> float:
    """Share of a convolution's MACs that the quickest known way needs, by the taps of its window.

    Without steps, gaps or groups that is Winograd's F(4x4, 3x3) with 36 products in place of 144 (Lavin and Gray,
    2016), and for larger windows the transform of Fourier's, with two products for each output.
    """
    if taps == 1:
        return 1.0
    return 1 / 4 if taps <= 9 else 2 / taps


def measured_ceilings(readings: "Sequence[Ceiling]") -> Ceilings | None:
    """Ceilings that a machine reached; None if they lack the copy or every product."""
    rates = [(reading, rate) for reading in readings if (rate := ceiling_rate(reading))]
    products = {reading.dtype: rate for reading, rate in rates if reading.kind == "product"}
    copies = [rate for reading, rate in rates if reading.kind == "copy"]
    return Ceilings(bandwidth=copies[-1], products=products) if copies and products else None


def ceiling_rate(ceiling: "Ceiling") -> float | None:
    """Bytes or FLOPs a second at best, for a ceiling is what is not passed; None where nothing was timed."""
    timing = ceiling.timing
    if timing is None or not timing.samples_s:
        return None
    kept = without_rejected(timing.samples_s, timing.rejected) or timing.samples_s
    return ceiling.amount / min(kept)
