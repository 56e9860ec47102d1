"""Interleaved A/B comparison of two arms; torch is loaded by what executes or compares outputs."""

from importlib import import_module
from typing import TYPE_CHECKING

from bench.compare.compare import (
    BESIDE_ROUNDS,
    OnStep,
    arm_record,
    compare_arms,
    play_match,
)
from bench.compare.rounds import Match, Name, Settings, arm_servers, server_of
from bench.compare.trials import real_trials, recorded_noise, simulated_trials
from bench.compare.turns import (
    ArmDevice,
    ArmTask,
    refill,
    take_turns,
    thread_variables,
)

if TYPE_CHECKING:
    from bench.compare.outputs import (
        OUTPUTS,
        STRUCTURE,
        Plain,
        compare_outputs,
        compare_tensors,
        plain,
        plain_outputs,
    )

_OF_OUTPUTS = (
    *("OUTPUTS", "STRUCTURE", "Plain", "compare_outputs", "compare_tensors"),
    *("plain", "plain_outputs"),
)


def __getattr__(name: str) -> object:
    if name not in _OF_OUTPUTS:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.outputs"), name)
