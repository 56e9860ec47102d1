"""A chapter of the report: what a module makes of the records of its experiments."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reports.model.drawing import Figure
from reports.model.frame import Frame
from reports.model.table import Table


@dataclass(frozen=True, slots=True)
class Chapter:
    """What a module makes of the records of its experiments.

    `reports.report` finds it under the name `CHAPTER` in every module of `reports.blocks` and `reports.crossover`.

    Attributes:
        order: its place in the report, small ones first.
        tables: what makes the tables of an experiment, by its name; called where a run has records of it.
        figures: what makes figures, of whatever the frame supports.
    """

    order: int
    tables: Mapping[str, Callable[[Frame], tuple[Table, ...]]] = field(default_factory=dict)
    figures: Callable[[Frame], tuple[Figure, ...]] = lambda _: ()
