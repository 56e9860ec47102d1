"""Fitting the model's coefficients to timings, and how far estimates of a device that was left out are off.

Each device and class has the same weight, however many rows it has; a few rows that nothing explains
don't bend the rest (soft L1 of the logarithm). Rows are picked evenly from the file, so that the same
rows give the same coefficients.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, replace

import numpy as np
from numpy.typing import NDArray

from bench.estimate.kernels import Coefficient, coefficients, kernel_model
from bench.estimate.times import estimated
from bench.estimate.timings import Kernels

# What is fitted one after the other, and on which classes; later ones use what was fitted before.
STAGES = (
    (("rows", "softmax", "layer norm"), ("softmax", "layer norm", "element-wise")),
    (("products",), ("bmm", "linear")),
    (("convolution",), ("convolution",)),
)
NOT_FITTED = "not fitted"
MOST_ROWS = 600
# Of a device and class with fewer rows each row has the weight of one of so many.
FEWEST_ROWS = 200
SCALE = 0.1
# Where rows do not tell, the least work a joule is taken: a maker gives a card the power that its chip needs.
PULLS = {"work_per_joule": 5e10}
NEAR = {"narrow_batched_volta": "narrow_batched"}
PULL = 0.03
START = 0.4


def fit(kernels: Sequence[Kernels]) -> dict[str, float]:
    """Fit every coefficient that has rows to tell it; the others stay as they are kept.

    Raises:
        ValueError: there are no rows.
    """
    if not kernels:
        msg = (
            "there are no rows to fit to; give timings of at least one device that is not left out"
        )
        raise ValueError(msg)
    model = kernel_model()
    for parts, classes in STAGES:
        groups = [_thinned(group) for group in kernels if group.of in classes]
        if groups:
            _fit_stage(
                model,
                groups,
                [
                    name
                    for name, c in coefficients().items()
                    if c.of in parts and not c.source.startswith(NOT_FITTED)
                ],
            )
    return model


def _thinned(group: Kernels) -> Kernels:
    count = min(len(group), MOST_ROWS)
    return group.pick(np.linspace(0, len(group) - 1, count).round().astype(int))


def _fit_stage(model: dict[str, float], groups: Sequence[Kernels], names: Sequence[str]) -> None:
    known = coefficients()
    low, high = (np.array([getattr(known[name], end) for name in names]) for end in ("low", "high"))
    start = low + START * (high - low)
    weights = [1 / np.sqrt(max(len(group), FEWEST_ROWS)) for group in groups]

    def misses(values: NDArray[np.float64]) -> NDArray[np.float64]:
        tried = {**model, **dict(zip(names, values, strict=True))}
        parts = [
            weight * np.log(estimated(group, tried).time_s / group.measured_s)
            for weight, group in zip(weights, groups, strict=True)
        ]
        pulls = [np.log(tried[name] / aim) for name, aim in PULLS.items() if name in names]
        near = [tried[name] - tried[other] for name, other in NEAR.items() if name in names]
        return np.concatenate([*parts, PULL * np.array([*pulls, *near])])

    from scipy.optimize import least_squares  # half a second to load

    found = least_squares(
        misses,
        start,
        bounds=(low, high),
        loss="soft_l1",
        f_scale=SCALE / np.sqrt(MOST_ROWS),
        x_scale=high - low,
        max_nfev=40,
    )
    model.update(zip(names, map(float, found.x), strict=True))


def fitted_table(model: Mapping[str, float], source: str) -> str:
    """The table of coefficients as `coefficients.csv` holds it: what was fitted, and to what."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Coefficient.__dataclass_fields__)
    for name, item in coefficients().items():
        is_fitted = not item.source.startswith(NOT_FITTED)
        row = replace(item, value=model[name], source=source if is_fitted else item.source)
        writer.writerow(
            f"{value:.4g}" if isinstance(value, float) else value for value in astuple(row)
        )
    return text.getvalue()
