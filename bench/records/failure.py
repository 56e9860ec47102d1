"""Failures of processes: what an error, a death or a limit is called, in one place for all of them."""

import errno
import re
import signal
from collections.abc import Iterable
from pathlib import Path
from traceback import walk_tb
from types import FrameType

from bench.records.code import PACKAGES, is_standard
from bench.records.record import Failure

# What libraries say about memory in an error that has no type of its own.
NO_MEMORY = (
    "can't allocate memory",
    "Cannot allocate memory",
    "bad_alloc",
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)

# In a wheel the suite is one package, beside which `bench` and the like are somebody's own.
SUITE = __name__.partition(".")[0]
OURS = ("ann", *(("bench", "experiments", "reports") if SUITE == "bench" else (SUITE,)))
LONGEST = 300  # characters of an error's text
# How errors of scripted modules begin, whatever happened.
SCRIPTED = "The following operation failed in the TorchScript interpreter"
NEEDS_VALUES = (
    "; it needs values, and a prediction has none: it can be measured (--device cpu or cuda)"
)
# What torch's errors don't say.
ADVICE = {
    r"Tensor\.item\(\) cannot be called on meta tensors": NEEDS_VALUES,
    r"\.(numpy|tolist)\(\) is not supported for tensor subclasses": NEEDS_VALUES,
    r"register_meta function for torch\.nonzero\(\)": NEEDS_VALUES,
    "cannot repeat_interleave a meta tensor without output_size": NEEDS_VALUES,
    "attempted to run this operator with Meta tensors, but there was no fake impl": NEEDS_VALUES,
    "We could not find the fake impl for this operator": NEEDS_VALUES,
    "Expected more than 1 value per channel when training": "; a norm of one value can't train, pass --batch 2",
}
MISSING_INPUTS = re.compile(r"forward\(\) missing (\d+) required positional argument")


def exit_failure(code: int | None, last_words: str = "") -> Failure:
    """Why a process has no answer, by its exit status and the last line that it wrote."""
    killed = code == -signal.SIGKILL
    if killed:
        reason = "the process was killed (signal 9); the machine was most likely out of memory"
    elif code is not None and code < 0:
        reason = f"the process died of signal {-code} ({signal.strsignal(-code)})"
    else:
        reason = f"the process died with exit status {code}"
    reason = f"{reason}: {last_words}" if last_words else reason
    return Failure(kind="out-of-memory" if killed else "error", reason=reason)


def timeout_failure(limit_s: float) -> Failure:
    """Why a process was ended before its answer."""
    return Failure(kind="timeout", reason=f"not done after {limit_s:.0f} s; ended")


def start_failure(error: OSError) -> Failure:
    """Why there is no process."""
    full = error.errno == errno.ENOMEM
    reason = f"no process could be started for it: {error.strerror}"
    return Failure(kind="out-of-memory" if full else "error", reason=reason)


def error_failure(error: BaseException) -> Failure:
    """Say what went wrong in a process, lack of memory and of a device's abilities apart."""
    # By name, as torch itself may be what did not fit.
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    full = full or any(words in str(error) for words in NO_MEMORY)
    if type(error).__name__ == "UnavailableError":  # of ann.implementations
        return Failure(kind="unavailable", reason=one_line(error))
    return Failure(kind="out-of-memory" if full else "error", reason=one_line(error))


def one_line(error: BaseException) -> str:
    """Name, text and place of an error, short enough for a table's note.

    The place is the last line of somebody's own code that the error came through, and where that called a
    library other than torch the last line in there. A ValueError of this suite is its text, which says what to do.
    """
    frames = _frames(error)
    text = _first_words(str(error))
    if not (
        text and isinstance(error, ValueError) and (not frames or _package(frames[-1][0]) in OURS)
    ):
        text = f"{type(error).__name__}: {text}" if text else f"{type(error).__name__} (no text)"
    hint = next((advice for words, advice in ADVICE.items() if re.search(words, str(error))), "")
    if missing := MISSING_INPUTS.search(str(error)):
        inputs = 1 + int(missing[1])
        hint = f"; --inputs {inputs} gives it {inputs} maps"
    places = ", in ".join(_places(frames))
    return f"{text}{hint}{f' ({places})' if places else ''}"


def _first_words(text: str) -> str:
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    if lines[0].startswith(SCRIPTED):  # the operator's own error is the last line
        return lines[-1][:LONGEST]
    return (" ".join(lines[:2]) if lines[0].endswith(":") else lines[0])[:LONGEST]


def _frames(error: BaseException | None) -> list[tuple[FrameType, int]]:
    """Frames that an error came through with their lines, the innermost last; of its cause where it has none."""
    frames: list[tuple[FrameType, int]] = []
    while error is not None and not frames:
        frames = list(walk_tb(error.__traceback__))
        error = error.__cause__
    return frames


def _places(frames: Iterable[tuple[FrameType, int]]) -> list[str]:
    """The innermost line of somebody's own, and the innermost below it of a library."""
    own, library = "", ""
    for frame, line in frames:
        path = Path(frame.f_code.co_filename)
        if _package(frame) in (*OURS, "torch") or not path.is_absolute() or is_standard(path):
            continue
        packages = next((at for at, part in enumerate(path.parts) if part in PACKAGES), None)
        if packages is None:
            here = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            own, library = f"{here}, line {line}", ""
        else:
            library = f"{Path(*path.parts[packages + 1 :])}, line {line}"
    return [place for place in (own, library) if place]


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
