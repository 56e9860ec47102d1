"""What the gate found, as tables, as a summary in Markdown, and in the forms that other tools read."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench.records import (
    OUTCOME_FILE,
    SAME_OR_BETTER,
    UNDECIDED,
    WORSE,
    Amount,
    Control,
    Finding,
    FindingVerdict,
    Outcome,
    SideRecord,
    moved_findings,
    worst_first,
    write_outcome,
)
from reports.model import (
    MEBI,
    MILLI,
    Column,
    Interval,
    Mark,
    Table,
    Value,
    decimal,
    describe_machine,
)
from reports.render import markdown

WORDS = {
    SAME_OR_BETTER: "Same or better",
    WORSE: "Worse",
    UNDECIDED: "Not decided",
}
# GitHub cuts a job's summary off at 1 MiB.
MOST_ROWS = 500
RATIO = "Ratio: the head's over the base's; for what was measured the median over rounds with its exact 99 % interval."
MEANINGS: dict[FindingVerdict, str] = {
    "CHANGED": "an exact quantity is another one; if that is wanted, --accept it with a reason",
    "FAILED": "the base ran and the head does not",
    "SLOWER": "slower than the bar in so many rounds, twice",
    "MORE": "more memory than the bar in so many rounds, twice",
    "INCONCLUSIVE": "neither worse, nor better, nor shown to be the same",
    "ACCEPTED": "changed, and written down with a reason",
    "FASTER": "faster than the bar in so many rounds",
    "LESS": "less memory than the bar in so many rounds",
    "FIXED": "the head runs and the base did not",
    "NEW": "the base does not have it",
    "SHOWN": "not judged",
    "SAME": "equal, or within the margin on both sides",
}
FINDINGS = (
    Column("verdict", align="left"),
    Column("cell", align="left"),
    Column("quantity", align="left"),
    Column("base"),
    Column("head"),
    Column("ratio", digits=3),
    Column("why", align="left", wide=True),
)
CONTROLS = (
    Column("control", align="left"),
    Column("cell", align="left"),
    Column("has to read", align="left"),
    Column("reads", align="left"),
    Column("ratio", digits=3),
    Column("why", align="left", wide=True),
)


def headline(outcome: Outcome) -> str:
    """The answer in one sentence."""
    worse = [one for one in worst_first(outcome.findings) if one.is_worse]
    word = WORDS[outcome.status]
    if outcome.status == WORSE:
        return (
            f"{word}: {len(worse)} of {len(outcome.findings)} findings; first {sentence(worse[0])}"
        )
    if outcome.status == UNDECIDED:
        return f"{word}: {outcome.undecided}"
    better = sum(one.verdict in ("FASTER", "LESS", "FIXED") for one in outcome.findings)
    accepted = sum(one.verdict == "ACCEPTED" for one in outcome.findings)
    unsure = sum(one.verdict == "INCONCLUSIVE" for one in outcome.findings)
    counts = ((better, "better"), (accepted, "accepted"), (unsure, "inconclusive"))
    beside = [f"{count} {what}" for count, what in counts if count]
    return f"{word}: {', '.join([f'{len(outcome.findings)} findings', *beside])}"


def sentence(one: Finding) -> str:
    """One finding in words: what moved, from where to where, by how much."""
    values = f"{amount(one.before, one.unit)} to {amount(one.after, one.unit)}"
    return f"{one.cell}: {one.quantity} {one.verdict}, {values}{ratio_text(one)}"


def ratio_text(one: Finding) -> str:
    """The ratio with its interval in parentheses; empty where there is none."""
    if one.ratio is None or one.verdict in ("NEW", "FIXED"):
        return ""
    ends = "" if one.low is None or one.high is None else f" [{one.low:.3f}, {one.high:.3f}]"
    return f" (ratio {one.ratio:.3f}{ends})"


def amount(value: Amount, unit: str) -> str:
    """Write a value as a person reads it."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if unit == "bytes":
        return f"{decimal(value / MEBI, 3)} MiB"
    if unit == "checksum":
        return f"{value:.4g}"
    if unit == "s":
        return f"{decimal(value / MILLI, 3)} ms"
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def outcome_tables(outcome: Outcome) -> tuple[Table, ...]:
    """What moved, what did not, and the controls."""
    moved = moved_findings(outcome.findings)
    same = [one for one in outcome.findings if one.verdict == "SAME"]
    made = [
        _findings("moved", "What moved, the worst first", moved, outcome, notes=_notes(moved)),
        _findings("same", "What is the same", same, outcome),
        _controls(outcome.controls),
    ]
    return tuple(one for one in made if one.rows)


def _findings(
    name: str, title: str, rows: Sequence[Finding], outcome: Outcome, *, notes: Sequence[str] = ()
) -> Table:
    left = len(rows) - MOST_ROWS
    more = [f"{left} rows more are in {OUTCOME_FILE}."] if left > 0 else []
    return Table(
        name=name,
        title=title,
        columns=FINDINGS,
        rows=tuple(_row(one) for one in rows[:MOST_ROWS]),
        caption=_caption(outcome),
        notes=(*notes, *more),
    )


def _row(one: Finding) -> tuple[Value, ...]:
    return (
        one.verdict,
        one.cell,
        one.quantity,
        amount(one.before, one.unit),
        amount(one.after, one.unit),
        None if one.ratio is None else Interval(one.ratio, one.low, one.high),
        one.reason,
    )


def _controls(controls: Sequence[Control]) -> Table:
    return Table(
        name="controls",
        title="Controls: questions whose answers are known",
        columns=CONTROLS,
        rows=tuple(
            (
                one.name,
                one.cell,
                one.expected,
                one.verdict if one.holds else Mark("this machine cannot decide", one.verdict),
                None if one.ratio is None else Interval(one.ratio, one.low, one.high),
                one.reason,
            )
            for one in controls
        ),
    )


def _notes(rows: Sequence[Finding]) -> tuple[str, ...]:
    said = {one.verdict for one in rows}
    meant = [f"{verdict}: {text}." for verdict, text in MEANINGS.items() if verdict in said]
    return (RATIO, *meant)


def _caption(outcome: Outcome) -> str:
    where = outcome.head.environment
    machine = f"; {describe_machine(where)}" if where else ""
    return f"Base {_side(outcome.base)}, head {_side(outcome.head)}{machine}."


def _side(side: SideRecord) -> str:
    dirty = "-dirty" if (side.commit or "").endswith("-dirty") else ""
    commit = f" ({side.commit[:10]}{dirty})" if side.commit else ""
    return f"{side.name}{commit}"


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
    parts = [f"## {markdown.escape(headline(outcome))}", ""]
    for table in outcome_tables(outcome):
        text = markdown.to_markdown(table)
        if table.name == "same":
            title = f"{table.title}: {len(table.rows)}"
            text = f"<details><summary>{title}</summary>\n\n{text}\n</details>\n"
        parts.append(text)
    said = [*outcome.rules, environment_changes(outcome)]
    said += [f"Made by: {outcome.command}"] if outcome.command else []
    parts += [f"- {markdown.escape(text)}" for text in said if text]
    return "\n".join(parts) + "\n"


def write_reports(outcome: Outcome, folder: Path) -> str:
    """Write every form into a folder: the outcome, summary.md, junit.xml and JSON for two tools; give the summary."""
    from reports.gate import action_benchmark, junit, pytest_benchmark

    write_outcome(outcome, folder)
    (folder / "pytest-benchmark").mkdir(exist_ok=True)
    text = job_summary(outcome)
    files = {
        "summary.md": text,
        "junit.xml": junit.render(outcome),
        "github-action-benchmark.json": json.dumps(action_benchmark.entries(outcome), indent=1),
    }
    for side in ("base", "head"):
        report = pytest_benchmark.side_report(outcome, side)
        files[f"pytest-benchmark/{side}.json"] = json.dumps(report, indent=1)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    return text
