"""Estimated times of kernels on known GPUs, and how far they are from kernels that others timed."""

from bench.estimate.errors import Checked, error_rows, errors_of, fit_all, left_out_errors
from bench.estimate.estimator import BEFORE_SHAPES, Estimate, Estimator
from bench.estimate.fit import fitted_table
from bench.estimate.kernels import Coefficient, coefficients
from bench.estimate.timings import read_timings
