"""Records of the experiment `crossover`, as curves: what each arm costs at each size of the map.

An arm is a block and how it is computed, e.g. `nb:sdpa`; its family is the block.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter

from reports import model
from reports.model import Frame, Interval, Row

CROSSOVER = "crossover"
# Half an interval as a share, where calls were too few for one: processes of one machine differ by less.
FEW = 0.25


@dataclass(frozen=True, slots=True)
class Study:
    """The rows of one device and number format."""

    device: str  # empty where nothing was executed
    dtype: str
    suffix: str  # of the names of its tables and figures; the first study has none
    arms: Mapping[str, Mapping[int, Row]]  # by size N, plain ones first within their family
    anchored: Mapping[str, Mapping[int, Row]]  # by number of anchors S, at one size

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
        return dict(sorted((model.pixels(row), str(row["axes"]["size"])) for row in self.rows))

    def times(self, arm: str) -> dict[int, Interval]:
        """Seconds of one call by N, where they were read."""
        bounds = {size: time_bounds(row) for size, row in self.arms.get(arm, {}).items()}
        return {size: time for size, time in bounds.items() if time is not None}

    def medians(self, arm: str) -> dict[int, float]:
        """Median seconds of one call by N, where they were read."""
        return {size: time.median for size, time in self.times(arm).items()}

    def numbers(self, arm: str, column: str) -> dict[int, float]:
        """A column of the frame by N, where there is a number, of operations one that lacks none."""
        rows = self.arms.get(arm, {}).items()
        known = {size: row for size, row in rows if row[column] is not None}
        if column in ("macs", "flops"):
            known = {size: row for size, row in known.items() if not model.uncounted_work(row)}
        return {size: float(row[column]) for size, row in known.items()}

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

    That of the samples speaks of one process, so that its half is widened to the share that counts as narrow on that
    clock. Where calls were too few for one it holds them all, and a quarter of the median each way.
    """
    timing = model.timing_of(row)
    time = model.time_interval(timing)
    if timing is None or time is None:
        return None
    few = time.low is None
    share = FEW if few else model.CONCLUSIVE_WIDTH[timing.clock]
    known = timing.samples_s if few else time.ends
    ends = [time.median * (1 - share), time.median * (1 + share), *known]
    return Interval(time.median, min(ends), max(ends))


def crossover_studies(frame: Frame) -> tuple[Study, ...]:
    """One study for each device and format that was timed; where none was, one of what was predicted."""
    rows = model.rows_of_experiment(frame, CROSSOVER)
    if not rows:
        return ()
    timed = dict.fromkeys(
        (str(row["device_name"]), str(row["dtype"])) for row in rows if row["timings"]
    )
    studies: list[Study] = []
    for device, dtype in timed or [("", str(rows[0]["dtype"]))]:
        here = model.of_device([row for row in rows if row["dtype"] == dtype], device)
        sized = [(model.pixels(row), row) for row in here if "anchors" not in row["axes"]]
        counted = [(row["axes"]["anchors"], row) for row in here if "anchors" in row["axes"]]
        suffix = f"-{len(studies) + 1}" if studies else ""
        studies.append(Study(device, dtype, suffix, _by_arm(sized), _by_arm(counted)))
    return tuple(studies)


def _by_arm(placed: Iterable[tuple[int, Row]]) -> dict[str, dict[int, Row]]:
    families = {"nb": 0, "apnb": 1}
    arms: dict[str, dict[int, Row]] = defaultdict(dict)
    for place, row in sorted(placed, key=itemgetter(0)):
        arms[str(row["axes"]["block"])][place] = row
    return dict(sorted(arms.items(), key=lambda arm: families.get(arm[0].partition(":")[0], 2)))
