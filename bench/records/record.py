"""Records: one a line of JSON, raw samples in base units, and where they were taken.

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
    """Number of such calls."""
    macs: int = 0
    """MACs of one call."""
    flops: int = 0
    """FLOPs of one call."""
    moved_bytes: int = 0
    """What one call reads and writes."""
    dtype: str = "float32"
    """Number format of the operands."""
    products: tuple[tuple[int, int, int, int], ...] = ()
    """For matrix work: batch, rows, columns and depth of each product."""
    window: tuple[int, int, int, int] | None = None
    """For a convolution without stride, dilation or groups: height and width of output and kernel."""
    row_length: int | None = None
    """For a softmax or a layer norm."""


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
    """The same calls, grouped by what they do; without calls that only name data."""


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
    """Number of parameters."""
    buffers: int
    """Number of values in buffers."""
    macs: int
    """Multiply-adds of matrix work."""
    flops: int
    """Two per MAC, and the element-wise work (softmax, norm, pooling, interpolation)."""
    ledger: tuple[Operator, ...] = ()
    """All operators that were called."""
    analytic_macs: int | None = None
    """MACs by the closed form, for blocks of ours."""
    small_macs: int | None = None
    """Our count of a small copy, which fvcore counted as well."""
    fvcore_macs: int | None = None
    """fvcore's count of that small copy."""
    paper_operations: int | None = None
    """The count by the released script's rules, where they apply."""
    disputed: str = ""
    """Which other counter disagrees, and by how much."""

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
    """The operator that made it."""
    module: str
    """The module that made it."""
    shape: tuple[int, ...]
    """Its dimensions."""
    dtype: str
    """Its number format."""
    size_bytes: int
    """Its size."""


class PredictedMemory(Model):
    """Peak of the live tensors, from the dispatch of one call on fake tensors; without workspaces."""

    peak_bytes: int
    """All live tensors at the peak."""
    increment_bytes: int
    """What the call adds to inputs and parameters."""
    input_bytes: int
    """Size of the inputs."""
    parameter_bytes: int
    """Size of parameters and buffers."""
    peak_operator: str
    """The operator in which the peak is reached."""
    live: tuple[LiveTensor, ...] = ()
    """Tensors that are alive at the peak, the largest first."""
    by_module: dict[str, int] = Field(default_factory=dict)
    """Bytes at the peak, by the module that made them."""
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
    """CUDA: bytes that tensors requested."""
    allocated_bytes: int | None = None
    """CUDA: bytes that the allocator gave out."""
    reserved_bytes: int | None = None
    """CUDA: bytes that the allocator took from the driver."""
    driver_bytes: int | None = None
    """CUDA: by how much the free memory of the device fell; None if other processes were using it."""
    high_water_bytes: int | None = None
    """CPU: by how much the high-water mark of the process rose."""
    resolution_bytes: int | None = None
    """CPU: how much of that may be missing, since the kernel updates its counters in batches."""
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
    """CUDA events, a CUDA graph, processor time of all threads, or wall time."""
    cache: Literal["hot", "cold"] = "hot"
    """`cold`: the GPU's cache was flushed before each call."""
    samples_s: tuple[float, ...]
    """Time of one call in each sample, as the mean over `launches` calls."""
    launches: int = 1
    """Calls in a sample."""
    warmup_s: float = 0.0
    """Duration of the warm-up."""
    steady: bool = True
    """Whether times became steady during the warm-up."""
    host_bound: bool = False
    """Whether the GPU waited for the host, so that the time is that of the host."""
    rejected: tuple[int, ...] = ()
    """Indexes of samples whose GPU clock was low or throttled; they stay in `samples_s`."""
    sm_clocks_mhz: tuple[int, ...] = ()
    """Clock of the GPU at each sample."""
    throttle_reasons: tuple[str, ...] = ()
    """Why the driver lowered the clock."""
    floor_s: float | None = None
    """In old records only."""
    notes: tuple[str, ...] = ()
    """What could not be had, e.g. a graph that would not be captured."""
    caveats: tuple[str, ...] = ()
    """What the call does that the time does not show, e.g. that it returns its input."""


class OperatorTime(Model):
    """Time of all calls of one operator in each of several runs, from the profiler."""

    name: str
    """Name in the profiler."""
    group: str
    """Kind of work."""
    samples_s: tuple[float, ...]
    """Total time of its calls in each run."""


class Accuracy(Model):
    """What a trained network said of every pixel of a set, and how it was trained."""

    dataset: str
    """Data set."""
    split: str
    """The part of the data set that was evaluated."""
    classes: tuple[str, ...]
    """Names of the classes, in the order of the matrix."""
    confusion: tuple[tuple[int, ...], ...]
    """Pixels, with a row for each true class and a column for each predicted one; ignored pixels are not counted."""
    iterations: int
    """Training steps."""
    train_images: int
    """Number of training images."""
    losses: tuple[tuple[int, float], ...] = ()
    """(iteration, loss), at intervals."""
    images_per_s: tuple[float, ...] = ()
    """Training speed of all processes together, at intervals."""
    step_time_s: tuple[float, ...] = ()
    """Time of one iteration, at the same intervals."""
    protocol: str = ""
    """Name of the evaluation protocol."""
    backbone: str = ""
    """Name of the backbone."""
    groups: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    """Classes that the data set puts together, by index, e.g. those that need a cue from far away."""
    empty_crops: int = 0
    """Crops without a labelled pixel, which added nothing to the loss."""
    image_confusions: str = ""
    """The matrix of each image, packed (`ImageConfusions.unpack`); their sum is `confusion`."""
    features: Literal["trained", "frozen"] = "trained"
    """Whether the backbone was trained, or kept `frozen`."""
    pretrained: str | None = None
    """Weights of the backbone; None for random ones."""
    precision: str = ""
    """Number format of the training."""
    notes: tuple[str, ...] = ()
    """Notes on the checkpoint file."""

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
    """Path in the returned value."""
    form: str = ""
    """Type and shape in words; empty in old records."""
    shape: tuple[int, ...]
    """Dimensions; complex numbers have a last dimension of two."""
    mean: float
    """Mean of the values."""
    spread: float
    """Root mean square of the values."""
    mix: float
    """Mean with fixed pseudo-random signs, which changes if values change places."""
    largest: float
    """Largest absolute value."""
    not_finite: int = 0
    """Number of NaN and infinite values."""


class ToolCount(Model):
    """What another counter says of the same call, in its own unit, or the reason why it says nothing."""

    tool: str
    """Package."""
    version: str | None = None
    """Version of the package."""
    unit: Literal["MAC", "FLOP"] = "MAC"
    """Unit of the count."""
    reported: int | None = Field(default=None, le=2**63)
    """The count."""
    reason: str | None = None
    """Why there is no count."""


class Ceiling(Model):
    """What a machine reaches in one respect: a copy in its memory, or a product of square matrices."""

    kind: Literal["copy", "product"]
    """What was timed."""
    dtype: str = "float32"
    """Number format."""
    amount: int = 0
    """Work of one call: bytes read and written for a copy, FLOPs for a product."""
    timing: Timing | None = None
    """Time of a call."""
    reason: str | None = None
    """Why there is none."""


class Measures(Model):
    """What the probes read; None where a cell has no such probe or its reading can't be had."""

    counts: Counts | None = None
    """Parameters and operations."""
    predicted: PredictedMemory | None = None
    """Predicted memory."""
    memory: MeasuredMemory | None = None
    """Measured memory."""
    timings: tuple[Timing, ...] = ()
    """Measured time, one entry for each clock."""
    operations: tuple[OperatorTime, ...] = ()
    """Measured time by operator."""
    readings: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Samples of further probes in base units, the unit in the key, e.g. {"energy_j": (0.5, 0.6)}."""
    accuracy: Accuracy | None = None
    """Result of a training, or of a checkpoint."""
    kernels: tuple[str, ...] = ()
    """Attention operators that ran, with the kernels below them, the most frequent first."""
    # On file it has the name that it had at first.
    counters: tuple[ToolCount, ...] = Field(
        default=(), validation_alias=AliasChoices("rivals", "counters")
    )
    """Counts by other tools; on file the field is called `rivals`, as at first."""
    outputs: tuple[Checksum, ...] = ()
    """Checksums of what a call returned."""
    ceilings: tuple[Ceiling, ...] = ()
    """The fastest copy and matrix products that this machine reaches."""
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
    """Name of the processor or GPU."""
    cores: int
    """Logical processors available to the process."""
    threads: int
    """Threads that torch used."""
    memory_bytes: int
    """Total memory of the device."""
    os: str
    """Operating system."""
    python: str
    """Version of Python."""
    torch: str
    """Version of torch."""
    packages: dict[str, str] = Field(default_factory=dict)
    """Versions of other packages that affect readings."""
    cuda: str | None = None
    """CUDA version that torch was built for."""
    cudnn: str | None = None
    """Version of cuDNN."""
    driver: str | None = None
    """Version of the NVIDIA driver."""
    compute_capability: str | None = None
    """Compute capability of the GPU, e.g. `9.0`."""
    flags: dict[str, str] = Field(default_factory=dict)
    """Switches of torch and environment variables that affect precision or the choice of kernels."""
    commit: str | None = None
    """Commit of the suite, with `-dirty` if files were changed."""
    code: str | None = None
    """Digest of the code that the record depends on; when it changes, the cell is measured again."""
    load_average: float | None = None
    """Load of the last minute before the run."""


class Document(Model):
    """Where a published number stands."""

    title: str
    """Title of the document."""
    table: str
    """Number of the table."""
    row: str
    """Name of the row."""
    device: str | None = None
    """Device that the document names."""
    note: str | None = None
    """Further remarks of the document."""
    protocols: dict[str, str] = Field(default_factory=dict)
    """How its accuracies were evaluated, by the names that it prints."""


FailureKind = Literal["out-of-memory", "foreseen", "timeout", "unavailable", "import", "error"]


class Failure(Model):
    """Why a cell has no reading."""

    kind: FailureKind
    """`foreseen`: predicted not to fit, so not tried; `unavailable`: the device or a package lacks what it needs."""
    reason: str
    """The reason, in a sentence."""
    needs_bytes: int | None = None
    """Memory that it needs, if that was the reason."""


class Record(Model):
    """One cell's outcome: measures, or a failure with its reason (and the measures taken before it)."""

    schema_version: Literal[1] = 1
    """Version of this format."""
    source: Literal["measured", "predicted", "published"]
    """`measured` by a run, `predicted` without one, `published` in a document."""
    experiment: str
    """Name of the experiment that asked for it."""
    cell: str
    """Twelve digits that change with anything that changes what is measured."""
    subject: str
    """Block or network, by name or as `package.module:factory`."""
    axes: dict[str, str | int | float]
    """The coordinates of its row in the experiment's table, by name."""
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
    """`plain` follows the documents; others compute the same in another way, e.g. `fast`."""
    input_gradient: bool = False
    """Whether a training step also computed gradients of the input maps."""
    measures: Measures = Field(default_factory=Measures)
    """The readings."""
    failure: Failure | None = None
    """Why there is no reading."""
    environment: Environment | None = None
    """Machine and versions."""
    document: Document | None = None
    """Where a published number is printed."""
    created_at: str = ""
    """Time of writing: UTC, ISO 8601."""
    command: str = ""
    """The command line that made it."""


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
