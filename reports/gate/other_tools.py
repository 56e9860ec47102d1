"""An outcome as other tools read it: GitHub's annotations, github-action-benchmark, JUnit's XML, pytest-benchmark.

Annotations are workflow commands (docs.github.com, "Workflow commands for GitHub Actions"); their escapes are those of
actions/toolkit, packages/core/src/command.ts. Entries are those of github-action-benchmark's `customSmallerIsBetter`
(github.com/benchmark-action/github-action-benchmark). Field names of pytest-benchmark 5 are those of its
`Metadata.as_dict` and `Stats.as_dict`; its samples are here the medians of the rounds, each of fresh processes.
"""

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal
from xml.etree import ElementTree as ET

from bench.records import Control, Finding, Outcome, worst_first
from reports.gate.wording import PRINTED_UNITS, finding_sentence, headline, ratio_text
from reports.model import plain

MESSAGE_ESCAPES = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
PROPERTY_ESCAPES = MESSAGE_ESCAPES | str.maketrans({":": "%3A", ",": "%2C"})


def annotations(outcome: Outcome) -> str:
    """An error for each regression, the worst first; a warning for what was not examined or could not be decided."""
    lines = []
    for finding in worst_first(outcome.findings):
        if not (finding.is_worse or finding.verdict == "UNEXAMINED"):
            continue
        kind = "error" if finding.is_worse else "warning"
        title = plain(f"{finding.verdict}: {finding.cell}, {finding.quantity}")
        message = plain(f"{finding_sentence(finding)}. {finding.reason}").translate(MESSAGE_ESCAPES)
        lines.append(f"::{kind} title={title.translate(PROPERTY_ESCAPES)}::{message}\n")
    if outcome.undecided and not lines:
        message = plain(headline(outcome)).translate(MESSAGE_ESCAPES)
        lines.append(f"::warning title=Not decided::{message}\n")
    return "".join(lines)


def benchmark_entries(outcome: Outcome) -> list[dict[str, str | float]]:
    """The head's values: an entry for each quantity that has a number of which less is better."""
    entries = []
    for finding in (each for each in outcome.findings if each.quantity != "outputs"):
        if isinstance(finding.after, int | float):
            unit, scale = PRINTED_UNITS.get(finding.unit, (finding.unit or "count", 1))
            why = f"{finding.verdict}{ratio_text(finding)}; {finding.reason}"
            entry: dict[str, str | float] = {
                "name": plain(f"{finding.cell}: {finding.quantity}"),
                "unit": unit,
                "value": finding.after / scale,
                "extra": plain(why.rstrip("; ")),
            }
            if len(finding.after_rounds) > 1:
                spread = (max(finding.after_rounds) - min(finding.after_rounds)) / 2 / scale
                entry["range"] = f"\N{PLUS-MINUS SIGN} {spread:.4g}"
            entries.append(entry)
    return entries


def to_junit(outcome: Outcome) -> str:
    """Write a suite each for the exact gates, time, memory and the controls."""
    root = ET.Element("testsuites", name="bench.regress", time=f"{outcome.seconds:.3f}")
    findings = worst_first(outcome.findings)
    for kind in ("exact", "time", "memory"):
        _add_suite(root, kind, [_test_case(each) for each in findings if each.kind == kind])
    _add_suite(root, "controls", [_control_case(control) for control in outcome.controls])
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_suite(root: ET.Element, name: str, cases: list[ET.Element]) -> None:
    tags = {"failures": "failure", "errors": "error", "skipped": "skipped"}
    if cases:
        kinds = Counter(case[0].tag for case in cases if len(case))
        counts = {word: str(kinds[tag]) for word, tag in tags.items()}
        suite = ET.SubElement(root, "testsuite", {"name": name, "tests": str(len(cases)), **counts})
        suite.extend(cases)


def _test_case(finding: Finding) -> ET.Element:
    case = ET.Element("testcase", classname=plain(finding.cell), name=plain(finding.quantity))
    verdict, reason = finding.verdict, finding.reason
    message = plain(finding_sentence(finding))
    if finding.is_worse:
        ET.SubElement(case, "failure", type=verdict, message=message).text = plain(reason)
    elif verdict == "UNEXAMINED":
        error = ET.SubElement(case, "error", type=verdict, message=message)
        error.text = plain(reason)
    elif verdict in ("INCONCLUSIVE", "NEW", "SHOWN"):
        ET.SubElement(case, "skipped", message=plain(f"{verdict}: {reason}"))
    else:
        ET.SubElement(case, "system-out").text = plain(f"{message}. {reason}")
    return case


def _control_case(control: Control) -> ET.Element:
    case = ET.Element("testcase", classname=plain(control.cell), name=control.name)
    if not control.holds:
        message = f"has to read {control.expected} and reads {control.verdict}"
        error = ET.SubElement(case, "error", type="control", message=message)
        error.text = plain(control.reason)
    return case


def side_report(outcome: Outcome, side: Literal["base", "head"]) -> dict[str, Any]:
    """What `pytest --benchmark-json` would have written of that side."""
    record = outcome.base if side == "base" else outcome.head
    where, commit = record.environment, record.commit or ""
    return {
        "machine_info": {
            "processor": where.device_name if where else "",
            "machine": where.device if where else "",
            "python_version": where.python if where else "",
            "python_implementation": "CPython",
            "system": where.os if where else "",
            "torch": where.torch if where else "",
        },
        "commit_info": {
            "id": commit.removesuffix("-dirty") or "unversioned",
            "dirty": commit.endswith("-dirty"),
            "project": "bench.regress",
        },
        "benchmarks": [
            _benchmark(finding, finding.before_rounds if side == "base" else finding.after_rounds)
            for finding in outcome.findings
            if finding.kind == "time" and finding.before_rounds and finding.after_rounds
        ],
        "datetime": outcome.created_at,
        "version": "5.1.0",  # of its format
    }


def _benchmark(finding: Finding, rounds: Sequence[float]) -> dict[str, Any]:
    name = f"{finding.cell}: {finding.quantity}"
    return {
        "group": plain(finding.cell),
        "name": plain(name),
        "fullname": plain(f"bench.regress::{name}"),
        "params": None,
        "param": None,
        "extra_info": {"verdict": finding.verdict, "ratio": finding.ratio},
        "options": {
            "disable_gc": True,
            "timer": plain(finding.quantity),
            "min_rounds": len(rounds),
            "max_time": 0.0,
            "min_time": 0.0,
            "warmup": True,
        },
        "stats": _stats(sorted(rounds), launches=finding.launches),
    }


def _stats(rounds: Sequence[float], *, launches: int) -> dict[str, Any]:
    median, mean = statistics.median(rounds), statistics.fmean(rounds)
    several = len(rounds) > 1
    deviation = statistics.stdev(rounds) if several else 0.0
    quartiles = statistics.quantiles(rounds, n=4, method="inclusive") if several else [median] * 3
    low, _, high = quartiles
    reach = 1.5 * (high - low)
    inside = [value for value in rounds if low - reach <= value <= high + reach]
    beyond = sum(not mean - deviation <= value <= mean + deviation for value in rounds)
    return {
        "min": rounds[0],
        "max": rounds[-1],
        "mean": mean,
        "stddev": deviation,
        "rounds": len(rounds),
        "median": median,
        "iqr": high - low,
        "q1": low,
        "q3": high,
        "iqr_outliers": len(rounds) - len(inside),
        "stddev_outliers": beyond,
        "outliers": f"{beyond};{len(rounds) - len(inside)}",
        "ld15iqr": inside[0],
        "hd15iqr": inside[-1],
        "ops": 1 / mean,
        "total": sum(rounds),
        "iterations": launches,
        "data": list(rounds),
    }
