"""What a first look at a device says of one kind of cell."""

from dataclasses import dataclass
from typing import Literal


@dataclass(kw_only=True, slots=True)
class KindResult:
    """What `bench.reference --look` saw of one kind of cell; the device `lacks` what it has no such thing for."""

    what: str = ""
    state: Literal["ok", "wrong", "failed", "lacks"] = "ok"
    seconds: float = 0.0
    error: float | None = None
    gradient_error: float | None = None
    memory: float | None = None
    clocks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    reason: str = ""

    def line(self) -> str:
        """The kind in a line."""
        parts = [f"{self.state:6} {self.what:45} {self.seconds:5.1f} s"]
        readings = {
            "error {:.1e}": self.error,
            "gradients {:.1e}": self.gradient_error,
            "memory {:.3f} of predicted": self.memory,
        }
        parts += [text.format(value) for text, value in readings.items() if value is not None]
        parts += [" ".join(self.clocks), " ".join(self.kernels), *self.notes, self.reason]
        return "  ".join(filter(None, parts))
