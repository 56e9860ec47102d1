"""Workflow commands that put each regression beside the change on GitHub.

Syntax and escapes: docs.github.com, "Workflow commands for GitHub Actions"; the escapes are those of
actions/toolkit, packages/core/src/command.ts.
"""

from bench.records import Finding, Outcome, worst_first
from reports.gate.findings import headline, sentence
from reports.render import plain

_MESSAGE = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def annotations(outcome: Outcome) -> str:
    """An error for each regression, the worst first; a warning where nothing could be decided."""
    lines = [_error(one) for one in worst_first(outcome.findings) if one.is_worse]
    if outcome.undecided and not lines:
        lines.append(f"::warning title=Not decided::{_message(headline(outcome))}")
    return "".join(f"{line}\n" for line in lines)


def _error(one: Finding) -> str:
    title = plain(f"{one.verdict}: {one.cell}, {one.quantity}").translate(_PROPERTY)
    return f"::error title={title}::{_message(f'{sentence(one)}. {one.reason}')}"


def _message(text: str) -> str:
    return plain(text).translate(_MESSAGE)
