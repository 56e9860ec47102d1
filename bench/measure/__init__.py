"""Measurements of executed calls: time, memory, kernels, ceilings."""

from bench.measure.collect import CallClock, HostClock, collector_off
from bench.measure.cuda_stream import Gpu, TorchGpu
from bench.measure.cuda_timer import LAUNCH_S, LONGEST_HOLD_S, QUEUE_S
from bench.measure.nvml import current_nvml, waiting
