"""Tables of blocks in other ways of computing them, and in other number formats."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter

from reports import model
from reports.model import Chapter, Column, Field, Frame, Interval, Mark, Row, Table, Value

# As headings of the tables that compare them with floors.
VARIANT_TITLES = {"implementations": "Implementations", "precision": "Number formats"}
KERNEL_NOTE = (
    "Kernel: the attention operator that ran, from the profiler; without one the block computes "
    "its own products."
)
# Peaks of one call over what was there before, one head of 64, in fresh processes; held by tests/bench/workloads.
RUNTIME_NOTE = (
    "onnxruntime: the block's own products as MatMul, Softmax and MatMul (opset 18), which build the whole map of "
    "weights, as the one Attention node of opset 23 does in ONNX Runtime 1.31 on a processor (343 MiB at 96x96, where "
    "torch's fused attention adds 3)."
)
PLAIN_RATIO = (
    "A ratio is this row over the same block as the documents wrote it; above 1 it needs more."
)
COMPARED_FORMATS = ("float32", "autocast-float16", "autocast-bfloat16")
# What a cell of the matrix of formats reads, the column of a format, and the note on both.
MEASURED_MATRICES: dict[str, tuple[Callable[[Row], Value], Callable[[str], Column], str]] = {
    "time": (model.time_value, partial(model.time_column, digits=1), model.TIME_NOTE),
    "memory": (
        partial(model.measured_memory, first=True),
        partial(model.memory_column, source="measured"),
        model.INCREMENT_NOTE,
    ),
}
WHOSE = {"cpu": "the CPU", "cuda": "CUDA"}


def implementation_tables(frame: Frame) -> tuple[Table, ...]:
    """Each block in each way of computing it: time, memory, their ratios to the plain block, and the kernel."""
    rows = model.rows_of_experiment(frame, "implementations")
    return tuple(_implementations(*group) for group in model.by_device(rows))


def _implementations(device: str, rows: Sequence[Row], suffix: str) -> Table:
    plain = {_setting_of(row): row for row in rows if ":" not in str(row["axes"]["block"])}
    time_ratio, memory_ratio = model.reference_ratios(
        lambda row: plain.get(_setting_of(row)), PLAIN_RATIO
    )
    blocks = model.grouped(rows, lambda row: _setting_of(row)[0]).values()
    return model.tabulate(
        sorted(chain(*blocks), key=lambda row: (row["mode"], model.pixels(row))),
        (
            *model.ARM_FIELDS,
            model.time_field(1),
            time_ratio,
            model.MEASURED_MEMORY,
            Field(model.memory_column("memory", "predicted"), model.predicted_increment),
            memory_ratio,
            model.WORK_FIELDS[0],
            Field(model.text_column("kernel", wide=True), _kernel, optional=True, note=KERNEL_NOTE),
        ),
        notes=[RUNTIME_NOTE] if any(_in_onnx_runtime(row) for row in rows) else [],
        name=f"implementations{suffix}",
        title=f"Implementations of the same block, {device or 'no device'}",
        group_by=(1, 2),
    )


def _setting_of(row: Row) -> tuple[str, ...]:
    return str(row["axes"]["block"]).partition(":")[0], row["axes"]["size"], row["mode"]


def _in_onnx_runtime(row: Row) -> bool:
    return str(row["axes"]["block"]).endswith(":onnxruntime")


def _kernel(row: Row) -> Value:
    # Without the words that all of them share.
    names = dict.fromkeys(
        name.removeprefix("_scaled_dot_product_")
        .replace("attention_", "")
        .removesuffix("_attention")
        for name in row["kernels"] or ()
    )
    return ", ".join(names)


def precision_tables(frame: Frame) -> tuple[Table, ...]:
    """Time, measured and predicted memory of each arm in each number format; three tables a device."""
    tables: list[Table] = []
    for device, rows, suffix in model.by_device(model.rows_of_experiment(frame, "precision")):
        here = _with_predictions(rows)
        for kind, (value, column, note) in MEASURED_MATRICES.items() if device else ():
            about = {"name": f"precision-{kind}{suffix}", "title": f"{kind}, {device}"}
            tables.append(_matrix(here, value, column, notes=(note,), **about))
        if not suffix:
            column = partial(model.memory_column, source="predicted")
            notes = (model.INCREMENT_NOTE, _rules_note(here), _plain_under_autocast(here))
            about = {"name": "precision-predicted", "title": "predicted memory"}
            tables.append(_matrix(here, itemgetter("predicted"), column, notes=notes, **about))
    return tuple(tables)


def _with_predictions(rows: Sequence[Row]) -> list[Row]:
    """Rows with their predicted memory, marked as odd where it is for CUDA and others of its size are for the CPU."""
    sizes = {row["axes"].get("size") for row in rows if row["predicted_device"] == "cpu"}
    marked: list[Row] = []
    for row in rows:
        value = model.predicted_value(row, "predicted_increment_bytes")
        is_odd = row["predicted_device"] == "cuda" and row["axes"].get("size") in sizes
        if is_odd and isinstance(value, int | float):
            value = Interval(value, note=model.BY_CUDA)
        marked.append({**row, "is_odd": is_odd, "predicted": value})
    return marked


def _matrix(
    rows: Sequence[Row],
    value: Callable[[Row], Value],
    column: Callable[[str], Column],
    *,
    notes: Sequence[str],
    name: str,
    title: str,
) -> Table:
    dtypes = tuple(dict.fromkeys(str(row["dtype"]) for row in rows))
    ordered = sorted(rows, key=lambda row: (model.pixels(row), row["axes"].get("mode", "")))
    lines = []
    settings = model.grouped(
        ordered, lambda row: tuple(field.value(row) for field in model.ARM_FIELDS)
    )
    for setting, same in settings.items():
        values = {str(row["dtype"]): value(row) for row in same}
        lines.append((*setting, *(values.get(dtype, model.UNMEASURED) for dtype in dtypes)))
    kept = [line for line in lines if not all(isinstance(cell, Mark) for cell in line[3:])]
    gone = ", ".join(f"{line[1]} {line[2]} of {line[0]}" for line in lines if line not in kept)
    left_out = f"Nothing was run here at {gone}." if gone else ""
    executed = [row for row in rows if row["timings"]] or rows
    machine = model.measuring_conditions(executed).partition(";")[0]
    return Table(
        name=name,
        title=f"Number formats: {title}",
        columns=(*(field.column for field in model.ARM_FIELDS), *map(column, dtypes)),
        rows=tuple(kept),
        caption=f"{machine}; batch 1; the column is the number format; strict protocol.",
        notes=tuple(filter(None, (notes[0], left_out, *notes[1:]))),
        group_by=(1, 2),
    )


def _rules_note(rows: Sequence[Row]) -> str:
    sizes: dict[str, dict[str, None]] = defaultdict(dict)
    for row in rows:
        if row["predicted_device"] and not row["is_odd"]:
            sizes[row["predicted_device"]][str(row["axes"].get("size", ""))] = None
    whose = " and ".join(f"{WHOSE[device]} ({', '.join(of)})" for device, of in sizes.items())
    rules = "Predictions of autocast and fused attention follow the rules of"
    return f"{rules} {whose}." if whose else ""


def _plain_under_autocast(rows: Sequence[Row]) -> str:
    axes = {"block": "nb", "mode": "eval"}.items()
    plain = (row for row in rows if row["axes"].items() >= axes)
    sizes = model.grouped((row for row in plain if row["predicted_increment_bytes"]), model.pixels)
    largest = sizes.get(max(sizes, default=0), ())
    need = {row["dtype"]: row["predicted_increment_bytes"] / model.MEBI for row in largest}
    if not need.keys() >= set(COMPARED_FORMATS):
        return ""
    full, half, brain = (need[dtype] for dtype in COMPARED_FORMATS)
    more = "more" if brain > full else "less"
    return (
        f"Plain NB in inference is predicted to need {brain:.0f} MiB under bfloat16 autocast, {more} than the "
        f"{full:.0f} MiB of float32, and {half:.0f} MiB under float16 autocast; the weights that "
        "autocast keeps are in it."
    )


CHAPTER = Chapter(60, {"precision": precision_tables, "implementations": implementation_tables})
