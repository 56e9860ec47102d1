"""What CUDA's caching allocator makes of a call: predicted by its rules, measured on a GPU, and what fits on which."""

from collections.abc import Iterable, Sequence
from functools import partial
from operator import itemgetter

from bench.analysis import CONTEXT_BYTES, DEVICES, DRIVER_SHARE, WORKSPACE_NOTES
from bench.records import Fit, PeakPart
from reports import model
from reports.model import Column, Field, Frame, Mark, Row, Table, Value

ALLOCATOR_NOTE = (
    "Memory is what one call adds to input and parameters. Tensors need their bytes; allocated are the blocks that the "
    "allocator hands out for them, and for what softmax's backward pass makes for itself; reserved are the segments of "
    "which blocks are cut, also with expandable segments."
)
KINDS = {
    "tensors": ("increment_bytes", "requested_bytes"),
    "allocated": ("allocated_bytes", "memory_bytes"),
    "reserved": ("reserved_bytes", "reserved_bytes"),
    "reserved, expandable": ("expandable_reserved_bytes", None),
}
TOLD_SHARE = 0.05
GOES_THROUGH = (
    "A call fits if it goes through CUDA's allocator, replayed, with parameters, input and gradients; the next larger "
    "one does not. Training is forward and backward pass, without an optimiser's state. Whether kernels take tensors "
    "so large is not looked at."
)
MADE_OF = (
    "Made of: shares of the tensors that are alive at the peak of the largest map on the {}, with the operators that "
    "made them; softmax's backward pass has one more map for itself."
)


def allocator_table(frame: Frame, experiment: str, title: str) -> Table:
    """Predicted and measured memory of blocks; a row for each prediction for CUDA."""
    rows = [
        row
        for row in model.rows_of_experiment(frame, experiment)
        if row["protocol"] == "strict" and row["predicted_allocated_bytes"] is not None
    ]
    fields = (field for kind in KINDS for field in _fields(kind))
    return model.tabulate(
        sorted(rows, key=model.pixels),
        (*model.BLOCK_FIELDS[:2], *model.device_column(rows), *model.BLOCK_FIELDS[2:], *fields),
        name=f"{experiment}-allocator",
        title=f"{title}: memory by the rules of CUDA's allocator",
        notes=(ALLOCATOR_NOTE, *WORKSPACE_NOTES),
        group_by=(1,),
    )


def _fields(kind: str) -> tuple[Field, ...]:
    predicted, measured = KINDS[kind]
    column = partial(model.memory_column, kind)
    foreseen = Field(column("predicted"), itemgetter(f"predicted_{predicted}"))
    if measured is None:
        return (foreseen,)
    return (foreseen, Field(column("measured"), partial(_of_cuda, name=measured), optional=True))


def _of_cuda(row: Row, name: str) -> Value:
    return row[name] if row["device"] == "cuda" else None


def fit_table(fits: Sequence[Fit]) -> Table:
    """Blocks by mode and number format; for each device the largest map and batch."""
    rows = model.grouped(fits, lambda fit: (fit.arm, fit.size, fit.batch, fit.mode, fit.dtype))
    devices = list(dict.fromkeys(fit.device for fit in fits))
    several = len({fit.size for fit in fits}) > 1
    about = (
        Field(model.text_column("block"), lambda row: row["fit"].arm),
        *([Field(model.text_column("at"), lambda row: row["fit"].size)] if several else []),
        Field(model.text_column("mode"), lambda row: row["fit"].mode),
        Field(model.text_column("dtype"), lambda row: row["fit"].dtype),
    )
    limits = (field for device in devices for field in _device_fields(device))
    first = DEVICES[devices[0]].title
    made_of = Field(
        model.text_column("made of", wide=True), partial(_made_of, device=devices[0]), optional=True
    )
    return model.tabulate(
        [{"fit": same[0], "fits": {fit.device: fit for fit in same}} for same in rows.values()],
        (*about, *limits, made_of),
        name="fits",
        title="What fits",
        caption=_caption(fits),
        notes=(GOES_THROUGH, MADE_OF.format(first), *_usable(fits), *WORKSPACE_NOTES),
        group_by=tuple(range(1 + several)),
    )


def _caption(fits: Sequence[Fit]) -> str:
    fit, at = fits[0], " and ".join(dict.fromkeys(fit.size for fit in fits))
    return (
        f"Predicted, torch {fit.torch}: maps of about the aspect ratio of {at} in steps of {fit.step}, "
        f"with batch {fit.batch}; batches at {at}. A device has its datasheet's memory less "
        f"{DRIVER_SHARE:.2%} that its driver keeps, {CONTEXT_BYTES / model.MEBI:.0f} MiB for CUDA's context (both are "
        "assumptions) and cuBLAS's workspaces."
    )


def _usable(fits: Iterable[Fit]) -> Iterable[str]:
    """For each device what the allocator may reserve; training may have another workspace."""
    for device, same in model.grouped(fits, lambda fit: fit.device).items():
        sizes = dict.fromkeys((fit.usable_bytes, fit.workspace_bytes) for fit in same)
        told = " or ".join(
            f"{usable / model.GIBI:.2f} GiB with {workspace / model.MEBI:.1f} MiB of workspaces"
            for usable, workspace in sizes
        )
        yield f"{DEVICES[device].title}: {told}."


def _device_fields(device: str) -> tuple[Field, Field]:
    title = DEVICES[device].title
    return (
        Field(Column(f"{title}, map"), partial(_largest_map, device=device)),
        Field(Column(f"{title}, batch"), partial(_largest_batch, device=device)),
    )


def _largest_map(row: Row, device: str) -> Value:
    fit: Fit = row["fits"][device]
    return fit.largest_size or _none(fit)


def _largest_batch(row: Row, device: str) -> Value:
    fit: Fit = row["fits"][device]
    return _none(fit) if fit.largest_batch is None else fit.largest_batch


def _none(fit: Fit) -> Mark:
    return Mark(f"{fit.arm} in {fit.mode}, {fit.dtype}: {fit.reason}", text="none")


def _made_of(row: Row, device: str) -> Value:
    fit: Fit = row["fits"][device]
    if not fit.peak_bytes:
        return None
    shares = [(part, part.size_bytes / fit.peak_bytes) for part in fit.parts]
    told = [(part, share) for part, share in shares if share >= TOLD_SHARE] or shares[:1]
    return ", ".join(f"{_described(part)} {share:.0%}" for part, share in told)


def _described(part: PeakPart) -> str:
    names = ", ".join(name.removeprefix("aten.").removeprefix("_") for name in part.operators[:2])
    if not part.shape:
        return names
    return f"{part.count} of {'x'.join(map(str, part.shape))} ({names})"
