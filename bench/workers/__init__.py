"""Worker processes: each gives an answer, or a failure with its reason."""

from bench.workers.child import ask_in_fork
from bench.workers.fork_server import ForkServer, can_fork, leave_core
from bench.workers.imports import Fence, ForeignModuleError
from bench.workers.worker import Worker, end_all
