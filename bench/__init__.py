"""Measuring: cells in, records out."""

import json
import sys
from importlib import metadata
from pathlib import Path

COMMAND = "ann-bench"


def called(program: str) -> str:
    """How a program is started here: `ann-bench efficiency` where that was, else `python -m bench.efficiency`."""
    if __name__ != "bench" or Path(sys.argv[0]).stem == COMMAND:  # a wheel's, or a clone's command
        return f"{COMMAND} {program}"
    return "python -m reports" if program == "report" else f"python -m bench.{program}"


def installed_from() -> tuple[str, str | None]:
    """Where pip or uv had the suite from, as they take it, and its commit; neither of an index or a clone (PEP 610)."""
    try:
        text = metadata.distribution(COMMAND).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        text = None
    place = json.loads(text) if text else {}
    vcs = place.get("vcs_info", {})
    url = place.get("url", "")
    if vcs:
        url = "@".join(filter(None, (f"{vcs['vcs']}+{url}", vcs.get("requested_revision"))))
    return url, vcs.get("commit_id")
