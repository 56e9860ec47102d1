"""What commands write of tables: drawn by rich, on standard output, as text in a format, as files."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console, Group, RenderableType

from bench.records import Model, Record, uncounted_calls
from reports.model import Table
from reports.render import FILE_FORMATS, TerminalTable

# Seconds after which the page of a run is there at the latest, and which lie between two of it at least.
FIRST_S = 30.0
# Share of the time that its pages may take.
SHARE = 0.02


def drawn(tables: Iterable[Table]) -> RenderableType:
    """Tables as rich shows them."""
    return Group(*map(TerminalTable, tables))


def show(tables: Iterable[Table]) -> None:
    """Print tables to standard output, at the terminal's width or, where it is none, wide enough for them."""
    console = Console()
    if not console.is_terminal:
        console.width = 140
    for table in tables:
        console.print(drawn([table]))
        console.print()
    console.file.flush()


def formatted(records: Sequence[Model], tables: Iterable[Table], form: str) -> str:
    """Records as JSON, or tables as Markdown, LaTeX or CSV."""
    if form == "json":
        return f"[\n{','.join(map(_json, records))}\n]\n"
    _, render = FILE_FORMATS[form]
    return "\n".join(map(render, tables))


def _json(record: Model) -> str:
    """A record as JSON; beside its counts the operators that are in none of them."""
    if not (isinstance(record, Record) and record.measures.counts):
        return record.model_dump_json(exclude_defaults=True)
    lacking = uncounted_calls(record.measures.counts.ledger)
    if not lacking:
        return record.model_dump_json(exclude_defaults=True)
    whole = record.model_dump(mode="json", exclude_defaults=True)
    whole["measures"]["counts"]["uncounted"] = lacking
    return json.dumps(whole)


class LivePage:
    """The page of a run that goes on: written again as records come, as long as that takes little of its time."""

    def __init__(
        self, records: Path, out: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.records, self.out = records, out
        self._clock, self._began_s = clock, clock()
        self._written_s: float | None = None
        self._cost_s, self._failed = 0.0, False

    def is_due(self, *, whole: bool) -> bool:
        """Whether to write it now; `whole` says that something is complete for the first time, as all predictions."""
        now_s = self._clock()
        if self._written_s is None:
            return whole or now_s - self._began_s >= FIRST_S
        return now_s - self._written_s >= max(FIRST_S, self._cost_s / SHARE)

    def write(self, words: Sequence[str]) -> None:
        """Write page and tables, with sentences about the run above all others; each file changes whole.

        A table that can't be made of what is there so far ends no run: the page stays as it is, and standard error says
        why, once. Without room for it, an OSError, there is none for records either.
        """
        began_s = self._clock()
        try:
            self._write(words)
        except OSError:
            raise
        except Exception as error:  # noqa: BLE001  # somebody's own table may raise anything
            if not self._failed:
                why = f"{type(error).__name__}: {error}"
                sys.stderr.write(f"The page can't be written yet ({why}); the run goes on.\n")
            self._failed = True
        self._written_s = self._clock()
        self._cost_s = self._written_s - began_s

    def _write(self, words: Sequence[str]) -> None:
        from reports.__main__ import WRITTEN_FORMATS, write_files
        from reports.report import build_report

        report = build_report(self.records)
        summary = (*words, *report.summary)
        write_files(replace(report, summary=summary), WRITTEN_FORMATS, self.out)


def write_report(records: Path, out: Path, *, quiet: bool = False) -> int:
    """Write every table, figure and page that records support, and print tables; return the exit status."""
    from reports.__main__ import main

    return main([str(records), "--out", str(out), *(["--quiet"] if quiet else [])])
