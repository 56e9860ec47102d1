"""The estimated time of each operator of a ledger on a GPU, with an interval and what it is bound by.

The model is that of `bench.estimate.kernels`. It knows kernels one after the other: no fusion, and no
cache that holds what an earlier one left. Intervals are those of kernels that others timed
(`bench.validate`); where there were none (tensor cores, pooling, resizing, depthwise convolutions, fused
attention) they are from half to double. The ends of a sum are the sums of the ends, as if all were
off in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis import IEEE, Ceilings, Datasheet, Policy, product_format
from bench.estimate import kernels
from bench.estimate.kernels import Products, Rates, Times, Windows

if TYPE_CHECKING:  # pydantic, which --help does without
    from bench.records import Alike, Operator

# Parts of names of operators that no class of the timings has, and the coefficient of each.
OTHERS = {"pool": "pool", "cum": "scan"} | dict.fromkeys(
    ("upsample", "index", "gather", "scatter", "embedding", "backward", "sort", "grid"), ""
)
ITEM_BYTES = {"float64": 8, "float16": 2, "bfloat16": 2}
OTHER = "other"
BEFORE_SHAPES = "the records are of before shapes of operators were written down; predict again"
WINOGRAD_WINDOW = (3, 3)
# Whole tiles and waves over the operations alone, from which on they are what a product is bound by.
UNFULL = 1.25


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """All calls of one operator on a device, in seconds: likely, and from where to where; `bound` is by what."""

    name: str
    calls: int
    time_s: float
    low_s: float
    high_s: float
    bound: str


@dataclass(frozen=True, slots=True)
class Estimator:
    """Estimates for a device: by its datasheet, or by the rates that it `reached` itself where they are known."""

    device: Datasheet
    policy: Policy = IEEE
    reached: Ceilings | None = None
    model: Mapping[str, float] = field(default_factory=kernels.kernel_model)

    def estimates(self, ledger: "Sequence[Operator]") -> tuple[Estimate, ...]:
        """Estimate each operator of a ledger, in its order.

        Raises:
            ValueError: nothing is known of the device's chip, it lacks a number format, or the ledger is of before
                shapes were written down.
        """
        return tuple(map(self._estimate, ledger))

    def _estimate(self, row: "Operator") -> Estimate:
        if not row.alike and (row.macs or row.moved_bytes):
            raise ValueError(BEFORE_SHAPES)
        time_s = low_s = high_s = 0.0
        spent: dict[str, float] = {}
        for alike in row.alike:
            of, times = self._times(row.name, alike)
            low, high = kernels.interval_of(of, self.model)
            each = alike.calls * float(times.time_s.sum())
            time_s, low_s, high_s = time_s + each, low_s + low * each, high_s + high * each
            bound = self._bound(times)
            spent[bound] = spent.get(bound, 0.0) + each
        bound = max(spent, key=lambda name: spent[name], default="")
        return Estimate(
            name=row.name, calls=row.calls, time_s=time_s, low_s=low_s, high_s=high_s, bound=bound
        )

    def _bound(self, times: Times) -> str:
        whole, alone, waves, memory = (
            float(part.sum())
            for part in (times.time_s, times.operations_s, times.waves_s, times.memory_s)
        )
        if 2 * self.model["launch_s"] * len(times.time_s) > whole:
            return "launches"
        if memory >= waves:
            return "memory"
        return "tiles and waves" if waves > UNFULL * alone else "operations"

    def _times(self, name: str, alike: "Alike") -> tuple[str, Times]:
        """The class whose interval holds, and the times of the kernels of one call."""
        if alike.macs and not alike.products:
            raise ValueError(BEFORE_SHAPES)
        if alike.products:
            dtype = product_format(name, alike.dtype, self.policy)
            of, times = self._product_times(name, alike, self._rates(name, dtype))
            return (of if dtype == "float32" else OTHER), times
        rates = self._rates(name, "float32")
        moved = np.array([float(alike.moved_bytes)])
        if not alike.row_length:
            factor = self._factor(name, alike)
            of = OTHER if factor else "element-wise"
            return of, kernels.moved_times(moved * (factor or 1), rates)
        of = "softmax" if "softmax" in name else "layer norm"
        row_times = kernels.softmax_times if of == "softmax" else kernels.norm_times
        item_bytes = ITEM_BYTES.get(alike.dtype, 4)
        length = np.array([float(alike.row_length)])
        rows = moved / (2 * item_bytes * length)  # each is read once and written once
        return of, row_times(rows, length, rates, item_bytes=item_bytes)

    def _factor(self, name: str, alike: "Alike") -> float:
        """How much longer than a copy of its bytes it takes, if it is more than element-wise; else 0."""
        if "norm" in name and alike.flops * ITEM_BYTES.get(alike.dtype, 4) > 2 * alike.moved_bytes:
            return self.model["statistics"]
        return next((self.model.get(own, 1.0) for part, own in OTHERS.items() if part in name), 0.0)

    def _rates(self, name: str, dtype: str) -> Rates:
        rates = kernels.rates_of(self.device, dtype, self.model, self.reached)
        if dtype != "float32" or "efficient_attention" not in name:
            return rates
        if "tf32" not in self.device.ceilings.products:
            return rates
        # As three products of TF32 (see `bench.analysis.roofline`).
        third = kernels.rates_of(self.device, "tf32", self.model, self.reached)
        return replace(rates, peak=third.peak / 3, sustained=third.sustained / 3)

    def _product_times(self, name: str, alike: "Alike", rates: Rates) -> tuple[str, Times]:
        products = Products(*np.array(alike.products, dtype=float).T)
        moved = np.full(len(alike.products), alike.moved_bytes / len(alike.products))
        window = alike.window or (0, 0, 0, 0)
        if (np.minimum(products.rows, products.columns) == 1).all() and "convolution" not in name:
            return "linear", kernels.moved_times(moved, rates)  # by a vector
        if "convolution" not in name or window[2:] == (1, 1):
            is_batched = "bmm" in name or bool((products.batch > 1).any())
            kind = "batched" if is_batched else "shared"
            times = kernels.product_times(products, moved, rates, kind=kind)
            of = "bmm" if kind == "batched" else "linear"
            return (OTHER if "attention" in name else of), times
        if ((products.batch > 1) & (products.columns == 1)).any():  # depthwise, which has no tiles
            return OTHER, kernels.moved_times(self.model["depthwise"] * moved, rates)
        windows = None
        if window[2:] == WINOGRAD_WINDOW:
            height, width = (np.array([float(side)]) for side in window[:2])
            images = products.rows / (height * width)
            channels = products.depth / prod(WINOGRAD_WINDOW)
            windows = Windows(images, height, width, channels, products.columns)
        times = kernels.convolution_times(products, windows, moved, rates)
        return (OTHER if windows is None else "convolution"), times
