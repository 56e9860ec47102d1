"""The report: which tables and figures there are, in which order, and what commands print of their records."""

import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path

from bench import shell
from bench.analysis import Datasheet
from bench.records import (
    COMPARISONS_FILE,
    EstimateErrors,
    Fit,
    Record,
    read_comparisons,
    read_records,
)
from reports import blocks, crossover, model, training
from reports.agreement import agreement_tables
from reports.audit import audit_tables, claim_figures
from reports.gate import compare_files, comparison_tables
from reports.model import Chapter, Column, Field, Figure, Frame, Section, Table, build_frame
from reports.overview import overview_sections
from reports.provenance import records_summary, source_tables

# Records of real devices, whose ceilings estimates go by.
REFERENCE = Path(__file__).with_name("reference")
# A budget under which everything is run, and nothing that comes of it counts.
SMOKE, SMOKE_TITLE = "smoke", "SMOKE, no result:"
# Published accuracies: title, axes, and the digits that are printed.
ACCURACY = {
    "table3": ("Table 3: Cityscapes, test set", ("method", "backbone", "val"), 1),
    "table4": ("Table 4: ADE20K, validation set", ("method", "backbone"), 2),
    "table5": ("Table 5: PASCAL Context, validation set", ("method", "backbone"), 1),
    "table6": ("Table 6: components, Cityscapes validation set", ("network",), 1),
    "table7": ("Table 7: sampling, Cityscapes validation set", ("sampler", "grids"), 1),
}


@dataclass(frozen=True, slots=True)
class RecordReport:
    """What records support: tables (the audit first), figures, the answers, where the records come from."""

    tables: tuple[Table, ...]
    figures: tuple[Figure, ...] = ()
    overview: tuple[Section, ...] = ()
    sources: tuple[Table, ...] = ()
    summary: tuple[
        str, ...
    ] = ()  # sentences above all others: what this is and where it was measured


def build_report(path: Path) -> RecordReport:
    """Make everything that the records of a folder, or of one file, support; without any it is a ValueError."""
    shell.require_path(path, "a .jsonl file or a folder that holds some records")
    comparisons = read_comparisons(path)
    compared = comparison_tables(comparisons)
    records = () if path.name == COMPARISONS_FILE else read_records(path)
    if records:
        frame = build_frame(records)
        tables = (*audit_tables(frame), *report_tables(frame), *compared)
        figures = report_figures(frame, path if path.is_dir() else path.parent)
        report = RecordReport(
            tables,
            (*figures, *claim_figures(tables)),
            overview_sections(frame, comparisons),
            source_tables(records),
            records_summary(records),
        )
        is_smoke = any(record.axes.get("budget") == SMOKE for record in records)
        return mark_smoke(report) if is_smoke else report
    if not compared:
        msg = f"{str(path)!r} holds no records; give a .jsonl file or a folder that a run wrote"
        raise ValueError(msg)
    return RecordReport(compared)


def build_comparison(first: Path, second: Path) -> RecordReport:
    """Compare what another tool timed; errors are those of `compare_files`."""
    return RecordReport((compare_files(first, second),))


def mark_smoke(report: RecordReport) -> RecordReport:
    """Say in every table and figure that its numbers come of a run that only shows that all of it works."""

    def mark(table: Table) -> Table:
        columns = (*table.columns, Column("budget", align="left"))
        rows = tuple((*row, SMOKE) for row in table.rows)
        return replace(table, title=f"{SMOKE_TITLE} {table.title}", columns=columns, rows=rows)

    figures = (
        replace(each, title=f"{SMOKE_TITLE} {each.title}", data=mark(each.data))
        for each in report.figures
    )
    note = f"{SMOKE_TITLE} Nothing on this page is a result."
    return replace(
        report,
        tables=tuple(map(mark, report.tables)),
        figures=tuple(figures),
        summary=(note, *report.summary),
    )


def chapters() -> Iterator[Chapter]:
    """The `CHAPTER` of each module of these rooms, so that a new one is a file and no more."""
    for room in (blocks, crossover):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            chapter = getattr(import_module(module.name), "CHAPTER", None)
            if chapter is not None:
                yield chapter


def report_tables(frame: Frame) -> tuple[Table, ...]:
    """Every table that the frame supports: those that a record answers, then the published ones."""
    recorded = set(frame.loc[frame["protocol"] != "published", "experiment"])
    trained = training.trained_experiments(frame)
    known = (
        *chapters(),
        Chapter(80, dict.fromkeys(trained[:1], training.training_tables)),
        Chapter(90, {"evaluation": training.evaluation_tables}),
    )
    named = {name for chapter in known for name in chapter.tables} | {*ACCURACY, *trained}
    rest = {name: partial(blocks.own_tables, experiment=name) for name in sorted(recorded - named)}
    ordered = sorted((*known, Chapter(35, rest)), key=lambda chapter: chapter.order)
    tables = [
        table
        for chapter in ordered
        for name, make in chapter.tables.items()
        if name in recorded
        for table in make(frame)
    ]
    published = [name for name in ACCURACY if name in {*frame["experiment"]} - {*trained}]
    return (
        *tables,
        *agreement_tables(frame),
        *(accuracy_table(frame, name) for name in published),
    )


def report_figures(frame: Frame, folder: Path | None = None) -> tuple[Figure, ...]:
    """Every figure that the frame supports; pictures that a training left are looked for in a folder."""
    ordered = sorted(chapters(), key=lambda chapter: chapter.order)
    figures = (figure for chapter in ordered for figure in chapter.figures(frame))
    pictures = training.qualitative_figures(frame, folder) if folder else ()
    trained = (*training.schedule_figures(frame), *training.cost_figures(frame))
    return (*figures, *trained, *pictures)


def accuracy_table(frame: Frame, experiment: str) -> Table:
    """Tables 3 to 7 of the paper: mean intersection over union as printed."""
    title, axes, digits = ACCURACY[experiment]
    rows = model.rows_of_experiment(frame, experiment)
    places = {row["published_place"]: row for row in rows if row["document"] is not None}
    score = Column("mIoU", "%", digits, 1, "percent", "published", best="max")
    return model.tabulate(
        [places[place] for place in sorted(places)],
        (
            *map(model.axis_field, axes),
            Field(Column("anchors"), lambda row: row["published_anchors"], optional=True),
            model.published_field(score, "miou_percent", optional=False),
        ),
        name=experiment,
        title=title,
        caption="Published numbers alone.",
    )


def efficiency_report(records: Sequence[Record]) -> tuple[Table, ...]:
    """What needs no execution, and, where something was executed, what was measured and how near its floor it came."""
    frame = build_frame(records)
    predicted, *measured = blocks.efficiency_tables(frame)
    executed = any(record.source == "measured" for record in records)
    by_allocator = blocks.allocator_tables(frame, ["efficiency"])
    if not executed:
        return (predicted, *by_allocator)
    return (predicted, *measured, *by_allocator, *blocks.machine_tables(frame))


def gallery_report(
    records: Sequence[Record], devices: Sequence[Datasheet] = ()
) -> tuple[Table, ...]:
    """Context blocks that people choose among, in one table, with the likely times on some known devices."""
    estimates = {device.title: partial(blocks.estimated_time, device=device) for device in devices}
    return crossover.gallery_tables(build_frame(records), estimates)


def prediction_report(records: Sequence[Record], devices: Sequence[Datasheet]) -> tuple[Table, ...]:
    """Predicted times of blocks on known devices, by pass too where there are any, and memory; on one by operator."""
    kept = (
        record
        for path in sorted(REFERENCE.glob("*/ceilings.jsonl"))
        for record in read_records(path)
    )
    frame = build_frame((*records, *kept))
    tables = (
        *blocks.predicted_time_tables(frame, devices),
        *blocks.pass_tables(frame, devices),
        *blocks.allocator_tables(frame),
    )
    operators = blocks.operator_estimates(frame, devices[0]) if len(devices) == 1 else ()
    return (*tables, *operators)


def call_errors(records: Sequence[Record]) -> tuple[EstimateErrors, ...]:
    """Errors of estimates of calls that were measured on known devices."""
    return blocks.record_errors(build_frame(records))


def fit_report(fits: Sequence[Fit]) -> tuple[Table, ...]:
    """What fits on known devices."""
    return (blocks.fit_table(fits),)


def evaluation_report(record: Record) -> tuple[Table, ...]:
    """What a checkpoint reached."""
    return training.evaluation_tables(build_frame([record]))


def training_report(records: Sequence[Record]) -> tuple[Table, ...]:
    """A table of each study that was trained so far."""
    return tuple(map(training.study_table, training.training_studies(build_frame(records))))
