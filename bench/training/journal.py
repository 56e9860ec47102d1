"""A training's readings as TensorBoard files, where tensorboard is installed."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Journal:
    """Writes figures by name and iteration; without a folder, or without tensorboard, it writes nothing.

    Args:
        folder: where the files go; None to write none.
        start: iterations done; readings of a killed run beyond them are hidden.
    """

    def __init__(self, folder: Path | None, *, start: int) -> None:
        self._writer: Any = None
        if folder is not None and find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter  # seconds, and optional

            self._writer = SummaryWriter(str(folder), purge_step=start + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()

    @property
    def writes(self) -> bool:
        """Whether anything is written."""
        return self._writer is not None

    def add(self, iteration: int, figures: Mapping[str, float]) -> None:
        """Write the figures of one reading."""
        if self._writer is not None:
            for name, value in figures.items():
                self._writer.add_scalar(name, value, iteration)
