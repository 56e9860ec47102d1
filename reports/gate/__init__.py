"""What the regression gate and interleaved comparisons say, in every form, and the history of runs."""

from reports.gate.comparisons import comparison_sentence, comparison_tables
from reports.gate.findings import outcome_tables, write_reports
from reports.gate.foreign_comparison import compare_files
from reports.gate.operating import trials_table
from reports.gate.other_tools import annotations
from reports.gate.series import read_series
from reports.gate.trends import history_sentence, write_history
from reports.gate.wording import headline, measured_lines
