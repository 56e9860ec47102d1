"""What stands for a process that measures, so that it starts at once: it does what the name of a cell says."""

import os
import signal

from bench.records.record import Failure, Measures


def serve():
    """Answer as `bench.run.process.measure_cells` does."""
    task = yield
    while True:
        name = task.cell.name
        if name == "dies":
            os._exit(3)
        if name == "hangs":
            signal.pause()
        kind, goes_on = {
            "fails": ("failure", False),
            "lacks": ("failure", True),
            "no graph": ("measures", False),
        }.get(name, ("measures", True))
        if kind == "failure":
            outcome = Failure(kind="error", reason=str(os.getpid()))
        else:
            outcome = Measures(printed={"pid": os.getpid()})
        if not goes_on:
            return outcome
        if name == "dies later":
            signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        task = yield outcome
