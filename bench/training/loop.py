"""Training loop: a network, a set and a recipe in; the network trained, and how it went, out.

Everything that an iteration does follows from the seed and its number, so that on the CPU a run that
was killed and went on ends with the very weights of one that was not.
"""

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import KW_ONLY, asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.training import progress
from bench.training.data import Drawn, draw_visits, load_batches
from bench.training.distributed import broadcast_buffers, gather_numbers, place, wrap_distributed
from bench.training.losses import make_loss
from bench.training.optim import cudnn_benchmark, learning_rate, make_optimiser, uses_bfloat16
from bench.training.pairing import PairedDraws
from bench.training.progress import LoopClock, Trained, open_log
from bench.training.resizing import resizing_by_products
from experiments.recipes import Recipe

CHECKPOINT_FILE = "training.pt"
# Iterations between readings; twenty readings where a training is shorter than so many would take.
READ_EVERY = 50
# Share of the time that checkpoints may take: one is kept at a reading if it costs no more than this.
SAVING_SHARE = 0.01

OnStep = Callable[[int, float | None], None]


def train(
    network: nn.Module,
    dataset: Drawn,
    recipe: Recipe,
    *,
    iterations: int,
    seed: int,
    device: str | torch.device,
    folder: Path | None = None,
    on_step: OnStep | None = None,
) -> Trained:
    """Train a network in place; it is left in training mode on the device.

    The network maps images to a pair of logits, of which the auxiliary ones may be None; the set maps a visit (epoch,
    index) to a normalised image [3, h, w] and an int64 label [h, w]. Order of the images and whatever the network draws
    follow from the seed: torch's global generators, on the CPU the CPU's alone, are seeded anew in every iteration. A
    training whose checkpoint is in the folder goes on, a finished one is loaded; without a folder nothing is kept.
    `on_step` is called with the iterations done and the loss last read.

    Raises:
        ValueError: the folder holds another training, an image can't be read, or the loss is not finite.
        OSError: the checkpoint can't be written.
    """
    device = torch.device(device)
    loop = _Loop(network, dataset, recipe, iterations=iterations, seed=seed, device=device)
    try:
        loop.resume(folder)
        loop.run(folder, on_step)
    finally:
        loop.draws.end()
    return loop.trained


@dataclass
class _Loop:
    """What a training is made of, and how far it is."""

    network: nn.Module
    dataset: Drawn
    recipe: Recipe
    _: KW_ONLY
    iterations: int
    seed: int
    device: torch.device
    trained: Trained = field(default_factory=Trained)
    done: int = 0

    def __post_init__(self) -> None:
        if self.iterations < 1:
            msg = f"iterations={self.iterations} trains nothing; pass 1 or more"
            raise ValueError(msg)
        self.place = place()
        self.network.train().to(self.device).to(memory_format=torch.channels_last)
        self.model = self.network
        self.draws = PairedDraws(self.network, seed=self.seed, rank=self.place.rank)
        self.optimiser = make_optimiser(self.network, self.recipe)
        aligned = getattr(getattr(self.network, "spec", None), "align_corners", False)
        self.loss = make_loss(self.recipe, align_corners=aligned, device=self.device)
        self.read_every = max(1, min(READ_EVERY, self.iterations // 20))

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
        """Take up what a folder holds; refuse where the processes would go on from different checkpoints."""
        state = progress.load_training(folder / CHECKPOINT_FILE) if folder is not None else None
        if state is not None:
            self.load(state, folder)
        starts = gather_numbers(self.done)
        if len(set(starts)) > 1:
            msg = (
                f"the processes found checkpoints of {', '.join(map(str, starts))} iterations; "
                "choose a folder that is the same one for all of them"
            )
            raise ValueError(msg)

    def load(self, state: dict[str, Any], folder: Path | None) -> None:
        """Take up a checkpoint's state."""
        theirs = state["identity"]
        differing = [key for key, value in self.identity.items() if theirs.get(key) != value]
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

    def save(self, folder: Path) -> None:
        """Keep everything from which `resume` goes on."""
        state = {
            "iteration": self.done,
            "identity": self.identity,
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "trained": asdict(self.trained),
        }
        progress.save_training(folder / CHECKPOINT_FILE, state)

    def run(self, folder: Path | None, on_step: OnStep | None) -> None:
        """Do the iterations that are left."""
        self.model = wrap_distributed(self.network, self.device)
        logged = folder / "tensorboard" if folder is not None and self.place.rank == 0 else None
        left, share = range(self.done, self.iterations), self.place._asdict()
        visits = draw_visits(
            len(self.dataset), batch=self.recipe.batch, seed=self.seed, iterations=left, **share
        )
        with (
            cudnn_benchmark(self.device),
            resizing_by_products(self.network, self.device),
            open_log(logged, done=self.done) as log,
            closing(load_batches(self.dataset, visits, self.device)) as batches,
        ):
            clock = LoopClock(self.done)
            for images, labels, empty in batches:
                loss = self.step(images, labels)
                self.done += 1
                self.trained.empty_crops += empty
                if self.done % self.read_every == 0 or self.done == self.iterations:
                    self.read(loss, clock, log)
                    self.keep(folder, clock)
                if on_step is not None:
                    on_step(self.done, self.trained.losses[-1][1] if self.trained.losses else None)
        broadcast_buffers(self.network)

    def step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Do one iteration and return its loss, on the device."""
        self.draws.begin(self.done)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.done, self.iterations)
        # Maps that are kept have their channels last already.
        is_image = images.shape[1] == 3
        layout = torch.channels_last if is_image else torch.preserve_format
        images = images.to(self.device, memory_format=layout, non_blocking=True)
        labels = labels.to(self.device, non_blocking=True)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self.loss_on(images, labels)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def loss_on(self, images: Tensor, labels: Tensor) -> Tensor:
        """Go forward. On return only what the graph needs is kept: backward has the logits' memory.

        Kept through it, as by a name in `step`, they cost some percent of a step on a CPU: memory
        that the system has to give anew each time.
        """
        low = uses_bfloat16(self.recipe, self.device)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low):
            logits, auxiliary = self.model(images)
        outputs = logits.float(), None if auxiliary is None else auxiliary.float()
        return self.loss(outputs, labels, self.draws.corner(self.recipe.loss_stride))

    def read(self, loss: Tensor, clock: LoopClock, log: Any) -> None:  # noqa: ANN401  # a SummaryWriter
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
        images_per_s = self.recipe.batch / step_time_s
        self.trained.losses.append((self.done, value))
        if clock.warm or self.done == self.iterations:
            self.trained.step_time_s.append(step_time_s)
            self.trained.images_per_s.append(images_per_s)
        if log is not None:
            log.add_scalar("loss", value, self.done)
            log.add_scalar("learning rate", self.optimiser.param_groups[0]["lr"], self.done)
            log.add_scalar("images per second", images_per_s, self.done)
            gradients = [item.grad for item in self.network.parameters() if item.grad is not None]
            norm = float(nn.utils.get_total_norm(gradients))
            log.add_scalar("gradient norm", norm, self.done)

    def keep(self, folder: Path | None, clock: LoopClock) -> None:
        """Save a checkpoint, if there is a folder, at the end and when the last one has paid off."""
        due = self.done == self.iterations or clock.pays_off(SAVING_SHARE)
        if folder is not None and self.place.rank == 0 and due:
            clock.save(lambda: self.save(folder))
        clock.start(self.done)
