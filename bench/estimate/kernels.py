"""How long the kernels of a GPU take: a small analytical model with the coefficients of `coefficients.csv`.

Products go by tiles and waves: each multiprocessor works through whole tiles, and the last wave is as
long as the others. Convolutions are the products that they are, or those of Winograd's way where it
applies. Row operators and all others go by their bytes. A kernel that is too short to fill the device
takes up to twice as long. Shapes are arrays of equal length, so that thousands of kernels are one call.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.analysis import Ceilings, Chip, Datasheet

Numbers = NDArray[np.float64]
COEFFICIENTS = Path(__file__).with_name("coefficients.csv")

FLOAT32_BYTES = 4
FULL_TILE = 128 * 128
# Of cuBLAS and cuDNN, rows x columns, as their kernels' names have them.
TILES = ((128, 128), (128, 64), (64, 64), (128, 32), (32, 32))
SPLITS = (
    1,
    2,
    4,
    8,
    16,
    32,
)  # of the depth among multiprocessors, none of fewer than SHORTEST_SPLIT steps
SHORTEST_SPLIT = 64
# F(4x4, 3x3): tiles of 4x4 outputs, each by 36 products (Lavin and Gray, 2016).
WINOGRAD_SIDE, WINOGRAD_PRODUCTS = 4, 36
# PyTorch's softmax keeps rows up to this length in registers; longer ones it reads with 16 bytes a thread.
SHORT_ROW = 1024
THREAD_BYTES, BLOCK_THREADS = 16, 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Coefficient:
    """One number of the model: what it is of, its unit, where it may lie, what it means, where it is from."""

    name: str
    of: str
    value: float
    unit: str
    low: float
    high: float
    meaning: str
    source: str


@cache
def coefficients() -> Mapping[str, Coefficient]:
    """The table of coefficients, by name."""
    with COEFFICIENTS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("value", "low", "high")
    return {
        row["name"]: Coefficient(**{**row, **{name: float(row[name]) for name in numbers}})  # type: ignore[arg-type]
        for row in rows
    }


def kernel_model() -> dict[str, float]:
    """The fitted coefficients by name."""
    return {name: item.value for name, item in coefficients().items()}


def interval_of(name: str, model: Mapping[str, float]) -> tuple[float, float]:
    """What an estimate of a class is multiplied by for the ends of its interval; without rows half and double."""
    of = name if f"low {name}" in model else "other"
    return model[f"low {of}"], model[f"high {of}"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """What a device keeps up in a number format: FLOPs at its peak and in long products, bytes, each a second.

    `start_depth` is how many steps of a product go by until the first operands are there.
    """

    dtype: str
    model: Mapping[str, float]
    chip: Chip
    l2_bytes: int
    peak: float
    sustained: float
    bandwidth: float
    copied: float
    start_depth: float


def rates_of(
    device: Datasheet, dtype: str, model: Mapping[str, float], reached: Ceilings | None = None
) -> Rates:
    """Rates by the datasheet and the board's power; those that the device `reached` itself where they are known.

    Raises:
        ValueError: nothing is known of the device's chip, or it has no products in that number format.
    """
    if device.chip is None:
        msg = f"{device.title}: nothing is known of its chip, so that times can't be estimated; see DEVICES"
        raise ValueError(msg)
    stated = device.ceilings
    if dtype not in stated.products:
        msg = f"no ceiling for products in {dtype}; there are {', '.join(stated.products)}"
        raise ValueError(msg)
    peak = stated.products[dtype]
    copied = reached.bandwidth if reached else stated.bandwidth * _copy_share(device.chip, model)
    sustained = peak * _product_share(device, dtype, model)
    if reached and dtype in reached.products:
        sustained = reached.products[dtype]
    return Rates(
        dtype=dtype,
        model=model,
        chip=device.chip,
        l2_bytes=stated.l2_bytes,
        peak=peak,
        sustained=sustained,
        bandwidth=stated.bandwidth,
        copied=copied,
        start_depth=model["start_depth"] * peak / stated.products["float32"],
    )


def _copy_share(chip: Chip, model: Mapping[str, float]) -> float:
    is_modern = chip.is_stacked and not chip.architecture.is_before_volta
    return model["copy_stacked" if is_modern else "copy_other"]


def _product_share(device: Datasheet, dtype: str, model: Mapping[str, float]) -> float:
    chip = device.chip
    if chip is None or dtype not in ("float32", "float64"):
        return model["tensor_share"]
    share = model["product_share_wide" if chip.architecture.is_wide else "product_share"]
    if chip.watts is None or dtype == "float64":
        return share
    limit = chip.watts * chip.architecture.work_per_joule * model["work_per_joule"]
    return min(share, limit / device.ceilings.products[dtype])


@dataclass(frozen=True, slots=True)
class Products:
    """Products of matrices, each of them `batch` times (rows x depth) by (depth x columns)."""

    batch: Numbers
    rows: Numbers
    columns: Numbers
    depth: Numbers

    @property
    def flops(self) -> Numbers:
        """Two for each multiplication with its addition."""
        return 2 * self.batch * self.rows * self.columns * self.depth


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds of kernels, and what they would take by their operations alone, their tiles and waves, their bytes."""

    time_s: Numbers
    operations_s: Numbers
    waves_s: Numbers
    memory_s: Numbers


def product_times(products: Products, moved_bytes: Numbers, rates: Rates, *, kind: str) -> Times:
    """Times of products; `kind` is `batched` for those of two maps, `shared` for those of maps with weights."""
    is_narrow = kind == "batched" and rates.chip.architecture.narrow_tiles
    narrow = rates.model["narrow_batched_volta" if is_narrow else f"narrow_{kind}"]
    times = _tiled(products, moved_bytes, rates, rate=rates.sustained, narrow=narrow)
    added = np.zeros_like(products.depth)
    if kind == "shared" and rates.chip.architecture.is_before_volta:
        long = 1 - np.exp(-((products.depth / rates.model["long_depth"]) ** 2))
        many = products.rows / (products.rows + rates.model["many_rows"])
        added = products.flops * rates.model["long_s_per_flop"] * long * many
    time_s = _launched(times.time_s, "ramp_s", rates) + added
    return Times(time_s, times.operations_s, times.waves_s + added, times.memory_s)


def _tiled(
    products: Products,
    moved_bytes: Numbers,
    rates: Rates,
    *,
    rate: float,
    narrow: float,
    splits: tuple[int, ...] = SPLITS,
) -> Times:
    """The quickest of all tiles and splits, without launches: whole waves, and bytes beside them."""
    count, power = rates.chip.multiprocessors, rates.model["overlap"]
    best = np.full_like(products.depth, np.inf)
    waves_s, memory_s = best.copy(), best.copy()
    result_bytes = products.batch * products.rows * products.columns * FLOAT32_BYTES
    for (height, width), split in product(_oriented(), splits):
        share = (height * width / FULL_TILE) ** narrow
        tiles = products.batch * np.ceil(products.rows / height) * np.ceil(products.columns / width)
        waves = np.maximum(np.ceil(tiles * split / count), 1)
        depth = products.depth / split + rates.start_depth
        compute = waves * 2 * height * width * depth / (share * rate / count)
        partial_bytes = 2 * split * result_bytes if split > 1 else 0.0
        memory = (moved_bytes + partial_bytes) / (
            rates.bandwidth * rates.model["product_bandwidth"]
        )
        total = (compute**power + memory**power) ** (1 / power)
        if split > 1:
            total = np.where(products.depth / split < SHORTEST_SPLIT, np.inf, total)
        is_better = total < best
        best = np.where(is_better, total, best)
        waves_s = np.where(is_better, compute, waves_s)
        memory_s = np.where(is_better, memory, memory_s)
    return Times(best, products.flops / rate, waves_s, memory_s)


def _oriented() -> Iterator[tuple[int, int]]:
    for height, width in TILES:
        yield height, width
        if height != width:
            yield width, height


@dataclass(frozen=True, slots=True)
class Windows:
    """3x3 convolutions of step 1 without gaps or groups, which Winograd's way is for; sides are of the output."""

    images: Numbers
    height: Numbers
    width: Numbers
    in_channels: Numbers
    out_channels: Numbers


def convolution_times(
    products: Products,
    windows: Windows | None,
    moved_bytes: Numbers,
    rates: Rates,
) -> Times:
    """Times of convolutions as one product each, or by Winograd's way; where both can be, near the quicker.

    Tensor cores take the first of the two. Its kernels want the channels last: maps are brought there and back.
    """
    is_plain = rates.dtype == "float32"
    direct = _tiled(
        products,
        moved_bytes,
        rates,
        rate=min(
            rates.peak * rates.model["direct" if is_plain else "tensor_direct"], rates.sustained
        ),
        narrow=rates.model["narrow_convolution"],
        splits=(1,),
    )
    time_s = _launched(direct.time_s, "ramp_s", rates)
    memory_s = direct.memory_s
    if not is_plain:
        around = moved_times(2 * moved_bytes, rates)
        time_s, memory_s = time_s + around.time_s, memory_s + around.memory_s
    direct = Times(time_s, direct.operations_s, direct.waves_s, memory_s)
    if windows is None or not is_plain:
        return direct
    other = _winograd_times(windows, rates)
    power = -1 / rates.model["choice"]
    both = (direct.time_s**power + other.time_s**power) ** (1 / power)
    is_direct = direct.time_s < other.time_s
    parts = (
        np.where(is_direct, getattr(direct, name), getattr(other, name))
        for name in ("operations_s", "waves_s", "memory_s")
    )
    return Times(both, *parts)


def _winograd_times(windows: Windows, rates: Rates) -> Times:
    """Three kernels: maps and weights into tiles, 36 products, tiles into the output."""
    down, across = (np.ceil(side / WINOGRAD_SIDE) for side in (windows.height, windows.width))
    tiles = windows.images * down * across
    inner, outer = windows.in_channels, windows.out_channels
    products = Products(np.full_like(tiles, WINOGRAD_PRODUCTS), tiles, outer, inner)
    whole = _tiled(
        products,
        np.zeros_like(tiles),
        rates,
        rate=min(rates.peak * rates.model["winograd"], rates.sustained),
        narrow=rates.model["narrow_convolution"],
        splits=(1,),
    )
    transformed = 2 * WINOGRAD_PRODUCTS * (inner * outer + tiles * inner + tiles * outer)
    maps = windows.images * windows.height * windows.width * (inner + outer)
    transform_s = (
        (transformed + maps) * FLOAT32_BYTES / (rates.bandwidth * rates.model["transform"])
    )
    time_s = _launched(whole.time_s, "transform_ramp_s", rates, share=1 / 3) + _launched(
        transform_s, "transform_ramp_s", rates, kernels=2
    )
    return Times(time_s, whole.operations_s, whole.waves_s, transform_s)


def softmax_times(
    rows: Numbers,
    columns: Numbers,
    rates: Rates,
    *,
    item_bytes: int = 4,
) -> Times:
    """Times of a softmax over rows: read and written once if short, up to four times if no cache holds them."""
    architecture, chip = rates.chip.architecture, rates.chip
    resident = (
        architecture.threads
        * THREAD_BYTES
        * np.maximum(1, columns * item_bytes / (BLOCK_THREADS * THREAD_BYTES))
    )
    in_l1, in_l2 = (
        resident / architecture.l1_bytes,
        resident * chip.multiprocessors / rates.l2_bytes,
    )
    fill = np.sqrt(in_l1 * in_l2)
    missed = 1 / (1 + (rates.model["softmax_fill"] / fill) ** rates.model["softmax_sharpness"])
    passes = np.where(
        columns > SHORT_ROW,
        (2 + 2 * missed) / rates.model["softmax_long"],
        2 / rates.model["softmax_short"],
    )
    return moved_times(rows * columns * item_bytes * passes, rates)


def norm_times(
    rows: Numbers,
    columns: Numbers,
    rates: Rates,
    *,
    item_bytes: int = 4,
) -> Times:
    """Times of a layer norm over rows, which long rows read once more."""
    missed = 1 / (1 + (rates.model["norm_length"] / columns) ** rates.model["norm_sharpness"])
    passes = (2 + missed) / rates.model["norm"]
    return moved_times(rows * columns * item_bytes * passes, rates)


def moved_times(moved_bytes: Numbers, rates: Rates) -> Times:
    """Times of what is limited by the bytes that it reads and writes."""
    memory_s = moved_bytes / rates.copied
    nothing = np.zeros_like(memory_s)
    return Times(_launched(memory_s, "ramp_s", rates), nothing, nothing, memory_s)


def _launched(
    time_s: Numbers, ramp: str, rates: Rates, *, kernels: int = 1, share: float = 1
) -> Numbers:
    """Add what it takes to start, and to fill the device: nothing of long kernels, as much again of short ones."""
    ramp_s = rates.model[ramp] * share
    return kernels * rates.model["launch_s"] + time_s * (1 + ramp_s / (time_s + ramp_s))
