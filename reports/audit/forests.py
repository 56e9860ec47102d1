"""The claims as forest plots: published numbers over ours, differences of trainings with their intervals and verdicts.

Each is drawn from the table that holds its numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.audit.claims import VERDICT_KINDS
from reports.model import (
    COLOURS,
    INK,
    Figure,
    ForestAxis,
    ForestRow,
    Interval,
    Style,
    Table,
    decimal,
    forest_svg,
    number_of,
    short,
)

BLUE, ORANGE, GREEN, _, OCHRE, _ = COLOURS
AUDIT_STYLES: Mapping[str, Style] = dict(
    zip(
        VERDICT_KINDS,
        (
            Style(BLUE, "o"),
            Style(GREEN, "s"),
            Style(ORANGE, "v"),
            Style(ORANGE, "X"),
            Style(INK, "o", is_hollow=True),
        ),
        strict=True,
    )
)
CLAIM_STYLES = {
    "supported": Style(BLUE, "o"),
    "not supported": Style(ORANGE, "v"),
    "undecided": Style(INK, "o", is_hollow=True),
}
CLAIM_COLUMNS = ("comparison", "gain", "difference", "verdict")
AUDIT_LEAD, TRAININGS_LEAD = 30, 40


def claim_figures(tables: Sequence[Table]) -> tuple[Figure, ...]:
    """A figure of the audit and one of each table of compared trainings, the one with most intervals first.

    What has no number of ours is no figure.
    """
    figures = [_audit_figure(table) for table in tables if table.name == "audit"]
    claims = [table for table in tables if _at(table, *CLAIM_COLUMNS)]
    claims.sort(key=lambda table: -len(list(_differences(table))))
    compared = [_accuracy_figure(table, place) for place, table in enumerate(claims)]
    return tuple(figure for figure in (*figures, *compared) if figure is not None)


def _at(table: Table, *names: str) -> Mapping[str, int]:
    """Where a table has these columns; empty where it lacks one."""
    places = {column.name: at for at, column in enumerate(table.columns)}
    return {name: places[name] for name in names} if {*names} <= places.keys() else {}


def _audit_figure(table: Table) -> Figure | None:
    at = _at(table, "where", "number", "verdict", "printed", "ours", "unit", "difference")
    rows = []
    for row in table.rows:
        printed, ours = (number_of(row[at[name]]) for name in ("printed", "ours"))
        is_checked = printed and ours is not None and row[at["difference"]] is not None
        numbers = f"{short(ours or 0)} of {short(printed or 0)} {row[at['unit']]}"
        numbers = numbers if is_checked else "not checked"
        rows.append(
            ForestRow(
                group=str(row[at["where"]]),
                label=str(row[at["number"]]),
                kind=str(row[at["verdict"]]),
                text=numbers,
                middle=(ours or 0) / (printed or 1) if is_checked else None,
                tip=f"{row[at['where']]}, {row[at['number']]}: {numbers}, {row[at['verdict']]}",
            )
        )
    checked = [row for row in rows if row.middle is not None]
    if not checked:
        return None
    axis = ForestAxis(
        label="measured or counted here / published",
        baseline=1.0,
        baseline_label="as published",
        is_log=True,
    )
    return Figure(
        name="audit-figure",
        title="Do the published efficiency numbers hold?",
        svg=forest_svg(rows, "audit-figure", axis=axis, kinds=AUDIT_STYLES),
        alternative=(
            f"A mark for each of the {len(checked)} published numbers that these records can check, at the number "
            f"found here over the published one. {table.caption}"
        ),
        data=table,
        lead=AUDIT_LEAD,
    )


def _differences(table: Table) -> Iterator[tuple[Any, ...]]:
    at = _at(table, *CLAIM_COLUMNS)
    for row in table.rows:
        difference = row[at["difference"]]
        if isinstance(difference, Interval) and difference.low is not None:
            yield tuple(row[at[name]] for name in CLAIM_COLUMNS)


def _accuracy_figure(table: Table, place: int) -> Figure | None:
    rows = [_accuracy_row(*row) for row in _differences(table)]
    if not rows:
        return None
    axis = ForestAxis(
        label="difference of the mIoU (percentage points)",
        baseline=0.0,
        baseline_label="no difference",
        published_label="published gain",
    )
    name = f"{table.name}-figure"
    kinds = [row.kind for row in rows]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in CLAIM_STYLES)
    return Figure(
        name=name,
        title=f"Does accuracy change as the paper says? {_setting(table)}",
        svg=forest_svg(rows, name, axis=axis, kinds=CLAIM_STYLES),
        alternative=(
            f"Differences of the mIoU with 95 % intervals over seeds, for {len(rows)} comparisons that the paper "
            f"makes: {counts}. 'No worse than' allows a loss of half a point. An arrow is beyond the axis."
        ),
        data=table,
        lead=0 if place else TRAININGS_LEAD,
    )


def _setting(table: Table) -> str:
    setting = table.title.partition(", ")[2]
    return f"{setting[:1].upper()}{setting[1:]}"


def _accuracy_row(label: str, gain: object, difference: Interval, verdict: str) -> ForestRow:
    low, high = difference.ends
    published = float(gain) if isinstance(gain, int | float) else None
    paper = f"; published {published:+.1f}" if published is not None else ""
    ends = f"[{decimal(low, 2)}, {decimal(high, 2)}]"
    return ForestRow(
        group="",
        label=label,
        kind=verdict,
        text=f"{difference.median:+.2f}",
        middle=difference.median,
        low=low,
        high=high,
        published=published,
        tip=f"{label}: {difference.median:+.2f} {ends} points, {verdict}{paper}",
    )
