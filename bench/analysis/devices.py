"""Known devices and what their makers say of them; facts alone, no torch.

Peaks are dense ones: datasheets since Ampere print the double, for matrices of which half is zero.
float32 is the rate without tensor cores, in IEEE arithmetic; a format for which a device has no
units of its own is not in its table.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

TERA, GIGA = 10**12, 10**9
GIBI, MEBI, KIBI = 2**30, 2**20, 2**10


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceilings:
    """What a machine can do at most a second: bytes read and written, FLOPs of products by their operands' format.

    `l2_bytes` is what its second cache may hold between two operators, which then never is in memory; 0 where that
    is not known.
    """

    bandwidth: float
    products: Mapping[str, float]
    l2_bytes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """What the chips of one generation have in common, as NVIDIA's white papers of it state.

    `threads` and `l1_bytes` are what one multiprocessor holds at most. `work_per_joule` is that of the process, over
    16 nm: TSMC says 60 % less power at 7 nm than at 16 nm, and 30 % less again at 5 nm.
    """

    threads: int
    l1_bytes: int
    work_per_joule: float = 1.0
    is_wide: bool = False  # 128 float32 units a multiprocessor with registers for 64, from Ampere's second chips on
    narrow_tiles: bool = (
        False  # cuBLAS has products of batches in narrow tiles that are no slower (volta_sgemm)
    )
    is_before_volta: bool = (
        False  # copies keep up less, and products with operands of long rows are slow
    )


ARCHITECTURES = {
    "pascal-p100": Architecture(threads=2048, l1_bytes=24 * KIBI, is_before_volta=True),
    "pascal": Architecture(threads=2048, l1_bytes=48 * KIBI, is_before_volta=True),
    "volta": Architecture(threads=2048, l1_bytes=128 * KIBI, narrow_tiles=True),
    "turing": Architecture(threads=1024, l1_bytes=96 * KIBI, narrow_tiles=True),
    "ampere": Architecture(threads=2048, l1_bytes=192 * KIBI, work_per_joule=2.5),
    "ada": Architecture(threads=1536, l1_bytes=128 * KIBI, work_per_joule=2.5 / 0.7, is_wide=True),
    "hopper": Architecture(
        threads=2048, l1_bytes=256 * KIBI, work_per_joule=2.5 / 0.7, is_wide=True
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Chip:
    """What an estimate needs of a device beside its ceilings; the board's power in watts, None if it is not known.

    `is_stacked` is the memory: HBM, or else GDDR.
    """

    architecture: Architecture
    multiprocessors: int
    watts: float | None
    is_stacked: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Datasheet:
    """A device as people call it and as torch reports it, its memory and compute capability, and where that stands."""

    title: str
    reported: tuple[str, ...]
    ceilings: Ceilings
    memory_bytes: int
    capability: tuple[int, int]
    source: str
    chip: Chip | None = None


def _ceilings(gigabytes: float, l2_mebibytes: float = 0, **teraflops: float) -> Ceilings:
    products = {name: peak * TERA for name, peak in teraflops.items()}
    return Ceilings(
        bandwidth=gigabytes * GIGA, products=products, l2_bytes=round(l2_mebibytes * MEBI)
    )


def _chip(architecture: str, multiprocessors: int, watts: float, **memory: bool) -> Chip:
    return Chip(
        architecture=ARCHITECTURES[architecture],
        multiprocessors=multiprocessors,
        watts=watts,
        **memory,
    )


_AMPERE = {"float32": 19.5, "tf32": 156.0, "float16": 312.0, "bfloat16": 312.0, "float64": 19.5}
# Half of 989, 1979 and 1979, which are for sparse matrices.
_HOPPER = {"float32": 67.0, "tf32": 494.5, "float16": 989.5, "bfloat16": 989.5, "float64": 67.0}

DEVICES: dict[str, Datasheet] = {
    "titan-xp": Datasheet(
        title="Titan Xp",
        reported=("Titan Xp", "NVIDIA TITAN Xp"),
        # 3840 cores, 2 FLOPs each, at the boost clock of 1582 MHz; half precision is 1/64 of that.
        ceilings=_ceilings(547.7, 3, float32=12.15),
        memory_bytes=12 * GIBI,
        capability=(6, 1),
        source="NVIDIA, TITAN Xp specifications, 2017",
        chip=_chip("pascal", 30, 250, is_stacked=False),
    ),
    "v100": Datasheet(
        title="V100 SXM2",
        reported=("Tesla V100-SXM2-16GB", "Tesla V100-SXM2-32GB"),
        ceilings=_ceilings(900.0, 6, float32=15.7, float16=125.0, float64=7.8),
        memory_bytes=16 * GIBI,
        capability=(7, 0),
        source="NVIDIA, Tesla V100 datasheet, 2018; also with 32 GB",
        chip=_chip("volta", 80, 300),
    ),
    "a100-40gb": Datasheet(
        title="A100 SXM 40 GB",
        reported=("NVIDIA A100-SXM4-40GB", "A100-SXM4-40GB"),
        ceilings=_ceilings(1555.0, 40, **_AMPERE),
        memory_bytes=40 * GIBI,
        capability=(8, 0),
        source="NVIDIA, A100 Tensor Core GPU datasheet, 2020",
        chip=_chip("ampere", 108, 400),
    ),
    "a100-80gb": Datasheet(
        title="A100 SXM 80 GB",
        reported=("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"),
        ceilings=_ceilings(2039.0, 40, **_AMPERE),
        memory_bytes=80 * GIBI,
        capability=(8, 0),
        source="NVIDIA, A100 Tensor Core GPU datasheet, 2021",
        chip=_chip("ampere", 108, 400),
    ),
    "h100": Datasheet(
        title="H100 SXM",
        reported=("NVIDIA H100 80GB HBM3",),
        ceilings=_ceilings(3350.0, 50, **_HOPPER),
        memory_bytes=80 * GIBI,
        capability=(9, 0),
        source="NVIDIA, H100 Tensor Core GPU datasheet, 2023",
        chip=_chip("hopper", 132, 700),
    ),
    "h200": Datasheet(
        title="H200 SXM",
        reported=("NVIDIA H200",),
        # The second cache as torch reports it.
        ceilings=_ceilings(4800.0, 60, **_HOPPER),
        memory_bytes=141 * GIGA,
        capability=(9, 0),
        source="NVIDIA, H200 Tensor Core GPU datasheet, 2024",
        chip=_chip("hopper", 132, 700),
    ),
    "p4": Datasheet(
        title="P4",
        reported=("Tesla P4",),
        ceilings=_ceilings(192.0, 2, float32=5.7),
        memory_bytes=8 * GIBI,
        capability=(6, 1),
        source="NVIDIA, Tesla P4 datasheet, 2016; the board of 75 W",
        chip=_chip("pascal", 20, 75, is_stacked=False),
    ),
    "p100-pcie": Datasheet(
        title="P100 PCIe",
        reported=("Tesla P100-PCIE-16GB",),
        ceilings=_ceilings(732.0, 4, float32=9.52, float16=19.05, float64=4.76),
        memory_bytes=16 * GIBI,
        capability=(6, 0),
        # 3584 cores, 2 FLOPs each, at 1328 MHz, printed as 9.3; reported as 1380 MHz with the rows of timings.
        source="NVIDIA, Tesla P100 datasheet, 2016; the clock as NeuSight states it",
        chip=_chip("pascal-p100", 56, 250),
    ),
    "v100-pcie": Datasheet(
        title="V100 PCIe",
        reported=("Tesla V100-PCIE-32GB", "Tesla V100-PCIE-16GB"),
        ceilings=_ceilings(900.0, 6, float32=14.03, float16=112.0, float64=7.0),
        memory_bytes=32 * GIBI,
        capability=(7, 0),
        source="NVIDIA, Tesla V100 datasheet, 2018; also with 16 GB",
        chip=_chip("volta", 80, 250),
    ),
    "t4": Datasheet(
        title="T4",
        reported=("Tesla T4",),
        ceilings=_ceilings(320.0, 4, float32=8.14, float16=65.0),
        memory_bytes=15 * GIBI,
        capability=(7, 5),
        source="NVIDIA, T4 datasheet, 2019",
        chip=_chip("turing", 40, 70, is_stacked=False),
    ),
    "a100-pcie-40gb": Datasheet(
        title="A100 PCIe 40 GB",
        reported=("NVIDIA A100-PCIE-40GB", "A100-PCIE-40GB"),
        ceilings=_ceilings(1555.0, 40, **_AMPERE),
        memory_bytes=40 * GIBI,
        capability=(8, 0),
        source="NVIDIA, A100 PCIe product brief, 2020",
        chip=_chip("ampere", 108, 250),
    ),
    "a100-pcie-80gb": Datasheet(
        title="A100 PCIe 80 GB",
        reported=("NVIDIA A100 80GB PCIe",),
        ceilings=_ceilings(1935.0, 40, **_AMPERE),
        memory_bytes=80 * GIBI,
        capability=(8, 0),
        source="NVIDIA, A100 80GB PCIe product brief, 2021",
        chip=_chip("ampere", 108, 300),
    ),
    "l4": Datasheet(
        title="L4",
        reported=("NVIDIA L4",),
        ceilings=_ceilings(300.0, 48, float32=30.3, tf32=60.0, float16=121.0, bfloat16=121.0),
        memory_bytes=24 * GIBI,
        capability=(8, 9),
        source="NVIDIA, L4 Tensor Core GPU datasheet, 2023",
        chip=_chip("ada", 58, 72, is_stacked=False),
    ),
    "h100-pcie": Datasheet(
        title="H100 PCIe",
        reported=("NVIDIA H100 PCIe",),
        ceilings=_ceilings(
            2039.0, 50, float32=51.2, tf32=378.0, float16=756.5, bfloat16=756.5, float64=51.2
        ),
        memory_bytes=80 * GIBI,
        capability=(9, 0),
        source="NVIDIA, H100 PCIe product brief, 2022",
        chip=_chip("hopper", 114, 350),
    ),
}
# What papers on these blocks were measured on, and what followed; the columns where no device is named.
USUAL_DEVICES = ("titan-xp", "v100", "a100-40gb", "a100-80gb", "h100", "h200")


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
    msg = f"unknown device {name!r}; {hint}allowed are {', '.join(DEVICES)}"
    raise ValueError(msg)


def recognise_device(reported: str | None) -> Datasheet | None:
    """Give the device that torch, or a document, calls so; None if its datasheet is not here."""
    return next((sheet for sheet in DEVICES.values() if reported in sheet.reported), None)
