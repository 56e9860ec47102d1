"""Interleaved A/B comparison of two arms."""

from bench.compare.compare import (
    BESIDE_ROUNDS,
    OnStep,
    arm_record,
    compare_arms,
    compare_outputs,
    play_match,
)
from bench.compare.rounds import Match, Name, Settings
from bench.compare.turns import (
    ArmDevice,
    ArmTask,
    refill,
    save_outputs,
    take_turns,
    thread_variables,
)
