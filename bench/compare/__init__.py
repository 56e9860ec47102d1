"""Interleaved A/B comparison of two arms."""

from bench.compare.compare import BESIDE_ROUNDS, Settings, both_fit, compare_arms, compare_outputs
from bench.compare.rounds import ArmError, Manner, Match
from bench.compare.turns import ArmDevice, ArmTask, Ready, refill, save_outputs, serve, threads
