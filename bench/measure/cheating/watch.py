"""Looks at a call's outputs before and after it is timed, so that a time stands for the work that it seems to.

Ahead of the timing the module is called on its inputs, on fresh ones, and on its inputs again; after it once more. None
of that is timed. Long calls are looked at on a part of their maps. What can't be is refused, what may be but is no
usual call gets a caveat: docs/measuring.md has the table.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from bench.measure.cheating.calls import PART, change, copied, part_of, run
from bench.measure.cheating.outputs import (
    Sample,
    aliases,
    lazy_part,
    take_sample,
    tensors_of,
)
from bench.measure.cheating.threads import busy_thread
from bench.records import Timing
from bench.workloads import Workload, kept_randomness, seed_all

# Calls that take longer are not made for this, where a part of the map will do.
LONG_CALL_S = 0.5
# By how much longer a call on the whole maps may take than on a part: the square of the pixels, as all-pairs attention.
WHOLE_OF_PART = PART**4
# Seconds for which other streams may work on after the call's own has ended, or the same as a share of the call.
LAG_S, LAG_SHARE = 2e-4, 0.1


class Gpu(Protocol):
    """What is asked of a GPU after a call."""

    def lag_s(self) -> float:
        """Seconds for which it works on after the current stream has ended."""

    def persisting_l2_bytes(self) -> int:
        """Second-level cache that is set aside."""


class MisleadingCallError(ValueError):
    """A call whose time would not be that of the work which it seems to do."""


@contextmanager
def watched(work: object, gpu: Gpu | None = None) -> Iterator[list[str]]:
    """Look at the calls of a workload, on a GPU where they are, around their timing; the list has caveats at the end.

    Raises:
        MisleadingCallError: it gives earlier results, other ones after many calls, or ones that were not there when
            the call ended; threads or streams work on; or no gradient reaches weights that one reached at first.
    """
    caveats: list[str] = []
    if not isinstance(work, Workload):
        yield caveats
        return
    watch = _Watch(work, gpu)
    with kept_randomness():
        watch.look_ahead()
    yield caveats
    with kept_randomness():
        watch.look_back()
    caveats.extend(watch.caveats)


def with_caveats(timings: Sequence[Timing], caveats: Sequence[str]) -> tuple[Timing, ...]:
    """Timings of a call with its caveats."""
    return tuple(each.model_copy(update={"caveats": tuple(caveats)}) for each in timings)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Seen:
    """What was seen of one call."""

    sample: Sample
    gradients: frozenset[str]
    seconds: float


class _Watch:
    def __init__(self, work: Workload, gpu: Gpu | None) -> None:
        self.gpu = gpu
        self.caveats: dict[str, None] = {}
        self.lags_s: list[float] = []
        self.repeats = False
        self.first: _Seen | None = None
        self._take(work)

    def _take(self, work: Workload) -> None:
        """Look at this workload from now on; its inputs and buffers are as they are to be."""
        self.work = work
        self.inputs = [x.detach().clone() for x in work.inputs]
        self.buffers = {name: x.detach().clone() for name, x in work.module.named_buffers()}

    def look_ahead(self) -> None:
        """Call on the inputs, on fresh ones, and on the inputs again."""
        untouched = copied(self.work.module)
        self._choose_size()
        self.first = first = self._call()
        if first.seconds <= LONG_CALL_S:
            fresh, again = self._call_if_taken(fresh=True), self._call()
            self._compare(first, again)
            self._judge_fresh(first, fresh, again, untouched=untouched)
            self.repeats = again.sample.distance(first.sample) <= 1
            if not self.repeats:
                self._note("gives another result each time, of the same input and random numbers")
            self._judge_lags(first.seconds)
        self._restore()

    def look_back(self) -> None:
        """Call once more on the inputs, after so many calls."""
        first = self.first
        if first is None or first.seconds > LONG_CALL_S:
            return
        late = self._call(buffers=False)
        self._compare(first, late)
        if self.repeats and late.sample.distance(first.sample) > 1:
            if self._call().sample.distance(first.sample) > 1:
                _refuse("gives another result after many calls, of the same input")
            self._note("follows its buffers, which calls change")
        self._judge_lags(first.seconds)
        self._restore()

    def _note(self, caveat: str) -> None:
        self.caveats[caveat] = None

    def _choose_size(self) -> None:
        """Look at a part of the maps, if the module takes one and a whole call may take long."""
        whole, part = self.work, part_of(self.work)
        if part is None:
            return
        self._take(part)
        seen = self._call_if_taken()
        if seen is None or seen.seconds * WHOLE_OF_PART < LONG_CALL_S:
            self._restore()
            self._take(whole)

    def _call_if_taken(self, *, fresh: bool = False) -> _Seen | None:
        """None where the module takes no inputs of such a size, or with such numbers."""
        try:
            return self._call(fresh=fresh)
        except Exception as error:
            if isinstance(error, MisleadingCallError):
                raise
            return None

    def _restore(self, *, buffers: bool = True) -> None:
        kept = self.buffers if buffers else {}
        state = dict(self.work.module.named_buffers())
        with torch.no_grad(), suppress(RuntimeError):  # whose shapes were changed stay so
            for x, as_it_was in zip(self.work.inputs, self.inputs, strict=True):
                x.copy_(as_it_was)
            for name in kept.keys() & state.keys():
                state[name].copy_(kept[name])

    def _call(self, *, fresh: bool = False, buffers: bool = True) -> _Seen:
        self._restore(buffers=buffers)
        if fresh:
            change(self.work.inputs)
        given = take_sample(self.work.inputs)
        seed_all()
        began_s = time.perf_counter()
        outputs, gradients = run(self.work)
        tensors = self._look_at(outputs)
        sample = take_sample(tensors)  # waits for the current stream
        seconds = time.perf_counter() - began_s
        if self.gpu is not None:
            self.lags_s.append(self.gpu.lag_s())
            self._note_cache(self.gpu.persisting_l2_bytes())
        busy = busy_thread()
        if busy is not None:
            _refuse(f"has a thread, {busy!r}, that works on after the call has ended")
        if not take_sample(tensors).equals(sample):
            _refuse("gives a result that was not there yet when the call had ended")
        if not take_sample(self.work.inputs).equals(given):
            self._note("changes its input")
        return _Seen(sample=sample, gradients=gradients, seconds=seconds)

    def _look_at(self, outputs: object) -> list[Tensor]:
        lazy = lazy_part(outputs)
        if lazy is not None:
            _refuse(f"gives a {lazy}, which need not hold its values when the call has ended")
        tensors = tensors_of(outputs)
        alias = aliases(tensors, self.work.inputs)
        if alias is not None:
            self._note(alias)
        if not self.work.dtype.startswith("autocast"):
            wide = [x.dtype.itemsize for x in self.work.inputs if x.is_floating_point()]
            short = [x.dtype for x in tensors if x.is_floating_point()]
            for dtype in {x for x in short if wide and x.itemsize < max(wide)}:
                self._note(f"gives {_dtype_name(dtype)}, shorter than its input")
        return tensors

    def _note_cache(self, size_bytes: int) -> None:
        if size_bytes:
            size = f"{size_bytes / 2**20:.1f} MiB of the GPU's second-level cache"
            self._note(f"keeps {size} for itself, so that it is never cold")

    def _compare(self, first: _Seen, later: _Seen) -> None:
        """Refuse what is another kind of result than the first."""
        before, after = first.sample, later.sample
        if before.dtypes != after.dtypes:
            kinds = (", ".join(map(_dtype_name, each.dtypes)) for each in (after, before))
            _refuse("gives {} where its first call gave {}".format(*kinds))
        if before.shapes != after.shapes:
            _refuse(f"gives shapes {after.shapes} where its first call gave {before.shapes}")
        if before.is_finite and not after.is_finite:
            _refuse("gives NaN or infinity where its first call did not")
        if not before.is_finite:
            self._note("gives NaN or infinity")
        lost = sorted(first.gradients - later.gradients)
        if lost:
            _refuse(
                f"has no gradient for {_few_names(lost)} any more, which had one in the first step"
            )
        if self.work.mode == "train":
            weights = self.work.module.named_parameters()
            missing = {name for name, x in weights if x.requires_grad} - first.gradients
            if missing:
                self._note(f"has no gradient for {_few_names(sorted(missing))}")

    def _judge_fresh(
        self, first: _Seen, fresh: _Seen | None, again: _Seen, *, untouched: nn.Module | None
    ) -> None:
        """Refuse results of earlier inputs; a module that minds no input at all is only told."""
        numbers = any(x.is_floating_point() for x in self.inputs) and any(
            map(len, first.sample.values)
        )
        if fresh is None or not numbers:
            return
        cached = "gives the result of an earlier input"
        if fresh.sample.equals(first.sample):
            if self._minds_its_input(untouched, first):
                _refuse(cached)
            self._note("gives the same result for another input")
        elif again.sample.equals(fresh.sample):
            _refuse(cached)

    def _minds_its_input(self, untouched: nn.Module | None, first: _Seen) -> bool:
        """Whether a copy that was never called gives another result of the fresh inputs than the first one."""
        if untouched is None:
            return False
        self._restore()
        change(self.work.inputs)
        seed_all()
        outputs, _ = run(replace(self.work, module=untouched))
        return not take_sample(tensors_of(outputs)).equals(first.sample)

    def _judge_lags(self, call_s: float) -> None:
        least_s = min(self.lags_s, default=0.0)
        if least_s > max(LAG_S, LAG_SHARE * call_s):
            _refuse(f"works on for {1e3 * least_s:.2g} ms on other streams after its own has ended")


def _refuse(what: str) -> None:
    msg = f"its time would mislead: it {what}"
    raise MisleadingCallError(msg)


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _few_names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
