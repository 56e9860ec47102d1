"""Counts and predictions without execution."""

from bench.predict.cross_check import small_counts
from bench.predict.fits import find_fits
from bench.predict.live_memory import predict_memory
from bench.predict.predict import make_fake, predict_cell
from bench.predict.released_scripts import measured_memory, sequence_of, wall_times
