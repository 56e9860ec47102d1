"""Images kept in memory once they have been read or made, so that later epochs take no time for it."""

from torch import Tensor

from bench.training.data.augment import Labelled

GIB = 2**30


class Held:
    """A set whose samples stay in memory as they come, up to a limit; beyond it they are read each time.

    Args:
        dataset: images uint8 and labels uint8, the same ones whenever they are asked for.
        limit_bytes: what may be kept; workers of a loader keep their own.
    """

    def __init__(self, dataset: Labelled, *, limit_bytes: int = GIB) -> None:
        self.dataset = dataset
        self._left_bytes = limit_bytes
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index in self._kept:
            return self._kept[index]
        sample = self.dataset[index]
        size_bytes = sum(part.nbytes for part in sample)
        if size_bytes <= self._left_bytes:
            self._left_bytes -= size_bytes
            self._kept[index] = sample
        return sample
