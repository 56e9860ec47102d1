"""One training: a network, a set and a recipe in; the network trained, and how it went, out.

Everything that an iteration does follows from the seed and its number, so that on the CPU a run that
was killed and went on ends with the very weights of one that was not.
"""

import math
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.training import checkpoint
from bench.training.clock import LoopClock
from bench.training.data import Batch, Order, Visited, load_batches, seed_of
from bench.training.distributed import everywhere, place, share_buffers, spread
from bench.training.journal import Journal
from bench.training.losses import make_loss
from bench.training.optim import gradient_norm, learning_rate, make_optimiser, precision, sow, tuned
from experiments.recipes import Recipe

FILE = "training.pt"
# Iterations between readings; twenty readings where a training is shorter than so many would take.
READ_EVERY = 50
# Share of the time that checkpoints may take: one is kept at a reading if it costs no more than this.
SAVING = 0.01

Report = Callable[[int, float | None], None]


@dataclass(kw_only=True, slots=True)
class Trained:
    """How a training went; readings are taken at even distances, at most every 50 iterations.

    Attributes:
        losses: (iterations done, loss of the last of them) of each reading.
        images_per_s: over each stretch between readings, all processes together; the first stretch
            after a start, which waits for the data and tunes kernels, is left out if there is another.
        step_time_s: seconds per iteration over the same stretches.
        empty_crops: crops without one labelled pixel; they add nothing to the loss.
    """

    losses: list[tuple[int, float]] = field(default_factory=list)
    images_per_s: list[float] = field(default_factory=list)
    step_time_s: list[float] = field(default_factory=list)
    empty_crops: int = 0


def train(
    network: nn.Module,
    dataset: Visited,
    recipe: Recipe,
    *,
    iterations: int,
    seed: int,
    device: str | torch.device,
    folder: Path | None = None,
    on_step: Report | None = None,
) -> Trained:
    """Train a network in place; it is left in training mode on the device.

    Args:
        network: maps images to a pair of logits, the auxiliary ones or None.
        dataset: augmented; takes a visit (epoch, index), gives a normalised image [3, h, w] and an
            int64 label [h, w].
        recipe: optimiser, schedule, batch, loss and precision.
        iterations: how many, over which the learning rate falls.
        seed: of the order of the images and of everything drawn by the network; torch's global
            generators, on the CPU the CPU's alone, are seeded anew in every iteration.
        device: where to train; under torchrun this process's own.
        folder: of the checkpoint and the log; a training found there goes on, a finished one is
            loaded. None to keep nothing.
        on_step: called with the iterations done and the loss last read.

    Raises:
        ValueError: the folder holds another training, an image can't be read, or the loss is not
            finite.
        OSError: the checkpoint can't be written.
    """
    run = _Run(network, dataset, recipe, iterations=iterations, seed=seed, device=device)
    run.resume(folder)
    run.agree()
    run.go(folder, on_step)
    return run.trained


class _Run:
    """What a training is made of, and how far it is."""

    def __init__(
        self,
        network: nn.Module,
        dataset: Visited,
        recipe: Recipe,
        *,
        iterations: int,
        seed: int,
        device: str | torch.device,
    ) -> None:
        if iterations < 1:
            msg = f"iterations={iterations} trains nothing; pass 1 or more"
            raise ValueError(msg)
        self.place = place()
        self.device = torch.device(device)
        self.precision = precision(recipe, self.device)
        self.network = (
            network.train().to(self.device).to(memory_format=self.precision.memory_format)
        )
        self.model = self.network
        self.dataset = dataset
        self.recipe = recipe
        self.iterations = iterations
        self.seed = seed
        self.optimiser = make_optimiser(network, recipe)
        self.loss = make_loss(recipe, device=self.device)
        self.trained = Trained()
        self.done = 0

    @property
    def identity(self) -> dict[str, str | int]:
        """What a checkpoint must agree with to be gone on with."""
        return {
            "network": str(getattr(self.network, "spec", "")),
            "recipe": repr(self.recipe),
            "iterations": self.iterations,
            "seed": self.seed,
            "number of images": len(self.dataset),
        }

    def resume(self, folder: Path | None) -> None:
        """Take up what a folder holds, if it holds anything."""
        state = checkpoint.load_training(folder / FILE) if folder is not None else None
        if state is None:
            return
        differing = [
            key for key, value in self.identity.items() if state["identity"].get(key) != value
        ]
        if differing:
            msg = (
                f"{folder}: holds a training with another {', '.join(differing)}; "
                "choose another folder, or delete this one to begin anew"
            )
            raise ValueError(msg)
        try:
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            msg = f"{folder}: holds a training of another network; choose another folder, or delete this one"
            raise ValueError(msg) from error
        self.trained = Trained(**state["trained"])
        self.done = state["iteration"]

    def agree(self) -> None:
        """Refuse to begin where the processes would train on from different checkpoints."""
        starts = everywhere(self.done)
        if len(set(starts)) > 1:
            msg = (
                f"the processes found checkpoints of {', '.join(map(str, starts))} iterations; "
                "choose a folder that is the same one for all of them"
            )
            raise ValueError(msg)

    def save(self, folder: Path) -> None:
        """Keep everything from which `resume` goes on."""
        state = {
            "iteration": self.done,
            "identity": self.identity,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "trained": asdict(self.trained),
        }
        checkpoint.save(folder / FILE, state)

    def go(self, folder: Path | None, on_step: Report | None) -> None:
        """Do the iterations that are left."""
        self.model = spread(self.network, self.device)
        log = folder / "tensorboard" if folder is not None and self.place.rank == 0 else None
        with (
            tuned(self.device),
            Journal(log, start=self.done) as journal,
            closing(self.batches()) as batches,
        ):
            clock = LoopClock(self.done)
            for images, labels, empty in batches:
                loss = self.step(images, labels)
                self.done += 1
                self.trained.empty_crops += empty
                if self.done % self.read_every == 0 or self.done == self.iterations:
                    self.read(loss, clock, journal)
                    self.keep(folder, clock)
                if on_step is not None:
                    on_step(self.done, self.trained.losses[-1][1] if self.trained.losses else None)
        share_buffers(self.network)

    @property
    def read_every(self) -> int:
        """Iterations from reading to reading."""
        return max(1, min(READ_EVERY, self.iterations // 20))

    def batches(self) -> Generator[Batch, None, None]:
        """Load what is left, ahead of time where there are workers."""
        order = Order(
            len(self.dataset),
            batch=self.recipe.batch,
            seed=self.seed,
            start=self.done,
            stop=self.iterations,
            place=self.place,
        )
        return load_batches(self.dataset, order, self.device)

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Do one iteration and return its loss, on the device."""
        sow(seed_of(self.seed, "step", self.done, self.place.rank), self.device)
        rate = learning_rate(self.recipe, self.done, self.iterations)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        images = images.to(
            self.device, memory_format=self.precision.memory_format, non_blocking=True
        )
        labels = labels.to(self.device, non_blocking=True)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss_on(images, labels)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def loss_on(self, images: Tensor, labels: Tensor) -> Tensor:
        """Go forward. On return only what the graph needs is held: backward has the logits' memory.

        Held through it, as by a name in `step`, they cost some percent of a step on a CPU: memory
        that is asked of the system anew each time.
        """
        with self.precision.autocast():
            logits, auxiliary = self.model(images)
        return self.loss((logits.float(), None if auxiliary is None else auxiliary.float()), labels)

    def read(self, loss: Tensor, clock: LoopClock, journal: Journal) -> None:
        """Read the loss, which waits for the device, and the speed since the last reading."""
        if self.place.world > 1:
            torch.distributed.all_reduce(loss)
        value = float(loss) / self.place.world
        if not math.isfinite(value):
            msg = (
                f"iteration {self.done}: the loss is {value}; the training has diverged, "
                "try a lower learning rate or another seed"
            )
            raise ValueError(msg)
        step_time_s = clock.lap(self.done)
        self.trained.losses.append((self.done, value))
        if clock.warm or self.done == self.iterations:
            self.trained.step_time_s.append(step_time_s)
            self.trained.images_per_s.append(self.recipe.batch / step_time_s)
        if journal.writes:
            figures = {
                "loss": value,
                "learning rate": self.optimiser.param_groups[0]["lr"],
                "images per second": self.recipe.batch / step_time_s,
                "gradient norm": gradient_norm(self.network),
            }
            journal.add(self.done, figures)

    def keep(self, folder: Path | None, clock: LoopClock) -> None:
        """Save a checkpoint, if there is a folder, at the end and when the last one has paid off."""
        worth = self.done == self.iterations or clock.since_saved_s * SAVING >= clock.saving_s
        if folder is not None and self.place.rank == 0 and worth:
            clock.save(lambda: self.save(folder))
        clock.start(self.done)
