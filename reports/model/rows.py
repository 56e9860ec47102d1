"""Rows of the frame, and how they are joined: by axes, by device, by protocol."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from reports.model.frame import Frame, grouped
from reports.model.values import Row

RowT = TypeVar("RowT", bound=Row)


def rows_of_experiment(frame: Frame, experiment: str) -> list[dict[str, Any]]:
    """Rows of one experiment, as mappings."""
    return rows_of(frame[frame["experiment"] == experiment])


def rows_of(frame: Frame) -> list[dict[str, Any]]:
    """Rows as mappings, as `to_dict("records")` gives them, whose look at every value takes most of its time."""
    names = [str(name) for name in frame.columns]
    columns = (frame[name].tolist() for name in frame.columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def axes_of(row: Row, *columns: str) -> tuple[Any, ...]:
    """The axes of a row and the columns that are named, by which it is compared with others."""
    return (*sorted(row["axes"].items()), *(row[column] for column in columns))


def by_axes(rows: Iterable[RowT], *columns: str) -> dict[tuple[Any, ...], list[RowT]]:
    """Rows that agree in their axes, and in the columns that are named."""
    return grouped(rows, lambda row: axes_of(row, *columns))


def by_device(rows: Sequence[RowT]) -> Iterator[tuple[str, list[RowT], str]]:
    """Each device that ran something, or an empty name; its rows, and what tells names of its tables from others'."""
    names = dict.fromkeys(str(row["device_name"]) for row in rows if row["device_name"])
    for number, device in enumerate(names or [""] * bool(rows), start=1):
        yield device, of_device(rows, device), f"-{number}" if number > 1 else ""


def of_device(rows: Sequence[RowT], device: str) -> list[RowT]:
    """Rows of a device, and those that nothing was executed of, e.g. of a run that was ended; all without a device."""
    if not device:
        return list(rows)
    here = [row for row in rows if row["device_name"] == device]
    known = by_axes(here)
    return here + [row for row in rows if not row["device_name"] and axes_of(row) not in known]


def with_paper(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the strict protocol, smallest size first, each with its row of the paper's protocol under `paper`."""
    nothing = dict.fromkeys(rows[0]) if rows else {}
    strict = [row for row in rows if row["protocol"] != "paper"]
    paper = by_axes(row for row in rows if row["protocol"] == "paper")
    joined = []
    for row in strict:
        same = paper.get(axes_of(row), [])
        here = [other for other in same if other["device_name"] == row["device_name"]]
        joined.append(row | {"paper": next(iter(here or same), nothing)})
    both = by_axes(strict)
    # A row of the paper's protocol alone has no reading under the strict one.
    unread = dict.fromkeys(("device_name", "memory_bytes", "timings", "failure"))
    alone = [row for axes, same in paper.items() if axes not in both for row in same]
    return sorted([*joined, *(row | unread | {"paper": row} for row in alone)], key=pixels)


def pixels(row: Row) -> int:
    """Positions of the map or image of a row, by which tables are sorted; 0 where no size is given."""
    width, _, height = str(row["axes"].get("size", row["size"])).partition("x")
    return int(width) * int(height) if width.isdecimal() and height.isdecimal() else 0
