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
    """Calls of one operator that are alike: how many, and what each does with operands of that number format.

    Of matrix work `products` has batch, rows, columns and depth of each product, and `window` the sides of the output
    and of the kernel of a convolution without steps, gaps or groups. `row_length` is of a softmax or a layer norm.
    """

    calls: int
    macs: int = 0
    flops: int = 0
    moved_bytes: int = 0
    dtype: str = "float32"
    products: tuple[tuple[int, int, int, int], ...] = ()
    window: tuple[int, int, int, int] | None = None
    row_length: int | None = None


class Operator(Model):
    """All calls of one operator in the ledger.

    `counted` operators are matrix work (MACs) or have a formula (FLOPs alone); `free` ones move or
    name data; `uncounted` ones did arithmetic for which there is no formula. `moved_bytes` is what
    they read and write. `torch_macs` is what torch's own counter has for them, where it was asked
    and has a formula. `alike` are the calls apart, those that do nothing but name data left out.
    """

    name: str
    status: Literal["counted", "free", "uncounted"]
    calls: int
    macs: int = 0
    flops: int = 0
    moved_bytes: int = 0
    torch_macs: int | None = None
    alike: tuple[Alike, ...] = ()


def uncounted_calls(ledger: Iterable[Operator]) -> dict[str, int]:
    """Calls of each operator of a ledger that did arithmetic which is in no count."""
    return {row.name: row.calls for row in ledger if row.status == "uncounted"}


def uncounted_note(calls: Mapping[str, int]) -> str:
    """Say which operators are not counted, as `uncounted_calls` has them; nothing where all are."""
    texts = (f"{name} ({count} call{'s' * (count != 1)})" for name, count in calls.items())
    return f"not counted: {', '.join(texts)}" if calls else ""


class Counts(Model):
    """What a module holds and what one call of it does, without running it.

    `flops` counts 2 per MAC of matrix work and adds the element-wise work (softmax, norm, pooling,
    interpolation). `paper_operations` is the count by the released script's rules, where they apply. `disputed`
    says where another counter disagrees.
    """

    parameters: int
    buffers: int
    macs: int
    flops: int
    ledger: tuple[Operator, ...] = ()
    analytic_macs: int | None = None
    small_macs: int | None = None
    fvcore_macs: int | None = None
    paper_operations: int | None = None
    disputed: str = ""

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
    module: str
    shape: tuple[int, ...]
    dtype: str
    size_bytes: int


class PredictedMemory(Model):
    """Peak of the live tensors, from the dispatch of one call on fake tensors; without workspaces.

    `peak_bytes` is everything alive at the peak; `increment_bytes` is what the call adds to inputs
    and parameters. `paper_bytes` is the figure by the released script's procedure. `device` is the
    one whose rules apply where they differ: autocast's casts, the choice of an attention kernel.
    `allocated_bytes` and `reserved_bytes` are what the call adds by the rules of CUDA's allocator, the
    latter also with expandable segments; None of a processor and in old records.
    """

    peak_bytes: int
    increment_bytes: int
    input_bytes: int
    parameter_bytes: int
    peak_operator: str
    live: tuple[LiveTensor, ...] = ()
    by_module: dict[str, int] = Field(default_factory=dict)
    paper_bytes: int | None = None
    device: Literal["cpu", "cuda"] | None = None
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    expandable_reserved_bytes: int | None = None


class MeasuredMemory(Model):
    """Peak of one executed call over what stood before it (inputs and parameters in place).

    On CUDA the allocator's requested, allocated and reserved bytes and the driver's; on the CPU the
    high-water mark of the process, and how much of it may be missing since the kernel adds up pages by
    many. `paper_bytes` is the figure by the released script's procedure.
    """

    requested_bytes: int | None = None
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    driver_bytes: int | None = None
    high_water_bytes: int | None = None
    resolution_bytes: int | None = None
    paper_bytes: int | None = None

    @property
    def added_bytes(self) -> int | None:
        """What the call's tensors took: requested bytes on CUDA, else the high-water mark."""
        return self.high_water_bytes if self.requested_bytes is None else self.requested_bytes


# How the note begins that says why no graph could be captured.
NO_GRAPH = "no CUDA graph: "


class Timing(Model):
    """Samples of one clock; each sample is the time of one call, over `launches` calls.

    `rejected` are the indexes of samples whose GPU clock was low or throttled; they stay in
    `samples_s`. `notes` say what could not be had, e.g. a graph that would not be captured; `caveats`
    what the call does that its time does not tell, e.g. that it returns its input.
    """

    clock: Literal["cuda-events", "cuda-graph", "process", "wall"]
    cache: Literal["hot", "cold"] = "hot"
    samples_s: tuple[float, ...]
    launches: int = 1
    warmup_s: float = 0.0
    steady: bool = True
    host_bound: bool = False
    rejected: tuple[int, ...] = ()
    sm_clocks_mhz: tuple[int, ...] = ()
    throttle_reasons: tuple[str, ...] = ()
    floor_s: float | None = None
    notes: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()


class OperatorTime(Model):
    """Time of all calls of one operator in each of several runs, from the profiler."""

    name: str
    group: str
    samples_s: tuple[float, ...]


class Accuracy(Model):
    """What a trained network said of every pixel of a set, and how it was trained.

    `confusion` has a row for the true class and a column for the predicted one, in pixels; ignored
    ones are not in it. `losses` are (iteration, loss), sampled. `protocol` names how it was evaluated.
    `groups` are classes that the data set tells apart, by their indexes, e.g. those that need a cue
    from far away. `empty_crops` are crops without a labelled pixel, which added nothing to the loss.
    `image_confusions` are the matrices of the images, in their order, which sum to `confusion`; as
    `ImageConfusions.unpack` reads them, none in old records. `features` are those of the backbone, which
    was trained or kept as it was `pretrained`; `precision` is what the training computed in. `notes` are on the file
    of weights, where they came from one.
    """

    dataset: str
    split: str
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    iterations: int
    train_images: int
    losses: tuple[tuple[int, float], ...] = ()
    images_per_s: tuple[float, ...] = ()
    step_time_s: tuple[float, ...] = ()
    protocol: str = ""
    backbone: str = ""
    groups: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    empty_crops: int = 0
    image_confusions: str = ""
    features: Literal["trained", "frozen"] = "trained"
    pretrained: str | None = None
    precision: str = ""
    notes: tuple[str, ...] = ()

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
    """What an output tensor holds, in three numbers, and the largest of its values without sign.

    `mean` of the values, `spread` (their root mean square) and `mix`: their mean with a sign each from
    a fixed sequence, so that values which changed places are noticed too. Of complex numbers the shape has a last
    side of two. `name` is its path in what was returned, `form` its type and shape in words, empty in old
    records; values that are `not_finite` are counted and left out.
    """

    name: str = ""
    form: str = ""
    shape: tuple[int, ...]
    mean: float
    spread: float
    mix: float
    largest: float
    not_finite: int = 0


class ToolCount(Model):
    """What another counter says of the same call, in its own unit, or the reason why it says nothing."""

    tool: str
    version: str | None = None
    unit: Literal["MAC", "FLOP"] = "MAC"
    reported: int | None = Field(default=None, le=2**63)
    reason: str | None = None


class Ceiling(Model):
    """What a machine reaches in one respect: a copy in its memory, or a product of square matrices.

    `amount` is what one call does, in bytes read and written or FLOPs; `reason` why it can't be had.
    """

    kind: Literal["copy", "product"]
    dtype: str = "float32"
    amount: int = 0
    timing: Timing | None = None
    reason: str | None = None


class Measures(Model):
    """What the probes read; None where a cell has no such probe or its reading can't be had."""

    counts: Counts | None = None
    predicted: PredictedMemory | None = None
    memory: MeasuredMemory | None = None
    timings: tuple[Timing, ...] = ()
    operations: tuple[OperatorTime, ...] = ()
    readings: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Samples of further probes in base units, the unit in the key, e.g. {"energy_j": (0.5, 0.6)}."""
    accuracy: Accuracy | None = None
    kernels: tuple[str, ...] = ()
    """Attention operators that ran, with the kernels below them, the most frequent first."""
    # On file it has the name that it had at first.
    counters: tuple[ToolCount, ...] = Field(
        default=(), validation_alias=AliasChoices("rivals", "counters")
    )
    outputs: tuple[Checksum, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    printed: dict[str, float] = Field(default_factory=dict)
    """A document's numbers as it prints them, the unit in the key, e.g. {"memory_mb": 609}."""

    @model_serializer(mode="wrap")
    def _as_on_file(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"rivals" if key == "counters" else key: x for key, x in write(self).items()}


class Environment(Model):
    """Machine, versions and switches under which the measures were taken."""

    device: Literal["cpu", "cuda", "meta"]
    device_name: str
    cores: int
    threads: int
    memory_bytes: int
    os: str
    python: str
    torch: str
    packages: dict[str, str] = Field(default_factory=dict)
    cuda: str | None = None
    cudnn: str | None = None
    driver: str | None = None
    compute_capability: str | None = None
    flags: dict[str, str] = Field(default_factory=dict)
    commit: str | None = None
    code: str | None = None
    load_average: float | None = None


class Document(Model):
    """Where a published number stands; `protocols` is how its accuracies were evaluated, by their printed names."""

    title: str
    table: str
    row: str
    device: str | None = None
    note: str | None = None
    protocols: dict[str, str] = Field(default_factory=dict)


FailureKind = Literal["out-of-memory", "foreseen", "timeout", "unavailable", "import", "error"]


class Failure(Model):
    """Why a cell has no reading."""

    kind: FailureKind
    reason: str
    needs_bytes: int | None = None


class Record(Model):
    """One cell's outcome: measures, or a failure with its reason (and the measures taken before it).

    `input_gradient` says that a step of training made gradients of the maps that came in, too.
    """

    schema_version: Literal[1] = 1
    source: Literal["measured", "predicted", "published"]
    experiment: str
    cell: str
    subject: str
    axes: dict[str, str | int | float]
    size: str
    batch: int = 1
    dtype: str = "float32"
    mode: Literal["eval", "train"] = "eval"
    protocol: Literal["strict", "paper"] = "strict"
    implementation: str = "plain"
    input_gradient: bool = False
    measures: Measures = Field(default_factory=Measures)
    failure: Failure | None = None
    environment: Environment | None = None
    document: Document | None = None
    created_at: str = ""
    command: str = ""


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
