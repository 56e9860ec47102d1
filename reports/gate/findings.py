"""An outcome of the gate as tables, as a job summary in Markdown, and in the files that other tools read."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench import records
from bench.records import Control, Finding, FindingVerdict, Outcome, SideRecord
from reports.gate import other_tools
from reports.gate.wording import amount, headline
from reports.model import Column, Interval, Mark, Table, describe_machine, text_column
from reports.render import escape_markdown, to_markdown

# GitHub cuts a job's summary off at 1 MiB.
MOST_ROWS = 500
RATIO_MEANING = (
    "Ratio: the head's over the base's; for what was measured the median over rounds with its "
    "exact 99 % interval."
)
MEANINGS: dict[FindingVerdict, str] = {
    "CHANGED": "an exact quantity is another one; if that is wanted, --accept it with a reason",
    "FAILED": "the base ran and the head does not",
    "SLOWER": "slower than the bar in so many rounds, twice",
    "MORE": "more memory than the bar in so many rounds, twice",
    "UNEXAMINED": "it was to be compared and could not be; nothing is known of it",
    "INCONCLUSIVE": "neither worse, nor better, nor shown to be the same",
    "ACCEPTED": "changed, and written down with a reason",
    "FASTER": "faster than the bar in so many rounds",
    "LESS": "less memory than the bar in so many rounds",
    "FIXED": "the head runs and the base did not",
    "NEW": "the base does not have it",
    "SHOWN": "not judged",
    "SAME": "equal, or within the margin on both sides",
}
REASON_COLUMNS = (Column("ratio", digits=3), text_column("why", wide=True))
FINDING_COLUMNS = (
    *map(text_column, ("verdict", "cell", "quantity")),
    *(*map(Column, ("base", "head")), *REASON_COLUMNS),
)


def outcome_tables(outcome: Outcome) -> tuple[Table, ...]:
    """What moved, what did not, and the controls."""
    moved = records.moved_findings(outcome.findings)
    same = [finding for finding in outcome.findings if finding.verdict == "SAME"]
    verdicts = {finding.verdict for finding in moved}
    meanings = (f"{word}: {text}." for word, text in MEANINGS.items() if word in verdicts)
    notes = (RATIO_MEANING, *meanings)
    named = map(text_column, ("control", "cell", "has to read", "reads"))
    failed = "this machine cannot decide"
    tables = (
        _finding_table(outcome, moved, "moved", title="Changes, the worst first", notes=notes),
        _finding_table(outcome, same, "same", title="Unchanged"),
        Table(
            name="controls",
            title="Controls: comparisons whose verdict is known",
            columns=(*named, *REASON_COLUMNS),
            rows=tuple(
                (
                    *(control.name, control.cell, control.expected),
                    control.verdict if control.holds else Mark(failed, control.verdict),
                    *(_ratio_interval(control), control.reason),
                )
                for control in outcome.controls
            ),
        ),
    )
    return tuple(table for table in tables if table.rows)


def _finding_table(
    outcome: Outcome,
    findings: Sequence[Finding],
    name: str,
    *,
    title: str,
    notes: tuple[str, ...] = (),
) -> Table:
    left = len(findings) - MOST_ROWS
    where = outcome.head.environment
    machine = f"; {describe_machine(where)}" if where else ""
    return Table(
        name=name,
        title=title,
        columns=FINDING_COLUMNS,
        rows=tuple(
            (
                *(finding.verdict, finding.cell, finding.quantity),
                *(amount(value, finding.unit) for value in (finding.before, finding.after)),
                *(_ratio_interval(finding), finding.reason),
            )
            for finding in findings[:MOST_ROWS]
        ),
        caption=f"Base {_side_name(outcome.base)}, head {_side_name(outcome.head)}{machine}.",
        notes=(*notes, f"{left} rows more are in {records.OUTCOME_FILE}.") if left > 0 else notes,
    )


def _ratio_interval(of: Finding | Control) -> Interval | None:
    return None if of.ratio is None else Interval(of.ratio, of.low, of.high)


def _side_name(side: SideRecord) -> str:
    dirty = "-dirty" if (side.commit or "").endswith("-dirty") else ""
    return f"{side.name} ({side.commit[:10]}{dirty})" if side.commit else side.name


def environment_changes(outcome: Outcome) -> str:
    """What differs between the environments of the sides; empty if nothing does."""
    base, head = outcome.base.environment, outcome.head.environment
    if base is None or head is None:
        return ""
    moved = [
        f"{name} {before} to {after}"
        for name in ("python", "torch", "cuda", "cudnn")
        if (before := getattr(base, name)) != (after := getattr(head, name))
    ]
    return f"The environments differ: {', '.join(moved)}." if moved else ""


def job_summary(outcome: Outcome) -> str:
    """GitHub's job summary: the answer, what moved, the controls, and the rest folded away."""
    parts = [f"## {escape_markdown(headline(outcome))}", ""]
    for table in outcome_tables(outcome):
        text = to_markdown(table)
        if table.name == "same":
            title = f"{table.title}: {len(table.rows)}"
            text = f"<details><summary>{title}</summary>\n\n{text}\n</details>\n"
        parts.append(text)
    command = f"Made by: {outcome.command}" if outcome.command else ""
    remarks = (*outcome.rules, environment_changes(outcome), command)
    parts += [f"- {escape_markdown(text)}" for text in remarks if text]
    return "\n".join(parts) + "\n"


def write_reports(outcome: Outcome, folder: Path) -> str:
    """Write every form into a folder: the outcome, summary.md, junit.xml and JSON for two tools; give the summary."""
    records.write_outcome(outcome, folder)
    (folder / "pytest-benchmark").mkdir(exist_ok=True)
    files = {
        "summary.md": job_summary(outcome),
        "junit.xml": other_tools.to_junit(outcome),
        "github-action-benchmark.json": json.dumps(
            other_tools.benchmark_entries(outcome), indent=1
        ),
    }
    for side in ("base", "head"):
        report = other_tools.side_report(outcome, side)
        files[f"pytest-benchmark/{side}.json"] = json.dumps(report, indent=1)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return files["summary.md"]
