"""What runs write: records, comparisons, outcomes and their files; numpy comes with the matrices of images alone."""

from typing import TYPE_CHECKING

from bench.records.code import definitions, digest
from bench.records.comparison import (
    CLOCK_TIMES,
    Agreement,
    ArmReadings,
    ArmRecord,
    CallsAgreement,
    ClockName,
    Comparison,
    RoundRecord,
    TensorAgreement,
    Trials,
    read_comparisons,
)
from bench.records.estimation import ALL_DEVICES, ERRORS_FILE, EstimateErrors, read_errors
from bench.records.failure import (
    error_failure,
    exit_failure,
    one_line,
    start_failure,
    timeout_failure,
)
from bench.records.files import Model, append_line, read_models, write_whole
from bench.records.fit import Fit, PeakPart
from bench.records.outcome import (
    CALL_MEMORY,
    GATE_EXPERIMENT,
    OUTCOME_FILE,
    SAME_OR_BETTER,
    UNDECIDED,
    WORSE,
    Amount,
    Control,
    Finding,
    FindingKind,
    FindingVerdict,
    Outcome,
    SideRecord,
    cell_name,
    moved_findings,
    worst_first,
    write_outcome,
)
from bench.records.record import (
    COMPARISONS_FILE,
    NO_GRAPH,
    SETTING_AXES,
    Accuracy,
    Alike,
    Ceiling,
    Checksum,
    Counts,
    Document,
    Environment,
    Failure,
    FailureKind,
    LiveTensor,
    MeasuredMemory,
    Measures,
    Operator,
    OperatorTime,
    PredictedMemory,
    Record,
    Timing,
    ToolCount,
    read_records,
    uncounted_calls,
    uncounted_note,
)

if TYPE_CHECKING:
    from bench.records.image_confusions import ImageConfusions, ImageEntries

_BY_IMAGE = ("ImageConfusions", "ImageEntries")


def __getattr__(name: str) -> object:
    if name not in _BY_IMAGE:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    from bench.records import image_confusions

    return getattr(image_confusions, name)
