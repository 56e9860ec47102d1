"""Experiments: a question, and the jobs whose records answer it. Data alone; no torch, no I/O."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from ann.spec import BlockSpec, Implementation, NetworkSpec, Size
from experiments.recipes import Recipe

Dtype = Literal[
    "float32", "float64", "float16", "bfloat16", "tf32", "autocast-float16", "autocast-bfloat16"
]
Device = Literal["auto", "cpu", "cuda", "meta"]
Mode = Literal["eval", "train"]
Protocol = Literal["strict", "paper"]
Layout = Literal["nchw", "nlc", "nhwc"]
Features = Literal["trained", "frozen"]
FEATURES: tuple[Features, ...] = get_args(Features)


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnModule:
    """Somebody's own block, made by calling `factory` of `package.module` (written `package.module:factory`).

    Arguments may stand behind it, as literals. Of what they leave out the factory gets the channels, by the name that
    it has for them, `key_channels`, `height` and `width` (`bench.workloads.factories`). The module is called with so
    many `inputs`: maps (b, C, h, w), or in the layout `nlc` tokens (b, h w, C), in `nhwc` (b, h, w, C); it may return
    whatever holds tensors.
    """

    factory: str
    channels: int = 2048
    key_channels: int = 256
    layout: Layout = "nchw"
    inputs: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """How a network is trained and evaluated."""

    dataset: str
    recipe: Recipe
    iterations: int
    root: str = ""  # folder that holds the set; where it lies changes nothing about the outcome
    evaluation: str = "whole"  # how validation images are evaluated, in `bench.training.protocols`
    pretrained: str | None = (
        None  # weights of the backbone, as `ann.build.network` takes them; None for random ones
    )
    # Whether the backbone is trained too, or stays as it is and its maps are computed once.
    features: Features = "trained"
    palette: bool = False  # whether colours in masks stand for classes


Subject = BlockSpec | NetworkSpec | OwnModule


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """What all jobs have; one job is one cell of a table."""

    experiment: str
    # What distinguishes this cell in its table, e.g. {"block": "apnb", "size": "256x128"}; published records carry the
    # same axes, and the tables join on them.
    axes: Mapping[str, str | int | float]
    subject: Subject
    size: Size  # of the feature map (a block) or of the image (a network)
    device: Device = "auto"  # where it is done; `auto` for where the run is
    time_limit_s: float = 600.0  # after which the job's process is ended and a record says so
    seed: int = 0  # of all random numbers

    @property
    def name(self) -> str:
        """Name of the block or network, as the axes have it."""
        return str(self.axes.get("block", self.axes.get("network", self.experiment)))

    @property
    def is_executed(self) -> bool:
        """Whether anything is to be measured, beside what is counted and predicted."""
        return not isinstance(self, Measurement) or bool(self.probes)

    @property
    def call(self) -> "Measurement":
        """What is counted and predicted: one call; of another job than a measurement, in inference."""
        shared = {each.name for each in fields(self)} & {each.name for each in fields(Measurement)}
        return Measurement(**{name: getattr(self, name) for name in shared})

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that change with anything that changes what is measured."""
        text = json.dumps(_legacy_content(self), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement(_Job):
    """One call of a block or network, counted, predicted and measured."""

    batch: int = 1  # maps or images at once
    # One type for weights and maps; `tf32` (float32 with products of 10-bit mantissas, NVIDIA alone); or float32 under
    # autocast.
    dtype: Dtype = "float32"
    mode: Mode = "eval"  # one forward without gradients; `train` is one forward and backward
    protocol: Protocol = "strict"  # this suite's; `paper` repeats what the released scripts did
    # Under the paper's protocol, what had run in the same process before, in order.
    preceded_by: tuple[tuple[Subject, Size], ...] = ()
    # What is executed and measured; counting and predicting need no execution and are always done.
    probes: tuple[str, ...] = ("memory", "timing")
    # As the documents wrote the subject (`plain`), or rewritten into an equal module (`ann.implementations`).
    implementation: Implementation = "plain"
    budget_s: float = 20.0  # that timing may take; it ends sooner where the interval is narrow
    # In `train`, whether the backward pass goes on to the maps that come in, as inside a network; somebody's own block
    # always does, while what documents measured did not.
    input_gradient: bool = False

    @property
    def goes_back_to_inputs(self) -> bool:
        """Whether a call makes gradients of the maps that come in."""
        is_own = isinstance(self.subject, OwnModule)
        return self.mode == "train" and (self.input_gradient or is_own)


Cell = Measurement  # as experiments in files of their own call it


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingJob(_Job):
    """A network, trained and then evaluated on images of that size."""

    subject: NetworkSpec
    training: Training


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation(_Job):
    """A published checkpoint, evaluated; `evaluation` is a name in `bench.training.protocols`."""

    subject: NetworkSpec
    checkpoint: Path
    evaluation: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineCheck(_Job):
    """What the machine itself reaches (a copy, a product in each format), or what counters on it say of a subject."""

    reads: Literal["ceilings", "counters"]
    implementation: Implementation = "plain"


Job = Measurement | TrainingJob | Evaluation | MachineCheck


# Of fields that came later: with these values a job has the id that it had without them.
_USUAL_TRAINING = {"pretrained": None, "features": "trained"}
_USUAL_RECIPE = {"loss_stride": 1}
_USUAL_OWN = {"layout": "nchw", "inputs": 1}


def _legacy_content(job: _Job) -> dict[str, object]:
    """What an id is made of: the fields of the one kind of job that there was at first, so that records keep theirs."""
    content = asdict(job.call) | {"training": None, "kind": type(job.subject).__name__}
    for aside in ("experiment", "axes", "budget_s", "time_limit_s"):
        del content[aside]
    _leave_out_usual(content, job.subject)
    match job:
        case TrainingJob():
            training = asdict(job.training)
            # Where the data lie and in which files, and how long other budgets are, changes nothing.
            del training["root"], training["palette"], training["recipe"]["iterations"]
            # As before there were others.
            for fields_, usual in (
                (training, _USUAL_TRAINING),
                (training["recipe"], _USUAL_RECIPE),
            ):
                for name in [name for name, value in usual.items() if fields_[name] == value]:
                    del fields_[name]
            content |= {"probes": ("accuracy",), "training": training}
        case Evaluation():
            content["probes"] = ("accuracy",)
        case MachineCheck():
            content["probes"] = ("rivals" if job.reads == "counters" else job.reads,)
    return content


def _leave_out_usual(content: dict[str, Any], subject: Subject) -> None:
    """Take out what came later and is as it was before."""
    if content["implementation"] == "plain":
        del content["implementation"]
    if not content["input_gradient"]:
        del content["input_gradient"]
    if isinstance(subject, OwnModule):
        for name in [
            name for name, usual in _USUAL_OWN.items() if content["subject"][name] == usual
        ]:
            del content["subject"][name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """A question of one table or figure, and the cells that answer it, in the order in which they are run."""

    name: str
    question: str
    cells: tuple[Job, ...] = ()
    beyond_paper: bool = False  # neither the paper nor the model zoo has it
    # The step of `experiments.reference` in which a new device measures a cell, and the place in it; nothing for what
    # comes behind all steps.
    order: Callable[[Measurement], tuple[int, ...]] = lambda _: ()
    # In the catalogue: what is beyond the paper comes behind, and what has one place goes by its file's name.
    place: int = 100
