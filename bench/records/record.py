"""What was seen: one record a line of JSON, raw samples in base units, and where they were taken.

Nothing is rounded here and nothing is averaged: medians, MiB and digits belong to `reports`.
Published numbers are records too (`source="published"`).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from bench.records import files
from bench.records.files import Model

# Comparisons of two arms lie beside the records and have a form of their own (`bench.records.comparison`).
COMPARISONS_FILE = "comparisons.jsonl"
# Axes of a training that all rows of its table share.
SETTING_AXES = ("dataset", "budget", "features", "recipe", "backbone", "pretrained")


class Alike(Model):
    """Calls of one operator that are alike: how many, and what each does with operands of that number format."""

    calls: int
    """How many."""
    macs: int = 0
    """MACs of each."""
    flops: int = 0
    """FLOPs of each."""
    moved_bytes: int = 0
    """What each reads and writes."""
    dtype: str = "float32"
    """Number format of the operands."""
    products: tuple[tuple[int, int, int, int], ...] = ()
    """Of matrix work: batch, rows, columns and depth of each product."""
    window: tuple[int, int, int, int] | None = None
    """Sides of the output and of the kernel of a convolution without steps, gaps or groups."""
    row_length: int | None = None
    """Of a softmax or a layer norm."""


class Operator(Model):
    """All calls of one operator in the ledger."""

    name: str
    """As torch's dispatcher calls it, e.g. `aten.convolution`."""
    status: Literal["counted", "free", "uncounted"]
    """`counted`: matrix work (MACs) or with a formula (FLOPs alone); `free`: moves or names data; `uncounted`: did
    arithmetic for which there is no formula."""
    calls: int
    """How often it was called."""
    macs: int = 0
    """Multiply-adds of all calls."""
    flops: int = 0
    """Two per MAC, and element-wise work."""
    moved_bytes: int = 0
    """What all calls read and write."""
    torch_macs: int | None = None
    """By torch's own counter; None where it was not asked or has no formula."""
    alike: tuple[Alike, ...] = ()
    """The calls apart, those that do nothing but name data left out."""


def uncounted_calls(ledger: Iterable[Operator]) -> dict[str, int]:
    """Calls of each operator of a ledger that did arithmetic which is in no count."""
    return {row.name: row.calls for row in ledger if row.status == "uncounted"}


def uncounted_note(calls: Mapping[str, int]) -> str:
    """Say which operators are not counted, as `uncounted_calls` has them; nothing where all are."""
    texts = (f"{name} ({count} call{'s' * (count != 1)})" for name, count in calls.items())
    return f"not counted: {', '.join(texts)}" if calls else ""


class Counts(Model):
    """What a module holds and what one call of it does, without running it."""

    parameters: int
    """Numbers in the parameters."""
    buffers: int
    """Numbers in the buffers."""
    macs: int
    """Multiply-adds of matrix work."""
    flops: int
    """Two per MAC, and the element-wise work (softmax, norm, pooling, interpolation)."""
    ledger: tuple[Operator, ...] = ()
    """The operators that were called."""
    analytic_macs: int | None = None
    """The same by the closed form of a block of ours."""
    small_macs: int | None = None
    """Our count of a small copy, on which fvcore was asked."""
    fvcore_macs: int | None = None
    """What fvcore counts of that small copy."""
    paper_operations: int | None = None
    """The count by the released script's rules, where they apply."""
    disputed: str = ""
    """Where another counter disagrees, and by how much."""

    @property
    def torch_macs(self) -> int | None:
        """MACs by torch's own counter, to which what it has no formula for is nothing; None where it was not asked."""
        known = [row.torch_macs for row in self.ledger if row.torch_macs is not None]
        return sum(known) if known else None

    @property
    def uncounted(self) -> str:
        """Which operators are in none of these numbers, and how often they were called; empty if all are."""
        return uncounted_note(uncounted_calls(self.ledger))


class LiveTensor(Model):
    """A tensor that was alive at the peak, and the operator and module that made it."""

    operator: str
    """Which made it."""
    module: str
    """In which it was made."""
    shape: tuple[int, ...]
    """Its sides."""
    dtype: str
    """Its number format."""
    size_bytes: int
    """What it takes."""


class PredictedMemory(Model):
    """Peak of the live tensors, from the dispatch of one call on fake tensors; without workspaces."""

    peak_bytes: int
    """Everything that is alive at the peak."""
    increment_bytes: int
    """What the call adds to inputs and parameters."""
    input_bytes: int
    """The inputs."""
    parameter_bytes: int
    """Parameters and buffers."""
    peak_operator: str
    """The operator in which the peak is reached."""
    live: tuple[LiveTensor, ...] = ()
    """Tensors that are alive at the peak, the largest first."""
    by_module: dict[str, int] = Field(default_factory=dict)
    """Bytes at the peak by the module that made them."""
    paper_bytes: int | None = None
    """The figure by the released script's procedure."""
    device: Literal["cpu", "cuda"] | None = None
    """The one whose rules apply where they differ: autocast's casts, the choice of an attention kernel."""
    allocated_bytes: int | None = None
    """What the call adds by the rules of CUDA's allocator; None of a processor and in old records."""
    reserved_bytes: int | None = None
    """What that allocator reserves for it."""
    expandable_reserved_bytes: int | None = None
    """The same with expandable segments."""


class MeasuredMemory(Model):
    """Peak of one executed call over what stood before it (inputs and parameters in place)."""

    requested_bytes: int | None = None
    """On CUDA: what the tensors asked for."""
    allocated_bytes: int | None = None
    """On CUDA: what the allocator gave."""
    reserved_bytes: int | None = None
    """On CUDA: what the allocator took from the driver."""
    driver_bytes: int | None = None
    """On CUDA: by how much the device's free memory fell; None where other processes were on it."""
    high_water_bytes: int | None = None
    """On a processor: by how much the high-water mark of the process rose."""
    resolution_bytes: int | None = None
    """How much of that may be missing, since the kernel adds up pages by many."""
    paper_bytes: int | None = None
    """The figure by the released script's procedure."""

    @property
    def added_bytes(self) -> int | None:
        """What the call's tensors took: requested bytes on CUDA, else the high-water mark."""
        return self.high_water_bytes if self.requested_bytes is None else self.requested_bytes


# How the note begins that says why no graph could be captured.
NO_GRAPH = "no CUDA graph: "


class Timing(Model):
    """Samples of one clock."""

    clock: Literal["cuda-events", "cuda-graph", "process", "wall"]
    """Which: events or a graph on a GPU, processor time of all threads, or wall time."""
    cache: Literal["hot", "cold"] = "hot"
    """`cold`: the cache was flushed before each call."""
    samples_s: tuple[float, ...]
    """Time of one call, each over `launches` calls."""
    launches: int = 1
    """Calls in a sample."""
    warmup_s: float = 0.0
    """How long calls were made before the first sample."""
    steady: bool = True
    """Whether the warm-up became steady."""
    host_bound: bool = False
    """Whether a GPU waited for the host, so that the time is the host's."""
    rejected: tuple[int, ...] = ()
    """Indexes of samples whose GPU clock was low or throttled; they stay in `samples_s`."""
    sm_clocks_mhz: tuple[int, ...] = ()
    """Clock of the GPU at each sample."""
    throttle_reasons: tuple[str, ...] = ()
    """Why the driver slowed it."""
    floor_s: float | None = None
    """Of old records."""
    notes: tuple[str, ...] = ()
    """What could not be had, e.g. a graph that would not be captured."""
    caveats: tuple[str, ...] = ()
    """What the call does that its time does not tell, e.g. that it returns its input."""


class OperatorTime(Model):
    """Time of all calls of one operator in each of several runs, from the profiler."""

    name: str
    """As the profiler calls it."""
    group: str
    """What kind of work it is."""
    samples_s: tuple[float, ...]
    """One run each."""


class Accuracy(Model):
    """What a trained network said of every pixel of a set, and how it was trained."""

    dataset: str
    """Name of the data set."""
    split: str
    """Part of it that was evaluated."""
    classes: tuple[str, ...]
    """Their names, in the order of the matrix."""
    confusion: tuple[tuple[int, ...], ...]
    """A row for the true class and a column for the predicted one, in pixels; ignored ones are not in it."""
    iterations: int
    """Steps of the training."""
    train_images: int
    """Images that it was trained on."""
    losses: tuple[tuple[int, float], ...] = ()
    """(iteration, loss), sampled."""
    images_per_s: tuple[float, ...] = ()
    """Of all processes together, sampled."""
    step_time_s: tuple[float, ...] = ()
    """Of an iteration, at the same places."""
    protocol: str = ""
    """How it was evaluated, by name."""
    backbone: str = ""
    """Name of the backbone."""
    groups: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Classes that the data set tells apart, by their indexes, e.g. those that need a cue from far away."""
    empty_crops: int = 0
    """Crops without a labelled pixel, which added nothing to the loss."""
    image_confusions: str = ""
    """Matrices of the images in their order, packed (`ImageConfusions.unpack`); they sum to `confusion`."""
    features: Literal["trained", "frozen"] = "trained"
    """Whether the backbone was trained, or kept as it was `pretrained`."""
    pretrained: str | None = None
    """Weights of the backbone; None for random ones."""
    precision: str = ""
    """What the training computed in."""
    notes: tuple[str, ...] = ()
    """On the file of weights, where they came from one."""

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        count = len(self.classes)
        if {len(self.confusion), *map(len, self.confusion)} != {count}:
            msg = f"confusion is not {count}x{count} although there are {count} classes"
            raise ValueError(msg)
        if self.image_confusions:
            from bench.records.image_confusions import ImageConfusions  # brings numpy

            total = ImageConfusions.unpack(self.image_confusions, count).total().tolist()
            if tuple(map(tuple, total)) != self.confusion:
                msg = "image_confusions do not sum to confusion; evaluate the network again"
                raise ValueError(msg)
        return self


class Checksum(Model):
    """What an output tensor holds, in a few numbers; values that are not finite are left out of them."""

    name: str = ""
    """Its path in what was returned."""
    form: str = ""
    """Its type and shape in words; empty in old records."""
    shape: tuple[int, ...]
    """Of complex numbers with a last side of two."""
    mean: float
    """Of the values."""
    spread: float
    """Their root mean square."""
    mix: float
    """Their mean with a sign each from a fixed sequence, so that values which changed places are noticed."""
    largest: float
    """The largest value without sign."""
    not_finite: int = 0
    """How many values are NaN or infinite."""


class ToolCount(Model):
    """What another counter says of the same call, in its own unit, or the reason why it says nothing."""

    tool: str
    """Name of the package."""
    version: str | None = None
    """Its version."""
    unit: Literal["MAC", "FLOP"] = "MAC"
    """What it counts."""
    reported: int | None = Field(default=None, le=2**63)
    """Its count."""
    reason: str | None = None
    """Why it has none."""


class Ceiling(Model):
    """What a machine reaches in one respect: a copy in its memory, or a product of square matrices."""

    kind: Literal["copy", "product"]
    """Which."""
    dtype: str = "float32"
    """Number format."""
    amount: int = 0
    """What one call does: bytes read and written of a copy, FLOPs of a product."""
    timing: Timing | None = None
    """Time of a call."""
    reason: str | None = None
    """Why it can't be had."""


class Measures(Model):
    """What the probes read; None where a cell has no such probe or its reading can't be had."""

    counts: Counts | None = None
    """Parameters and operations."""
    predicted: PredictedMemory | None = None
    """Memory, predicted."""
    memory: MeasuredMemory | None = None
    """Memory, measured."""
    timings: tuple[Timing, ...] = ()
    """Time, by one clock each."""
    operations: tuple[OperatorTime, ...] = ()
    """Time by operator."""
    readings: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Samples of further probes in base units, the unit in the key, e.g. {"energy_j": (0.5, 0.6)}."""
    accuracy: Accuracy | None = None
    """Of a training or a checkpoint."""
    kernels: tuple[str, ...] = ()
    """Attention operators that ran, with the kernels below them, the most frequent first."""
    # On file it has the name that it had at first.
    counters: tuple[ToolCount, ...] = Field(
        default=(), validation_alias=AliasChoices("rivals", "counters")
    )
    """What other tools count; `rivals` on file, as they were called at first."""
    outputs: tuple[Checksum, ...] = ()
    """Checksums of what a call returned."""
    ceilings: tuple[Ceiling, ...] = ()
    """What the machine reaches."""
    printed: dict[str, float] = Field(default_factory=dict)
    """A document's numbers as it prints them, the unit in the key, e.g. {"memory_mb": 609}."""

    @model_serializer(mode="wrap")
    def _as_on_file(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"rivals" if key == "counters" else key: x for key, x in write(self).items()}


class Environment(Model):
    """Machine, versions and switches under which the measures were taken."""

    device: Literal["cpu", "cuda", "meta"]
    """Kind of device."""
    device_name: str
    """As processor or driver call it."""
    cores: int
    """Logical processors that the process may use."""
    threads: int
    """That torch used."""
    memory_bytes: int
    """Of the device, in all."""
    os: str
    """Operating system."""
    python: str
    """Version."""
    torch: str
    """Version."""
    packages: dict[str, str] = Field(default_factory=dict)
    """Versions of other packages on which readings depend."""
    cuda: str | None = None
    """Version that torch was built for."""
    cudnn: str | None = None
    """Version."""
    driver: str | None = None
    """Version of NVIDIA's driver."""
    compute_capability: str | None = None
    """Of the GPU, e.g. `9.0`."""
    flags: dict[str, str] = Field(default_factory=dict)
    """torch's switches for precision and choice of kernels, and environment variables that change them."""
    commit: str | None = None
    """Of the suite, `-dirty` if changed since."""
    code: str | None = None
    """Digest of the code on which the record depends; where it changes, a cell is measured again."""
    load_average: float | None = None
    """Of the last minute, before the run."""


class Document(Model):
    """Where a published number stands."""

    title: str
    """Of the document."""
    table: str
    """As it is numbered there."""
    row: str
    """As it is called there."""
    device: str | None = None
    """On which it was measured."""
    note: str | None = None
    """What else the document says of it."""
    protocols: dict[str, str] = Field(default_factory=dict)
    """How its accuracies were evaluated, by their printed names."""


FailureKind = Literal["out-of-memory", "foreseen", "timeout", "unavailable", "import", "error"]


class Failure(Model):
    """Why a cell has no reading."""

    kind: FailureKind
    """`foreseen`: it can't fit, so it was not tried; `unavailable`: the device or a package lacks what it needs."""
    reason: str
    """In a sentence."""
    needs_bytes: int | None = None
    """Of memory, where that was the reason."""


class Record(Model):
    """One cell's outcome: measures, or a failure with its reason (and the measures taken before it)."""

    schema_version: Literal[1] = 1
    """Of this form."""
    source: Literal["measured", "predicted", "published"]
    """`measured` by a run, `predicted` without one, `published` in a document."""
    experiment: str
    """Name of the experiment that asked for it."""
    cell: str
    """Twelve digits that change with anything that changes what is measured."""
    subject: str
    """Block or network, by name or as `package.module:factory`."""
    axes: dict[str, str | int | float]
    """What tells its row from others in the experiment's table."""
    size: str
    """Of the map or image, WIDTHxHEIGHT."""
    batch: int = 1
    """Maps or images at once."""
    dtype: str = "float32"
    """Number format."""
    mode: Literal["eval", "train"] = "eval"
    """`eval` is a forward pass, `train` a forward and a backward one."""
    protocol: Literal["strict", "paper"] = "strict"
    """`strict` is this suite's, `paper` repeats what the released scripts did."""
    implementation: str = "plain"
    """`plain` as the documents have it, or another way to compute the same."""
    input_gradient: bool = False
    """Whether a step of training made gradients of the maps that came in, too."""
    measures: Measures = Field(default_factory=Measures)
    """What was read."""
    failure: Failure | None = None
    """Why there is no reading."""
    environment: Environment | None = None
    """Where it was taken."""
    document: Document | None = None
    """Where a published number stands."""
    created_at: str = ""
    """UTC, ISO 8601."""
    command: str = ""
    """Which made it."""


def read_records(path: Path) -> tuple[Record, ...]:
    """Read the records of a .jsonl file, or of every one below a folder in the order of names.

    A last line without its newline is what a killed run leaves; it is passed over.

    Raises:
        ValueError: there is no such file, or a line is no record; the message names file, line and field.
    """
    if not path.exists():
        msg = f"records {str(path)!r} do not exist; give a .jsonl file or a folder that holds some"
        raise ValueError(msg)
    paths = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
    return files.read_models(Record, [each for each in paths if each.name != COMPARISONS_FILE])
