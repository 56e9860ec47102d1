"""On the path of a process, this gives it a pretended GPU from its start; see `tests.pretended_gpu`."""

import sys

from tests.pretended_gpu import PretendedGpu

if any("spawn_main" in argument or argument == "--look" for argument in sys.orig_argv):
    entered = PretendedGpu().installed()  # a process that measures
    entered.__enter__()
elif any(argument.startswith("bench.") for argument in sys.orig_argv):
    entered = PretendedGpu().answering()  # one that starts such processes, and executes nothing
    entered.__enter__()
