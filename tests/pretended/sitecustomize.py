"""On the path of a process, this gives it a pretended GPU from its start; see `tests.pretended_gpu`."""

import sys

from tests.pretended_gpu import PretendedGpu

MEASURING = ("bench.workers.child", "spawn_main", "--look")
if any(name in argument for argument in sys.orig_argv for name in MEASURING):
    entered = PretendedGpu().installed()  # a process that measures
    entered.__enter__()
elif any(argument.startswith("bench.") for argument in sys.orig_argv):
    entered = PretendedGpu().answering()  # one that starts such processes, and executes nothing
    entered.__enter__()
