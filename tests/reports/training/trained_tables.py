"""What the tests of tables of trainings share: how a table is read, and a part of Table 7."""

import io

from rich.console import Console

from bench.records.record import Failure
from reports.model import frame
from reports.model.layout import lay_out, text_of
from reports.render import TerminalTable
from reports.training import tables

KILLED = Failure(kind="out-of-memory", reason="the process was killed | signal 9")


def column(table, heading):
    at = [c.heading for c in table.columns].index(heading)
    return [text_of(row[at], table.columns[at]) for row in table.rows]


def row(table, key):
    (found,) = [
        {c.heading: text_of(v, c) for c, v in zip(table.columns, row, strict=True)}
        for row in table.rows
        if key in row[:2]
    ]
    return found


def named(records):
    return {table.name: table for table in tables.training_tables(frame.build_frame(records))}


def notes(table):
    return [note for _, note in lay_out(table).notes]


def shown(table):
    console = Console(file=io.StringIO(), width=140, legacy_windows=False)
    console.print(TerminalTable(table))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def table7(make, seeds=(0, 1, 2), **fields):
    percents = {("average", "15"): 50.0, ("max", "15"): 52.0, ("pyramid-average", "1,4,8,12"): 53}
    for at, ((sampler, grids), percent) in enumerate(percents.items()):
        axes = {"sampler": sampler, "grids": grids}
        for seed in seeds:
            score = percent + 0.4 * seed + 0.1 * ((at + seed) % 3)
            yield make.training("table7", axes, seed, score, **fields)


def barely_told_apart(make):
    """Trainings whose differences of 1, 1.5 and 2 have p = 0.035: below 0.05, but not below a third of it."""
    percents = {"baseline": (40, 41, 42), "nb": (41, 42.5, 44), "apnb": (42, 41, 45)}
    return [
        make.training("table6", {"network": f"paper/{name}"}, seed, score)
        for name, scores in percents.items()
        for seed, score in enumerate(scores)
    ]
