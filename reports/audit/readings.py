"""Readings of the records, in the unit of the published number that each is held against."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from reports.model import (
    CLOCK_ORDER,
    GIGA,
    MEBI,
    MEGA,
    MILLI,
    Frame,
    Row,
    group_times,
    rows_of,
    time_interval,
    timing_of,
)

ReadingProtocol = Literal["strict", "paper"]
Need = Literal["none", "gpu", "titan xp", "unnamed"]
AUDITED = ("table1", "table2", "fig2", "efficiency", "claims")
FORMS = {"nb": ("nb", "nb-concat"), "apnb": ("apnb", "apnb-concat")}


@dataclass(frozen=True, slots=True)
class OurReading:
    """One number of ours in the unit of the claim: what it is, of what, by which protocol, on which device."""

    value: float
    label: str
    form: str = ""
    protocol: ReadingProtocol = "strict"
    device: str = ""

    def __str__(self) -> str:
        place = f" on {self.place}" if self.device else ""
        return f"{self.form}: {self.label}{place}" if self.form else f"{self.label}{place}"

    @property
    def place(self) -> str:
        """Name of the device."""
        return self.device.partition(": ")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A published number and what can be held against it.

    Attributes:
        where: table or section.
        what: the subject, in words.
        unit: the unit as printed.
        printed: the number as printed.
        digits: digits after the point that are printed.
        readings: ours.
        device: what the number needs: nothing (it can be counted), any GPU, a Titan Xp, or a GPU that the
            paper does not name.
        remarks: by verdict, a sentence on why.
    """

    where: str
    what: str
    unit: str
    printed: float
    digits: int
    readings: tuple[OurReading, ...]
    device: Need = "none"
    remarks: Mapping[str, str] = field(default_factory=dict)


class AuditRows:
    """Rows of the frame that say something of the published numbers, by block and size or by network."""

    def __init__(self, frame: Frame) -> None:
        rows = rows_of(frame[frame["experiment"].isin(AUDITED)])
        self.ours = [row for row in rows if row["protocol"] != "published"]
        self.printed = [row for row in rows if row["document"] is not None]

    def blocks(self, base: str, size: str, *, experiment: str = "table1") -> list[Row]:
        """Rows of the forms of NB or APNB as the paper measures them: C = 2048, batch 1, float32, no gradients."""
        return [
            row
            for row in self.ours
            if row["experiment"] in (experiment, "efficiency")
            and not {"channels", "key_channels"} & row["axes"].keys()
            and (row["batch"], row["dtype"], row["mode"]) == (1, "float32", "eval")
            and row["axes"].get("block") in FORMS[base]
            and row["axes"].get("size") == size
        ]

    def networks(self, name: str) -> list[Row]:
        """Rows of a network of Table 2."""
        rows = (row for row in self.ours if row["experiment"] == "table2")
        return [row for row in rows if row["axes"].get("network") == name]

    def documents(self, experiment: str, *axes: str) -> dict[tuple[Any, ...], Row]:
        """Published rows of an experiment by those of their axes."""
        rows = [row for row in self.printed if row["experiment"] == experiment]
        return {tuple(row["axes"].get(axis) for axis in axes): row for row in reversed(rows)}


def operations(rows: Iterable[Row]) -> Iterator[OurReading]:
    """Counts in giga, as executed and by the paper's rules."""
    for row in rows:
        form, by_rules = row["axes"]["block"], row["paper_operations"]
        if row["macs"] is not None:
            yield OurReading(row["macs"] / GIGA, "MACs as executed", form)
            yield OurReading(row["flops"] / GIGA, "FLOPs as executed", form)
        if by_rules is not None:
            yield OurReading(by_rules / GIGA, "count by the paper's rules", form, "paper")


def block_memory(rows: Iterable[Row]) -> Iterator[OurReading]:
    """Memory of one call in MiB, as it is and by the paper's procedure."""
    for row in rows:
        form = row["axes"]["block"]
        for name, how in (("predicted_increment_bytes", "predicted"), ("memory_bytes", "measured")):
            if row[name] is not None and row["protocol"] == "strict":
                yield OurReading(row[name] / MEBI, f"{how} increment", form)
        for how in ("predicted", "measured"):
            size = row[f"{how}_paper_bytes"]
            if size is not None:
                yield OurReading(size / MEBI, f"{how} by the paper's procedure", form, "paper")


def block_times(rows: Iterable[Row]) -> Iterator[OurReading]:
    """Median times in milliseconds, with their device."""
    for row in rows:
        clocks = CLOCK_ORDER if row["protocol"] == "strict" else ("wall", *CLOCK_ORDER)
        time = time_interval(timing_of(row, clocks=clocks))
        if time is not None:
            yield _reading_on_device(
                row, time.median / MILLI, "time", form=row["axes"].get("block", "")
            )


def _reading_on_device(row: Row, value: float, label: str, *, form: str = "") -> OurReading:
    device = f"{row['device']}: {row['device_name']}"
    return OurReading(value, label, form, row["protocol"], device)


def quotients(above: Iterable[OurReading], below: Iterable[OurReading]) -> Iterator[OurReading]:
    """Ratios of readings of the same kind and device.

    Form is divided by like form; where NB was not read in the form of an APNB, its plain form stands in (in NB the
    concatenation does not raise the peak).
    """
    over = {(each.label, each.protocol, each.form, each.device): each for each in above}
    for reading in below:
        alike = reading.form.replace("apnb", "nb")
        forms = (alike, alike.replace("-concat", ""))
        keys = [(reading.label, reading.protocol, form, reading.device) for form in forms]
        other = next((over[key] for key in keys if key in over), None)
        if other is not None and reading.value:
            form = f"{other.form} over {reading.form}"
            yield replace(reading, value=other.value / reading.value, form=form)


def products(rows: Iterable[Row]) -> float | None:
    """MACs of the matrix products of one call, without the convolutions; None where no ledger is kept."""
    for row in rows:
        macs = sum(entry.macs for entry in row["ledger"] or () if "conv" not in entry.name)
        if macs:
            return float(macs)
    return None


def stored(rows: Iterable[Row]) -> Iterator[OurReading]:
    """Parameters in millions: those that train, and all that a checkpoint holds."""
    for row in rows:
        if row["parameters"] is not None:
            total = row["parameters"] + row["buffers"]
            yield OurReading(row["parameters"] / MEGA, "parameters")
            yield OurReading(total / MEGA, "parameters and buffers", protocol="paper")


def network_memory(rows: Iterable[Row]) -> Iterator[OurReading]:
    """Memory of a whole network in MiB."""
    kinds: tuple[tuple[str, str, ReadingProtocol], ...] = (
        ("predicted_peak_bytes", "all that is alive at the peak, predicted", "strict"),
        ("predicted_increment_bytes", "what a call adds, predicted", "strict"),
        ("reserved_bytes", "what the allocator reserves, measured", "strict"),
        ("predicted_paper_bytes", "the paper's procedure, predicted", "paper"),
        ("measured_paper_bytes", "the paper's procedure, measured", "paper"),
    )
    for row in rows:
        for column, label, protocol in kinds:
            if row[column] is not None:
                yield OurReading(row[column] / MEBI, label, protocol=protocol)


def network_times(rows: Iterable[Row]) -> Iterator[OurReading]:
    """Median times in seconds, with their device."""
    for row in rows:
        time = time_interval(timing_of(row))
        if time is not None:
            yield _reading_on_device(row, time.median, "time")


def operation_sums(rows: Iterable[Row]) -> Iterator[OurReading]:
    """Sum of the operations' times of Fig. 2, in milliseconds."""
    for row in rows:
        if row["operations"]:
            total = sum(group_times(row["operations"]).values())
            yield _reading_on_device(
                row, total / MILLI, "sum of operations", form=row["axes"]["block"]
            )
