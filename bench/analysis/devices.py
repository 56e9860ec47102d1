"""Known devices and what their makers say they reach; facts alone, no torch.

Peaks are dense ones: datasheets since Ampere print the double, for matrices of which half is zero.
float32 is the rate without tensor cores, in IEEE arithmetic; a format for which a device has no
units of its own is not in its table.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

TERA, GIGA = 10**12, 10**9
GIBI = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceilings:
    """What a machine can do at most a second: bytes read and written, FLOPs of products by their operands' format."""

    bandwidth: float
    products: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Datasheet:
    """A device as people call it and as torch reports it, its memory and compute capability, and where that stands."""

    title: str
    reported: tuple[str, ...]
    ceilings: Ceilings
    memory_bytes: int
    capability: tuple[int, int]
    source: str


def _ceilings(gigabytes: float, **teraflops: float) -> Ceilings:
    products = {name: peak * TERA for name, peak in teraflops.items()}
    return Ceilings(bandwidth=gigabytes * GIGA, products=products)


_AMPERE = {"float32": 19.5, "tf32": 156.0, "float16": 312.0, "bfloat16": 312.0, "float64": 19.5}
# Half of 989, 1979 and 1979, which are for sparse matrices.
_HOPPER = {"float32": 67.0, "tf32": 494.5, "float16": 989.5, "bfloat16": 989.5, "float64": 67.0}

DEVICES: dict[str, Datasheet] = {
    "titan-xp": Datasheet(
        title="Titan Xp",
        reported=("Titan Xp", "NVIDIA TITAN Xp"),
        # 3840 cores, 2 FLOPs each, at the boost clock of 1582 MHz; half precision is 1/64 of that.
        ceilings=_ceilings(547.7, float32=12.15),
        memory_bytes=12 * GIBI,
        capability=(6, 1),
        source="NVIDIA, TITAN Xp specifications, 2017",
    ),
    "v100": Datasheet(
        title="V100 SXM2",
        reported=("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"),
        ceilings=_ceilings(900.0, float32=15.7, float16=125.0, float64=7.8),
        memory_bytes=16 * GIBI,
        capability=(7, 0),
        source="NVIDIA, Tesla V100 datasheet, 2018; also with 32 GB",
    ),
    "a100-40gb": Datasheet(
        title="A100 SXM 40 GB",
        reported=("NVIDIA A100-SXM4-40GB", "A100-SXM4-40GB"),
        ceilings=_ceilings(1555.0, **_AMPERE),
        memory_bytes=40 * GIBI,
        capability=(8, 0),
        source="NVIDIA, A100 Tensor Core GPU datasheet, 2020",
    ),
    "a100-80gb": Datasheet(
        title="A100 SXM 80 GB",
        reported=("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"),
        ceilings=_ceilings(2039.0, **_AMPERE),
        memory_bytes=80 * GIBI,
        capability=(8, 0),
        source="NVIDIA, A100 Tensor Core GPU datasheet, 2021",
    ),
    "h100": Datasheet(
        title="H100 SXM",
        reported=("NVIDIA H100 80GB HBM3",),
        ceilings=_ceilings(3350.0, **_HOPPER),
        memory_bytes=80 * GIBI,
        capability=(9, 0),
        source="NVIDIA, H100 Tensor Core GPU datasheet, 2023",
    ),
    "h200": Datasheet(
        title="H200 SXM",
        reported=("NVIDIA H200",),
        ceilings=_ceilings(4800.0, **_HOPPER),
        memory_bytes=141 * GIGA,
        capability=(9, 0),
        source="NVIDIA, H200 Tensor Core GPU datasheet, 2024",
    ),
}


def find_device(name: str) -> Datasheet:
    """Give a device by its key in `DEVICES`, in whatever case.

    Raises:
        ValueError: there is none; the message has the nearest and all.
    """
    key = name.lower()
    if key in DEVICES:
        return DEVICES[key]
    longer = [known for known in DEVICES if key and known.startswith(key)]
    near = longer or difflib.get_close_matches(key, DEVICES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    msg = f"unknown device {name!r}; {hint}known are {', '.join(DEVICES)}"
    raise ValueError(msg)


def recognise_device(reported: str | None) -> Datasheet | None:
    """Give the device that torch, or a document, calls so; None if its datasheet is not here."""
    return next((sheet for sheet in DEVICES.values() if reported in sheet.reported), None)
