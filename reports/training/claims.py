"""Comparisons in the paper's text on Tables 6 and 7, as data; the numbers are those of the published records.

The quoted words stand in section 4.4 unless another place is named (Zhu et al., ICCV 2019).
"""

from dataclasses import dataclass
from typing import NamedTuple

# Half a point: less than the smallest gain between rows of Table 6 for which the text has an emphatic word (0.6,
# fusion over NB), more than the loss that it calls minor (0.2, AFNB against FNB). Set before anything was trained.
MARGIN_POINTS = 0.5

# The experiment that settles how networks are trained, and its axes.
SCHEDULE = "schedule"
LENGTH, RATE, NETWORK = "iterations", "learning_rate", "network"

ArmKey = tuple[str, ...]


class PaperTable(NamedTuple):
    """A table of trainings."""

    place: str
    topic: str
    axes: tuple[str, ...]  # in the order in which an arm is named


PAPER_TABLES = {
    "table6": PaperTable("Table 6", "components", ("network",)),
    "table7": PaperTable("Table 7", "sampling", ("sampler", "grids")),
}


@dataclass(frozen=True, slots=True)
class TextComparison:
    """Two rows of a table, and what the text says of them: `above` is better, or no worse."""

    experiment: str
    above: ArmKey  # values of the axes
    below: ArmKey
    says: str  # the paper's words, quoted
    margin: float = 0.0  # points of mIoU that may be lost where the claim is that nothing is lost

    @property
    def title(self) -> str:
        """The comparison in a few words."""
        above, below = arm_name(self.above), arm_name(self.below)
        return f"{above} no worse than {below}" if self.margin else f"{above} over {below}"

    @property
    def label(self) -> str:
        """The comparison in at most 32 letters; a pyramid whose sampler is not named is one of averages."""
        short = ("pyramid average", "pyramid")
        above, below = (arm_name(key).replace(*short) for key in (self.above, self.below))
        if self.above[1:] == self.below[1:] != () and "," in self.above[1]:
            above, below = (key[0].removeprefix("pyramid-") for key in (self.above, self.below))
            return f"{self.above[1]}: {above} over {below}"
        if self.above[0] == self.below[0]:
            below = self.below[-1]
        return f"{above} no worse than {below}" if self.margin else f"{above} over {below}"


def arm_name(key: ArmKey) -> str:
    """Name a row: `afnb+apnb`, `pyramid average 1,3,6,8`."""
    first, *others = key
    return " ".join((first.removeprefix("paper/").replace("pyramid-", "pyramid "), *others))


def place_of(experiment: str) -> str:
    """Where the paper has an experiment; one that it does not have keeps its name."""
    return PAPER_TABLES[experiment].place if experiment in PAPER_TABLES else experiment


def _components(above: str, below: str, says: str, margin: float = 0.0) -> TextComparison:
    return TextComparison("table6", (f"paper/{above}",), (f"paper/{below}",), says, margin)


def _sampling(above: ArmKey, below: ArmKey, says: str) -> TextComparison:
    return TextComparison("table7", above, below, says)


_NO_LOSS = "'without sacrificing the performance'"
_FUSED = "with common fusion 'a good improvement'"
_SECTION1 = "'a considerable improvement over the baseline model' (section 1)"
_BEATEN = ("baseline", "nb", "apnb", "common-fusion", "fnb", "afnb", "common-fusion+nb", "fnb+nb")
_AVERAGE = "'average sampling performs better than max and random sampling'"
_PYRAMIDS = "this 'could also be transferred to pyramid settings'"
_KEY_FACTOR = "at as many anchors 'pyramid pooling is a very key factor'"
_ANCHORS = "'more anchor points improve the performance'"
_PYRAMID = "pyramid-average"

COMPARISONS = (
    _components("nb", "baseline", "NB: 'the performance is improved by 2.6%'"),
    _components("apnb", "nb", "with APNB 'the performance is slightly better'"),
    _components("apnb", "nb", f"{_NO_LOSS} (abstract)", MARGIN_POINTS),
    _components("common-fusion", "baseline", _FUSED),
    _components("fnb", "baseline", f"{_FUSED}, with FNB 'further boosted'"),
    _components("afnb", "baseline", _SECTION1),
    _components("fnb", "common-fusion", "with FNB 'the performance is further boosted at 0.8%'"),
    _components(
        "afnb", "fnb", f"{_NO_LOSS} (section 3.3), 'a minor performance decrease'", MARGIN_POINTS
    ),
    _components("common-fusion+nb", "nb", "'0.6% performance improvement'"),
    _components("fnb+nb", "nb", "both blocks 'can improve the performance of 79.7%'"),
    *(_components("afnb+apnb", below, "'achieves the best performance'") for below in _BEATEN),
    _sampling(("average", "15"), ("max", "15"), _AVERAGE),
    _sampling(("average", "15"), ("random", "15"), _AVERAGE),
    _sampling((_PYRAMID, "1,2,3,6"), ("pyramid-max", "1,2,3,6"), _PYRAMIDS),
    _sampling((_PYRAMID, "1,2,3,6"), ("pyramid-random", "1,2,3,6"), _PYRAMIDS),
    _sampling((_PYRAMID, "1,4,8,12"), ("average", "15"), _KEY_FACTOR),
    _sampling((_PYRAMID, "1,3,6,8"), (_PYRAMID, "1,2,3,6"), _ANCHORS),
    _sampling((_PYRAMID, "1,4,8,12"), (_PYRAMID, "1,3,6,8"), _ANCHORS),
)
