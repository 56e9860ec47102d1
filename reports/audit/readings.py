"""Readings of the records, in the unit of the published number that each is set against."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from reports import model
from reports.model import GIGA, MEBI, MEGA, MILLI, Frame, Row

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
    """A published number and our readings of it."""

    where: str  # table or section
    what: str  # the subject, in words
    unit: str  # as printed
    printed: float
    digits: int  # after the point that are printed
    readings: tuple[OurReading, ...]
    # What the number needs: nothing (it can be counted), any GPU, a Titan Xp, or a GPU that the paper does not name.
    device: Need = "none"
    remarks: Mapping[str, str] = field(default_factory=dict)  # on why, by verdict


class AuditRows:
    """Rows of the frame that say something of the published numbers, by block and size or by network."""

    def __init__(self, frame: Frame) -> None:
        rows = model.rows_of(frame[frame["experiment"].isin(AUDITED)])
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


class ReadColumn(NamedTuple):
    """A column of the frame as a reading: its unit, what it is, and by which protocol; some of strict rows alone."""

    column: str
    unit: float
    label: str
    protocol: ReadingProtocol = "strict"
    strict_rows: bool = False


# Counts in giga; a count by the paper's rules is not what is executed.
OPERATIONS = (
    ReadColumn("macs", GIGA, "MACs as executed"),
    ReadColumn("flops", GIGA, "FLOPs as executed"),
    ReadColumn("paper_operations", GIGA, "count by the paper's rules", "paper"),
)
# Which lack what is not counted.
COUNTS = ("macs", "flops")
# Memory of one call in MiB, as it is and by the paper's procedure.
BLOCK_MEMORY = (
    ReadColumn("predicted_increment_bytes", MEBI, "predicted increment", strict_rows=True),
    ReadColumn("memory_bytes", MEBI, "measured increment", strict_rows=True),
    ReadColumn("predicted_paper_bytes", MEBI, "predicted by the paper's procedure", "paper"),
    ReadColumn("measured_paper_bytes", MEBI, "measured by the paper's procedure", "paper"),
)
NETWORK_MEMORY = (
    ReadColumn("predicted_peak_bytes", MEBI, "all that is alive at the peak, predicted"),
    ReadColumn("predicted_increment_bytes", MEBI, "what a call adds, predicted"),
    ReadColumn("reserved_bytes", MEBI, "what the allocator reserves, measured"),
    ReadColumn("predicted_paper_bytes", MEBI, "the paper's procedure, predicted", "paper"),
    ReadColumn("measured_paper_bytes", MEBI, "the paper's procedure, measured", "paper"),
)


def read_columns(rows: Iterable[Row], columns: Iterable[ReadColumn]) -> Iterator[OurReading]:
    """Readings of the columns that rows have."""
    for row in rows:
        for column, unit, label, protocol, strict_rows in columns:
            if row[column] is not None and not (strict_rows and row["protocol"] != "strict"):
                form = row["axes"].get("block", "")
                lacks = model.uncounted_work(row) if column in COUNTS else ""
                what = f"{label} ({lacks})" if lacks else label
                yield OurReading(row[column] / unit, what, form, protocol)


def stored(rows: Iterable[Row]) -> Iterator[OurReading]:
    """Parameters in millions: those that train, and all that a checkpoint holds."""
    for row in rows:
        if row["parameters"] is not None:
            total = row["parameters"] + row["buffers"]
            yield OurReading(row["parameters"] / MEGA, "parameters")
            yield OurReading(total / MEGA, "parameters and buffers", protocol="paper")


def times(rows: Iterable[Row], unit: float = MILLI) -> Iterator[OurReading]:
    """Median times, in milliseconds unless another unit is given, with their device."""
    for row in rows:
        paper = () if row["protocol"] == "strict" else ("wall",)
        time = model.median_time(row, clocks=(*paper, *model.CLOCK_ORDER))
        if time is not None:
            yield _reading_on_device(row, time.median / unit, "time")


def operation_sums(rows: Iterable[Row]) -> Iterator[OurReading]:
    """Sum of the operations' times of Fig. 2, in milliseconds."""
    for row in rows:
        if row["operations"]:
            total = sum(model.group_times(row["operations"]).values())
            yield _reading_on_device(row, total / MILLI, "sum of operations")


def _reading_on_device(row: Row, value: float, label: str) -> OurReading:
    device = f"{row['device']}: {row['device_name']}"
    return OurReading(value, label, row["axes"].get("block", ""), row["protocol"], device)


def quotients(above: Iterable[OurReading], below: Iterable[OurReading]) -> Iterator[OurReading]:
    """Ratios of readings of the same kind, device and form; NB's plain form stands in for one in which it was not read.

    In NB the concatenation does not raise the peak.
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
