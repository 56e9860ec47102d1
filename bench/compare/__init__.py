"""Interleaved A/B comparison of two arms."""

from bench.compare.compare import (
    BESIDE_ROUNDS,
    OnStep,
    arm_record,
    compare_arms,
    compare_outputs,
    play_match,
)
from bench.compare.rounds import Match, Name, Settings, arm_servers, server_of
from bench.compare.trials import real_trials, recorded_noise, simulated_trials
from bench.compare.turns import (
    ArmDevice,
    ArmTask,
    refill,
    save_outputs,
    take_turns,
    thread_variables,
)
