"""Measurements of executed calls: time, memory, kernels, ceilings."""
