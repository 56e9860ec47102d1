"""Paths that are not there, and what they were meant for."""

import difflib
from pathlib import Path


def nearest_path(path: Path) -> str:
    """Ask whether a path that is not there was meant for one that is; nothing where none is called nearly so."""
    missing = next((each for each in (*reversed(path.parents), path) if not each.exists()), path)
    folder = missing.parent
    beside = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    near = difflib.get_close_matches(missing.name, beside, n=1)
    if not near:
        return ""
    whole = folder / near[0] / path.relative_to(missing)
    return f"did you mean {str(whole if whole.exists() else folder / near[0])!r}? "


def require_path(path: Path, what: str) -> None:
    """Refuse a folder or file that is not there.

    Raises:
        ValueError: it is not; the message has the nearest one, and what to give.
    """
    if not path.exists():
        msg = f"{str(path)!r} does not exist; {nearest_path(path)}give {what}"
        raise ValueError(msg)
