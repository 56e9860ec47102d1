"""Whether a change made the measured code worse: exact gates, then time and memory by turns."""

from bench.regression.gate import run_gate
from bench.regression.planning import Plan, make_plan
from bench.regression.requests import DEFAULT_BLOCKS
from bench.regression.revisions import SideError
