"""Failures of processes: what an error, a death or a limit is called, in one place for all of them."""

import errno
import signal

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


def error_failure(error: Exception) -> Failure:
    """Say what went wrong in a process, lack of memory and of a device's abilities apart."""
    # By name, as torch itself may be what did not fit.
    full = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    full = full or any(words in str(error) for words in NO_MEMORY)
    if type(error).__name__ == "UnavailableError":  # of ann.implementations
        return Failure(kind="unavailable", reason=one_line(error))
    return Failure(kind="out-of-memory" if full else "error", reason=one_line(error))


def one_line(error: Exception) -> str:
    """Name and first line of an error, short enough for a table's note."""
    text = str(error).strip().split("\n", 1)[0][:300]
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"
