"""What runs write: records, comparisons, outcomes and their files."""

from bench.records.comparison import (
    FILE,
    Agreement,
    ArmReadings,
    ArmRecord,
    ClockName,
    Comparison,
    RoundRecord,
    read_comparisons,
)
from bench.records.failure import (
    error_failure,
    exit_failure,
    one_line,
    start_failure,
    timeout_failure,
)
from bench.records.files import Model, append_line, parse_line, read_lines
from bench.records.outcome import (
    MEASURED_WORSE,
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
    moved_findings,
    worst_first,
    write_outcome,
)
from bench.records.record import (
    COMPARISONS_FILE,
    NO_GRAPH,
    Accuracy,
    Alike,
    Ceiling,
    Checksum,
    Counts,
    Document,
    Environment,
    Failure,
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
)
