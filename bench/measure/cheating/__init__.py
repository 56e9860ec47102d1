"""Calls whose time would mislead: found before and after the timing, on fresh inputs; refused, or shown as a caveat."""

from bench.measure.cheating.watch import MisleadingCallError, watched, with_caveats
