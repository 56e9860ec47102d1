"""Why something has no reading: what an error or the death of a process is called, in one place for all of them."""

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


def exit_failure(code: int | None) -> Failure:
    """Why a process has no answer, by its exit status."""
    if code == -signal.SIGKILL:
        reason = "the process was killed (signal 9); the machine was most likely out of memory"
        return Failure(kind="out-of-memory", reason=reason)
    if code is not None and code < 0:
        reason = f"the process died of signal {-code} ({signal.strsignal(-code)})"
        return Failure(kind="error", reason=reason)
    return Failure(kind="error", reason=f"the process died with exit status {code}")


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
