"""The one object that a command writes with `--json`; `docs/json.md` describes it."""

import sys
from pathlib import Path
from typing import Literal

from pydantic import Field

from bench.records import Comparison, EstimateErrors, Fit, Model, Outcome, Record, Trials
from bench.shell.ending import command_line
from bench.shell.kinds import KindResult


class TableData(Model):
    """A table as it would have been printed, in base units; numbers as text, empty where there is none."""

    name: str
    title: str
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class CommandOutput(Model):
    """What a command has done; fields that it has nothing for are left out."""

    schema_version: Literal[1] = Field(description="of this object; another one is another form")
    command: str = Field(description="the command line")
    status: int = Field(description="exit status, as exit_statuses.md has them")
    folder: str | None = Field(None, description="where records and reports are")
    page: str | None = Field(None, description="the page that was written")
    records: tuple[Record, ...] = Field((), description="predicted and measured cells")
    comparisons: tuple[Comparison, ...] = Field((), description="arms that took turns")
    fits: tuple[Fit, ...] = Field((), description="largest maps and batches on devices")
    outcome: Outcome | None = Field(None, description="what the gate found")
    estimate_errors: tuple[EstimateErrors, ...] = Field((), description="how far off estimates are")
    trials: tuple[Trials, ...] = Field((), description="how known comparisons ended")
    looked_at: tuple[KindResult, ...] = Field((), description="kinds of cells that were tried")
    tables: tuple[TableData, ...] = Field((), description="the tables that it would have printed")


def write_output(
    status: int, *, folder: Path | None = None, page: Path | None = None, **results: object
) -> None:
    """Write the object of this call; `results` are further fields of `CommandOutput`."""
    places = {"folder": folder, "page": page}
    fields = {
        "schema_version": 1,
        "command": command_line(),
        "status": status,
        **{name: str(place) for name, place in places.items() if place is not None},
        **results,
    }
    output = CommandOutput.model_validate(fields)
    sys.stdout.write(output.model_dump_json(exclude_defaults=True) + "\n")
