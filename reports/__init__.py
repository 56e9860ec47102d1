"""Records in, tables and figures out; loads without torch.

This is the door for commands. What stands here is imported when it is first used, so that `--help` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.blocks import validation_tables
    from reports.console import (
        LivePage,
        drawn,
        formatted,
        show,
        write_report,
    )
    from reports.gate import (
        annotations,
        comparison_tables,
        headline,
        history_sentence,
        measured_lines,
        outcome_tables,
        read_series,
        trials_table,
        write_history,
        write_reports,
    )
    from reports.model import Table
    from reports.render import tables_as_data
    from reports.report import (
        call_errors,
        efficiency_report,
        evaluation_report,
        fit_report,
        gallery_report,
        prediction_report,
        training_report,
    )

_HOMES = {
    "blocks": ("validation_tables",),
    "console": ("LivePage", "drawn", "formatted", "show", "write_report"),
    "gate": (
        *("annotations", "comparison_tables", "headline", "history_sentence", "measured_lines"),
        *("outcome_tables", "read_series", "trials_table", "write_history", "write_reports"),
    ),
    "render": ("tables_as_data",),
    "report": (
        *(
            "call_errors",
            "efficiency_report",
            "evaluation_report",
            "fit_report",
            "gallery_report",
            "prediction_report",
            "training_report",
        ),
    ),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
