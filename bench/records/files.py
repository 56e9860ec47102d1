"""Files written whole or not at all, and models as JSON Lines, one a line."""

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Model(BaseModel):
    """Frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Line = TypeVar("Line", bound=Model)
# What one thread is writing looks to another like a torn line.
_APPENDING = threading.Lock()


def write_whole(
    path: Path,
    content: bytes | memoryview,
    *,
    failure: str = "could not be written ({}); make room and call again",
) -> None:
    """Put a file in the place of the one before, in one step; its folder is made.

    A process that dies or a disk that fills up on the way leaves the earlier file as it was. The
    message of an OSError names the file and says `failure`, where braces stand for the system's reason.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        msg = f"{path}: {failure.format(error.strerror)}"
        raise OSError(error.errno, msg) from error
    finally:
        with suppress(OSError):  # it is there only if something went wrong
            unfinished.unlink()


def append_line(path: Path, model: Model) -> None:
    """Add one record to a JSON Lines file, whole or not at all.

    One write of one line under O_APPEND, synchronised; a torn last line of a killed run is cut off
    first. The message of an OSError names the file, whose records are kept.
    """
    line = (model.model_dump_json(exclude_defaults=True) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _APPENDING:
            _append(path, line)
    except OSError as error:
        msg = (
            f"{path}: the record could not be written ({error.strerror}); make room or choose another "
            "folder and call again, finished records are kept"
        )
        raise OSError(error.errno, msg) from error


def _append(path: Path, line: bytes) -> None:
    with path.open("ab+", buffering=0) as file:
        before = file.seek(0, os.SEEK_END)
        file.seek(max(0, before - 1))
        if file.read() not in (b"", b"\n"):
            file.seek(0)
            before = file.truncate(file.read().rfind(b"\n") + 1)
        try:
            # On a full disk a write may end in the middle; the next one says why.
            while line:
                line = line[os.write(file.fileno(), line) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(before)
            raise


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Read the whole lines of a file, each with where it stands; what is no text is a ValueError."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        msg = f"{path}: not text ({error.reason} at byte {error.start}); records are JSON Lines in UTF-8"
        raise ValueError(msg) from error
    for number, line in enumerate(text.split("\n")[:-1], start=1):
        if line.strip():
            yield f"{path}:{number}", line


def parse_line(model: type[Line], line: str, *, where: str) -> Line:
    """Read one line as a model, or raise a ValueError that names the place and the first fault."""
    try:
        return model.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        field = ".".join(map(str, fault["loc"])) or "the line"
        msg = (
            f"{where}: {field}: {fault['msg']}, got {json.dumps(fault['input'], default=str)[:80]}"
            f"; no {model.__name__.lower()} of this suite; take the file away, or mend the line"
        )
        raise ValueError(msg) from error


def read_models(model: type[Line], files: Iterable[Path]) -> tuple[Line, ...]:
    """Read the whole lines of files as models; errors are those of `read_lines` and `parse_line`."""
    return tuple(
        parse_line(model, line, where=where) for file in files for where, line in read_lines(file)
    )
