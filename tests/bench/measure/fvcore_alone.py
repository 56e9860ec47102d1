"""One counter of several, asked in a process in which nothing has run."""

from bench.measure.other_counters import count_with_other_tools


def count(cell):
    (row,) = count_with_other_tools(cell, ("fvcore",))
    return row
