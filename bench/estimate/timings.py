"""Timings of single kernels, as files of `products`, `convolutions` and `rows` beside a `devices.json` hold them.

The form is that into which the measurements of NeuSight (Lee, Phanishayee, Mahajan: ASPLOS 2025) were
brought: float32, milliseconds, a row a kernel. Of a product `n` is what is summed over: the tiles that
kernels' names tell fit `m` x `k` outputs alone.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ann.spec import unknown
from bench.analysis import (
    ARCHITECTURES,
    Ceilings,
    Chip,
    Datasheet,
    least_share,
    recognise_device,
)
from bench.estimate.kernels import Numbers, Products, Windows

DEVICES_FILE = "devices.json"
PRODUCTS = ("bmm", "linear")
ROWS = {"softmax": "softmax", "ln": "layer norm"}
# Of two tensors each, or of one and a number where a `u` follows; the others have one.
BINARY = ("add", "mul", "div", "pow")
UNARY = ("relu", "tanh", "gelu", *(f"{name}u" for name in BINARY))
CLASSES = ("bmm", "linear", "convolution", "softmax", "layer norm", "element-wise")
COLUMNS = {
    "products": ("device", "operator", "batch", "m", "n", "k", "latency_ms"),
    "convolutions": (
        *("device", "batch", "in_channels", "out_channels", "kernel_size", "input_size"),
        *("stride", "padding", "latency_ms"),
    ),
    "rows": ("device", "operator", "rows", "columns", "latency_ms"),
}
GIGA, MEBI, GIBI = 10**9, 2**20, 2**30
FIELDS = {"Mem_Bw": GIGA, "Num_Sm": 1, "SingleFLOPs": GIGA, "L2Cache": MEBI}
FLOAT32_BYTES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Kernels:
    """Kernels of one class on one device: shapes, bytes, and the seconds that each took, all of one length.

    `rows` and `columns` are of row operators, `least` the share of a convolution's MACs that the quickest way needs.
    """

    device: Datasheet
    of: str
    measured_s: Numbers
    moved_bytes: Numbers
    products: Products | None = None
    windows: Windows | None = None
    least: Numbers | None = None
    rows: Numbers | None = None
    columns: Numbers | None = None

    def __len__(self) -> int:
        return len(self.measured_s)

    def pick(self, places: Any) -> "Kernels":  # noqa: ANN401  # what numpy takes as an index
        """Give some of them."""

        def picked(value: Any) -> Any:  # noqa: ANN401
            if isinstance(value, np.ndarray):
                return value[places]
            if isinstance(value, (Products, Windows)):
                fields = value.__dataclass_fields__
                return type(value)(**{name: getattr(value, name)[places] for name in fields})
            return value

        return Kernels(**{name: picked(getattr(self, name)) for name in self.__dataclass_fields__})


def read_timings(folder: Path) -> tuple[Kernels, ...]:
    """Read a folder, or one of its files beside its `devices.json`: a group for each device and class, in their order.

    Raises:
        ValueError: it has no such file, or two of a kind, or none has rows; a file has not the columns, or a device
            or an operator is not known.
    """
    files = [folder] if folder.is_file() else sorted(folder.glob("*.csv*"))
    files = [path for path in files if _kind_of(path) in COLUMNS]
    if not folder.exists():
        msg = f"{str(folder)!r} is not there; give a folder of timings or one of its files"
        raise ValueError(msg)
    if not files:
        names = ", ".join(f"{name}.csv" for name in COLUMNS)
        msg = f"{str(folder)!r} has no timings; give a folder with any of {names} (or .csv.gz) and a {DEVICES_FILE}"
        raise ValueError(msg)
    _require_one_of_each_kind(files)
    devices = _read_devices(files[0].parent / DEVICES_FILE)
    groups = [group for path in files for group in _read_file(path, devices)]
    if not groups:
        msg = f"{str(folder)!r} has no rows beneath its columns; write a row for each kernel"
        raise ValueError(msg)
    return tuple(sorted(groups, key=lambda group: (group.device.title, CLASSES.index(group.of))))


def _kind_of(path: Path) -> str:
    return path.name.partition(".")[0]


def _require_one_of_each_kind(files: Sequence[Path]) -> None:
    """Refuse a file beside its compressed copy, whose rows would be counted twice."""
    for first, second in pairwise(files):
        if _kind_of(first) == _kind_of(second):
            msg = f"{first.name} and {second.name} would both be read as {_kind_of(first)}; leave one of them"
            raise ValueError(msg)


def _read_devices(path: Path) -> dict[str, Datasheet]:
    if not path.is_file():
        msg = f"{str(path.parent)!r} has no {DEVICES_FILE}, which says what the devices are; put one beside the timings"
        raise ValueError(msg)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        devices = [_datasheet(entry) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        fields = ", ".join(("Device", *FIELDS))
        msg = f"{str(path)!r} can't be read ({type(error).__name__}: {error}); it is a list of objects with {fields}"
        raise ValueError(msg) from error
    names = [device.reported[0] for device in devices]
    for name in names:
        if names.count(name) > 1:
            msg = f"{str(path)!r} has {name!r} more than once; leave one of them"
            raise ValueError(msg)
    return dict(zip(names, devices, strict=True))


def _datasheet(entry: dict[str, Any]) -> Datasheet:
    """A device as the file states it; what that lacks, its chip above all, from our own table where it is in there."""
    name = entry["Device"]
    if not isinstance(name, str):
        msg = f"Device is {name!r}, which is no text"
        raise TypeError(msg)
    numbers = {field: float(entry[field]) * scale for field, scale in FIELDS.items()}
    if not all(1 <= value < np.inf for value in numbers.values()):
        msg = f"{name}: {', '.join(FIELDS)} have to be positive"
        raise ValueError(msg)
    known = recognise_device(name)
    multiprocessors = int(numbers["Num_Sm"])
    chip = Chip(architecture=ARCHITECTURES["ampere"], multiprocessors=multiprocessors, watts=None)
    ceilings = Ceilings(
        bandwidth=numbers["Mem_Bw"],
        products={"float32": numbers["SingleFLOPs"]},
        l2_bytes=int(numbers["L2Cache"]),
    )
    return Datasheet(
        title=known.title if known else name,
        reported=(name,),
        ceilings=ceilings,
        memory_bytes=int(float(entry.get("Dev_Mem", 0)) * GIBI),
        capability=known.capability if known else (8, 0),
        source=DEVICES_FILE,
        chip=known.chip if known else chip,
    )


def _read_file(path: Path, devices: dict[str, Datasheet]) -> Iterator[Kernels]:
    kind = _kind_of(path)
    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:
        msg = f"{str(path)!r} is no table of comma-separated values: {str(error).splitlines()[0]}"
        raise ValueError(msg) from error
    missing = [name for name in COLUMNS[kind] if name not in table]
    if missing:
        msg = f"{str(path)!r} lacks {', '.join(missing)}; it has to have {', '.join(COLUMNS[kind])}"
        raise ValueError(msg)
    _require_numbers(table, path, kind)
    others = sorted({*table["device"]} - {*devices})
    if others:
        msg = f"{str(path)!r}: {unknown('device', str(others[0]), devices)} by its {DEVICES_FILE}"
        raise ValueError(msg)
    read = {"products": _products, "convolutions": _convolutions, "rows": _rows}
    for name, rows in table.groupby("device", sort=False):
        yield from read[kind](devices[str(name)], rows)


def _require_numbers(table: pd.DataFrame, path: Path, kind: str) -> None:
    for name in COLUMNS[kind]:
        if name in ("device", "operator"):
            continue
        numbers = pd.to_numeric(table[name], errors="coerce")
        least = 0 if name == "padding" else 1e-12
        wrong = table.index[~(np.isfinite(numbers) & (numbers >= least))]
        if len(wrong):
            row = int(wrong[0])
            value = str(table[name][row])
            msg = f"{str(path)!r}, line {row + 2}: {name} is {value!r}; write a positive number"
            raise ValueError(msg)
        table[name] = numbers


def _products(device: Datasheet, rows: pd.DataFrame) -> Iterator[Kernels]:
    _require_operators(rows, PRODUCTS)
    for name in PRODUCTS:
        own = rows[rows["operator"] == name]
        batch, height, depth, width = (_column(own, column) for column in ("batch", "m", "n", "k"))
        if name == "linear":  # a batch of maps and one matrix of weights
            batch, height = np.ones_like(batch), batch * height
        products = Products(batch, height, width, depth)
        elements = batch * (height * depth + depth * width + height * width)
        yield from _group(device, name, own, elements, products=products)


def _convolutions(device: Datasheet, rows: pd.DataFrame) -> Iterator[Kernels]:
    for is_window in (True, False):
        own = rows[(rows["kernel_size"].eq(3) & rows["stride"].eq(1)) == is_window]
        batch, inner, outer, taps, side = (
            _column(own, name)
            for name in ("batch", "in_channels", "out_channels", "kernel_size", "input_size")
        )
        stride, padding = _column(own, "stride"), _column(own, "padding")
        after = np.floor((side + 2 * padding - taps) / stride) + 1
        if (after < 1).any():
            row = own.index[after < 1][0]
            msg = f"convolutions, line {row + 2}: its kernel is larger than its padded map; give a larger input_size"
            raise ValueError(msg)
        products = Products(np.ones_like(batch), batch * after**2, outer, inner * taps**2)
        elements = batch * (inner * side**2 + outer * after**2) + outer * inner * taps**2
        windows = Windows(batch, after, after, inner, outer) if is_window else None
        least = np.where(stride == 1, np.array([least_share(int(side) ** 2) for side in taps]), 1.0)
        shapes = {"products": products, "windows": windows, "least": least}
        yield from _group(device, "convolution", own, elements, **shapes)


def _rows(device: Datasheet, rows: pd.DataFrame) -> Iterator[Kernels]:
    _require_operators(rows, (*ROWS, *BINARY, *UNARY))
    tensors = np.where(rows["operator"].isin(BINARY), 3.0, 2.0)
    classes = rows["operator"].map(ROWS).fillna("element-wise")
    for name in (*ROWS.values(), "element-wise"):
        is_own = (classes == name).to_numpy()
        own = rows[is_own]
        height, width = _column(own, "rows"), _column(own, "columns")
        elements = height * width * tensors[is_own]
        yield from _group(device, name, own, elements, rows=height, columns=width)


def _require_operators(rows: pd.DataFrame, known: Sequence[str]) -> None:
    others = sorted({*map(str, rows["operator"])} - {*known})
    if others:
        msg = unknown("operator", others[0], known)
        raise ValueError(msg)


def _column(rows: pd.DataFrame, name: str) -> Numbers:
    return rows[name].to_numpy(dtype=float)


def _group(
    device: Datasheet,
    of: str,
    own: pd.DataFrame,
    elements: Numbers,
    **shapes: Any,  # noqa: ANN401
) -> Iterator[Kernels]:
    if len(own):
        yield Kernels(
            device=device,
            of=of,
            measured_s=_column(own, "latency_ms") * 1e-3,
            moved_bytes=elements * FLOAT32_BYTES,
            **shapes,
        )
