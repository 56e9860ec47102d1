"""How far estimates and floors are from what others measured, and how often the interval held it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ann.spec import unknown
from bench.estimate.fit import fit
from bench.estimate.kernels import Numbers, coefficients, interval_of, kernel_model
from bench.estimate.times import estimated, floor_s, reached_ceilings
from bench.estimate.timings import CLASSES, Kernels
from bench.records import ALL_DEVICES, EstimateErrors

NOMINAL = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """Measured times with what was said of them, in seconds and of one length: of one class on one device.

    `reached_s` is the estimate by the device's own ceilings, None where they are not known.
    """

    device: str
    of: str
    measured_s: Numbers
    estimate_s: Numbers
    low_s: Numbers
    high_s: Numbers
    floor_s: Numbers
    reached_s: Numbers | None = None


def errors_of(
    kernels: Sequence[Kernels], model: Mapping[str, float] | None = None, source: str = ""
) -> tuple[EstimateErrors, ...]:
    """Errors of estimates by a model; without one by the kept coefficients, as `--predict` gives them."""
    if model is None:
        model, source = kernel_model(), coefficients()["product_share"].source
    checked = [item for own in _by_device(kernels).values() for item in _check(own, model)]
    return error_rows(checked, source=source)


def left_out_errors(
    kernels: Sequence[Kernels], devices: Sequence[str] = ()
) -> tuple[EstimateErrors, ...]:
    """Errors of estimates of each device, or of some, by coefficients and intervals that were fitted without it.

    Raises:
        ValueError: there is one device alone, or one has no rows.
    """
    chosen = _titles(kernels, devices)
    models = left_out(kernels)
    checked = [
        item
        for title, own in _by_device(kernels).items()
        if title in chosen
        for item in _check(own, {**models[title], **intervals(kernels, models, without=title)})
    ]
    return error_rows(checked, left_out=True)


def _titles(kernels: Sequence[Kernels], names: Sequence[str]) -> set[str]:
    """Titles of devices by what people or torch call them, of all if none is named."""
    titles = {
        name.casefold(): group.device.title
        for group in kernels
        for name in (group.device.title, *group.device.reported)
    }
    for name in names:
        if name.casefold() not in titles:
            msg = unknown("device", name, [*dict.fromkeys(titles.values())])
            raise ValueError(msg)
    return {titles[name.casefold()] for name in names} or {*titles.values()}


def _by_device(kernels: Iterable[Kernels]) -> dict[str, list[Kernels]]:
    groups: dict[str, list[Kernels]] = {}
    for group in kernels:
        groups.setdefault(group.device.title, []).append(group)
    return groups


def left_out(kernels: Sequence[Kernels]) -> dict[str, dict[str, float]]:
    """Fit once for each device, without it.

    Raises:
        ValueError: there is one device alone.
    """
    titles = [*_by_device(kernels)]
    if len(titles) < 2:
        msg = f"{', '.join(titles)} alone has rows, so that nothing is left to fit to; add rows of another device"
        raise ValueError(msg)
    return {
        title: fit([group for group in kernels if group.device.title != title]) for title in titles
    }


def fit_all(kernels: Sequence[Kernels]) -> tuple[dict[str, float], str]:
    """Fit to all rows, take the intervals from devices that are left out, and say to what it was fitted.

    Raises:
        ValueError: there is one device alone.
    """
    ends = intervals(kernels, left_out(kernels))
    titles = ", ".join(_by_device(kernels))
    return {**fit(kernels), **ends}, f"fitted to {sum(map(len, kernels))} kernels of {titles}"


def intervals(
    kernels: Sequence[Kernels], models: Mapping[str, Mapping[str, float]], *, without: str = ""
) -> dict[str, float]:
    """What an estimate is to be multiplied by for the ends of its interval, from devices that were left out.

    A new device is off as a whole, and each of its kernels from that. The first is Student's, about zero, from the
    medians of the devices; the second is seen, each device with the same weight; both are added as squares of the
    logarithms. `without` leaves one more device out, for its own coverage.
    """
    ends: dict[str, float] = {}
    for name in CLASSES:
        devices: dict[str, list[Numbers]] = {}
        for group in kernels:
            title = group.device.title
            if group.of == name and title != without:
                ratio = np.log(group.measured_s / estimated(group, models[title]).time_s)
                devices.setdefault(title, []).append(ratio)
        if devices:
            low, high = _ends([np.concatenate(parts) for parts in devices.values()])
            ends |= {f"low {name}": low, f"high {name}": high}
    return ends


def _ends(ratios: Sequence[Numbers]) -> tuple[float, float]:
    from scipy import stats  # half a second to load

    count = len(ratios)
    offsets = np.array([np.median(part) for part in ratios])
    spread = np.sqrt((offsets**2).mean() * (1 + 1 / count))
    whole = stats.t.ppf((1 + NOMINAL) / 2, count) * spread
    rest = np.concatenate([part - offset for part, offset in zip(ratios, offsets, strict=True)])
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in ratios])
    order = np.argsort(rest, kind="stable")
    share = (np.cumsum(weights[order]) - weights[order] / 2) / count
    low, high = np.interp([(1 - NOMINAL) / 2, (1 + NOMINAL) / 2], share, rest[order])
    return float(np.exp(-np.hypot(whole, low))), float(np.exp(np.hypot(whole, high)))


def _check(kernels: Sequence[Kernels], model: Mapping[str, float]) -> Iterator[Checked]:
    """Estimate the kernels of one device."""
    reached = reached_ceilings(kernels)
    for group in kernels:
        estimate_s = estimated(group, model).time_s
        low, high = interval_of(group.of, model)
        yield Checked(
            device=group.device.title,
            of=group.of,
            measured_s=group.measured_s,
            estimate_s=estimate_s,
            low_s=low * estimate_s,
            high_s=high * estimate_s,
            floor_s=floor_s(group),
            reached_s=estimated(group, model, reached).time_s if reached else None,
        )


def error_rows(checked: Sequence[Checked], **about: Any) -> tuple[EstimateErrors, ...]:  # noqa: ANN401
    """A row for each device and class, and one of all devices for each class where there are several."""
    devices, classes = (
        dict.fromkeys(getattr(item, name) for item in checked) for name in ("device", "of")
    )
    chosen = [(device, of) for device in devices for of in classes]
    if len(devices) > 1:
        chosen += [(ALL_DEVICES, of) for of in classes]
    return tuple(
        _errors(device, of, own, **about)
        for device, of in chosen
        if (
            own := [
                item for item in checked if item.of == of and device in (item.device, ALL_DEVICES)
            ]
        )
    )


def _errors(device: str, of: str, checked: Sequence[Checked], **about: Any) -> EstimateErrors:  # noqa: ANN401
    """Errors of some times, each counted once."""
    measured, estimate, floor, low, high = (
        np.concatenate([getattr(item, name) for item in checked])
        for name in ("measured_s", "estimate_s", "floor_s", "low_s", "high_s")
    )
    errors, floor_errors = (np.abs(times / measured - 1) for times in (estimate, floor))
    known = [
        np.abs(item.reached_s / item.measured_s - 1)
        for item in checked
        if item.reached_s is not None
    ]
    reached = np.concatenate(known) if known else None
    return EstimateErrors(
        device=device,
        of=of,
        kernels=len(measured),
        mean=errors.mean(),
        median=np.median(errors),
        bias=np.median(estimate / measured) - 1,
        covered=((low <= measured) & (measured <= high)).mean(),
        floor_mean=floor_errors.mean(),
        floor_median=np.median(floor_errors),
        above=int((floor > measured).sum()),
        reached_mean=None if reached is None else reached.mean(),
        reached_median=None if reached is None else np.median(reached),
        **about,
    )
