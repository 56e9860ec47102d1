"""Records of the experiment `crossover`, as curves: what each arm costs at each size of the map.

An arm is a block and how it is computed, e.g. `nb:sdpa`; its family is the block.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from reports.model import (
    CONCLUSIVE_WIDTH,
    Frame,
    Interval,
    Row,
    of_device,
    pixels,
    rows_of_experiment,
    time_interval,
    timing_of,
)

CROSSOVER = "crossover"
# Half an interval as a share, where calls were too few for one: processes of one machine differ by less.
FEW = 0.25


@dataclass(frozen=True, slots=True)
class Study:
    """The rows of one device and number format.

    Attributes:
        device: its name; empty where nothing was executed.
        dtype: the number format.
        number: of the study among those of the records, from 0.
        arms: by size N the row of each arm, plain ones first within their family.
        anchored: by number of anchors S the row of each arm, at one size.
    """

    device: str
    dtype: str
    number: int
    arms: Mapping[str, Mapping[int, Row]]
    anchored: Mapping[str, Mapping[int, Row]]

    @property
    def suffix(self) -> str:
        """Distinguishes the names of this study's tables and figures; the first has none."""
        return f"-{self.number + 1}" if self.number else ""

    @property
    def place(self) -> str:
        """Device and number format, as a reader has them."""
        return f"{self.device or 'no device'}, {self.dtype}"

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows over sizes."""
        return tuple(row for rows in self.arms.values() for row in rows.values())

    @property
    def sizes(self) -> dict[int, str]:
        """Sizes as written, by N, from small to large."""
        sizes = {pixels(row): str(row["axes"]["size"]) for row in self.rows}
        return dict(sorted(sizes.items()))

    def times(self, arm: str) -> dict[int, Interval]:
        """Seconds of one call by N, where they were read."""
        bounds = {size: time_bounds(row) for size, row in self.arms.get(arm, {}).items()}
        return {size: time for size, time in bounds.items() if time is not None}

    def numbers(self, arm: str, column: str) -> dict[int, float]:
        """A column of the frame by N, where there is a number."""
        rows = self.arms.get(arm, {})
        return {at: float(row[column]) for at, row in rows.items() if row[column] is not None}

    def memory_ratio(self, above: str, below: str, size: int) -> tuple[float, str] | None:
        """Memory of one arm over another's, measured where both were, else predicted; and which it is."""
        sources = {"measured": "memory_bytes", "predicted": "predicted_increment_bytes"}
        for source, column in sources.items():
            upper, lower = (self.numbers(arm, column).get(size) for arm in (above, below))
            if upper and lower:
                return upper / lower, source
        return None

    def family(self, block: str) -> tuple[str, ...]:
        """Arms of one block."""
        return tuple(arm for arm in self.arms if arm.partition(":")[0] == block)

    def best(self, block: str) -> tuple[dict[int, Interval], dict[int, str]]:
        """At each size the fastest arm of a block that was measured there: its time and its name."""
        times: dict[int, Interval] = {}
        names: dict[int, str] = {}
        for arm in self.family(block):
            for size, time in self.times(arm).items():
                if size not in times or time.median < times[size].median:
                    times[size], names[size] = time, arm
        return times, names


def time_bounds(row: Row) -> Interval | None:
    """Time of one call, with an interval that holds what another process may read as well.

    The interval of the samples speaks of one process, so that its half is widened to the share that
    counts as narrow on that clock. Where calls were too few for an interval it holds them all, and a
    quarter of the median each way.
    """
    timing = timing_of(row)
    time = time_interval(timing)
    if timing is None or time is None:
        return None
    known = [end for end in (time.low, time.high) if end is not None]
    share = CONCLUSIVE_WIDTH[timing.clock] if known else FEW
    ends = [time.median * (1 - share), time.median * (1 + share), *(known or timing.samples_s)]
    return Interval(time.median, min(ends), max(ends))


def crossover_studies(frame: Frame) -> tuple[Study, ...]:
    """One study for each device and format that was timed; where none was, one of what was predicted."""
    rows = rows_of_experiment(frame, CROSSOVER)
    if not rows:
        return ()
    timed = dict.fromkeys(
        (str(row["device_name"]), str(row["dtype"])) for row in rows if row["timings"]
    )
    places = list(timed) or [("", str(rows[0]["dtype"]))]
    return tuple(_study(rows, *place, number) for number, place in enumerate(places))


def _study(rows: Sequence[Row], device: str, dtype: str, number: int) -> Study:
    here = of_device([row for row in rows if row["dtype"] == dtype], device)
    return Study(
        device,
        dtype,
        number,
        _by_arm([row for row in here if "anchors" not in row["axes"]], pixels),
        _by_arm(
            [row for row in here if "anchors" in row["axes"]], lambda row: row["axes"]["anchors"]
        ),
    )


def _by_arm(rows: Sequence[Row], place: Callable[[Row], int]) -> dict[str, dict[int, Row]]:
    arms: dict[str, dict[int, Row]] = {}
    for row in sorted(rows, key=place):
        arms.setdefault(str(row["axes"]["block"]), {})[place(row)] = row
    order = {"nb": 0, "apnb": 1}
    return dict(sorted(arms.items(), key=lambda item: order.get(item[0].partition(":")[0], 2)))
