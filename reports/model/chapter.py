"""What a report is made of: chapters, the figures beside their tables, the sentences ahead of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reports.model.frame import Frame
from reports.model.table import Table


@dataclass(frozen=True, slots=True)
class Section:
    """A question and the sentences that answer it; `details` are those that a reader unfolds."""

    heading: str
    sentences: tuple[str, ...]
    details: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawing, what it shows in words, and its numbers."""

    name: str
    title: str
    svg: str
    alternative: str
    data: Table
    caption: str = ""  # what is written below it, where that is less than the words in its place
    # Its place among those that the page begins with; the others, of 0, stand further down.
    lead: int = 0


@dataclass(frozen=True, slots=True)
class Chapter:
    """What a module of `reports.blocks` or `reports.crossover` makes of records, under the name `CHAPTER`."""

    order: int  # its place in the report
    # By the name of an experiment; called where a run has records of it.
    tables: Mapping[str, Callable[[Frame], tuple[Table, ...]]] = field(default_factory=dict)
    figures: Callable[[Frame], tuple[Figure, ...]] = lambda _: ()
