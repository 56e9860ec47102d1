"""Estimates and floors of kernels that others timed."""

from collections.abc import Mapping, Sequence

import numpy as np

from bench.analysis import Ceilings
from bench.estimate.kernels import (
    Numbers,
    Times,
    convolution_times,
    moved_times,
    norm_times,
    product_times,
    rates_of,
    softmax_times,
)
from bench.estimate.timings import FLOAT32_BYTES, Kernels

KINDS = {"bmm": "batched", "linear": "shared"}


def estimated(
    kernels: Kernels, model: Mapping[str, float], reached: Ceilings | None = None
) -> Times:
    """Times that the model gives, by the datasheet or by what the device reached itself."""
    rates = rates_of(kernels.device, "float32", model, reached)
    moved, products = kernels.moved_bytes, kernels.products
    if products is None:
        rows, columns = kernels.rows, kernels.columns
        if kernels.of == "element-wise" or rows is None or columns is None:
            return moved_times(moved, rates)
        times = softmax_times if kernels.of == "softmax" else norm_times
        return times(rows, columns, rates)
    if kernels.of in KINDS:
        return product_times(products, moved, rates, kind=KINDS[kernels.of])
    return convolution_times(products, kernels.windows, moved, rates)


def floor_s(kernels: Kernels) -> Numbers:
    """The least times that the datasheet allows: operations at the peak, bytes beyond L2 at the bandwidth."""
    ceilings = kernels.device.ceilings
    memory = np.maximum(kernels.moved_bytes - ceilings.l2_bytes, 0) / ceilings.bandwidth
    if kernels.products is None:
        # An operation an element at least.
        return np.maximum(
            memory, kernels.moved_bytes / FLOAT32_BYTES / 3 / ceilings.products["float32"]
        )
    share = 1.0 if kernels.least is None else kernels.least
    return np.maximum(memory, kernels.products.flops * share / ceilings.products["float32"])


def reached_ceilings(kernels: Sequence[Kernels]) -> Ceilings | None:
    """What one device reached itself: the rates of its best product and of its best copy; None without both.

    Of the fifth of the products with the most operations, and of the half of the element-wise kernels with the most
    bytes, the rate that a tenth of them pass: as `bench.reference` would time one large product and one large copy.
    """
    flops = [
        (group.products.flops, group.measured_s)
        for group in kernels
        if group.of in KINDS and group.products
    ]
    copies = [
        (group.moved_bytes, group.measured_s) for group in kernels if group.of == "element-wise"
    ]
    if not flops or not copies:
        return None
    return Ceilings(bandwidth=_best_rate(copies, 0.5), products={"float32": _best_rate(flops, 0.8)})


def _best_rate(pairs: Sequence[tuple[Numbers, Numbers]], from_share: float) -> float:
    work, time_s = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    is_large = work >= np.quantile(work, from_share)
    return float(np.quantile(work[is_large] / time_s[is_large], 0.9))
