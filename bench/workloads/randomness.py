"""Random numbers of torch, Python and NumPy: the same for each call that is looked at, and as they were afterwards."""

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_all(seed: int = 0) -> None:
    """Seed every generator that a module may draw from without having one of its own."""
    torch.manual_seed(seed)
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)


@contextmanager
def kept_randomness() -> Iterator[None]:
    """Leave the generators of the processor as they were."""
    python, numpy = random.getstate(), sys.modules.get("numpy")
    state = numpy and numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        if numpy and state:
            numpy.random.set_state(state)
