"""Arithmetic on records: statistics, the sign test, devices and rooflines; no torch."""

from bench.analysis.confusion import IGNORE, class_iou, mean_iou, pixel_accuracy
from bench.analysis.devices import (
    ARCHITECTURES,
    DEVICES,
    USUAL_DEVICES,
    Ceilings,
    Chip,
    Datasheet,
    find_device,
    recognise_device,
)
from bench.analysis.operating import PLANTED, scatter
from bench.analysis.roofline import (
    FUSING,
    IEEE,
    Floor,
    Policy,
    ceiling_rate,
    floor_total_s,
    floors,
    least_share,
    measured_ceilings,
    policy_of,
    product_format,
)
from bench.analysis.sign_test import (
    EXPECTED,
    LEVEL,
    MARGIN,
    ROUNDS,
    Decision,
    decide,
    decide_comparison,
    decide_controls,
    fewest_rounds,
    is_decided,
    judge_rounds,
    log_ratio,
    memory_of,
    rounds_of,
    rule_of,
    setting_of,
)
from bench.analysis.simulation import STRETCH, arm_noise, exact_interval, simulate
from bench.analysis.statistics import (
    MIN_SAMPLES,
    MedianInterval,
    below_share,
    is_conclusive,
    median_interval,
    without_rejected,
)
from bench.analysis.workspaces import (
    CONTEXT_BYTES,
    DRIVER_SHARE,
    WORKSPACE_NOTES,
    cublas_bytes,
    usable_bytes,
)
