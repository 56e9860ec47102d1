"""Tables and figures of trained networks."""

from reports.training.cost_figure import cost_figures
from reports.training.evaluation import evaluation_tables
from reports.training.qualitative import qualitative_figures
from reports.training.runs import TrainingStudy, trained_experiments, training_studies
from reports.training.tables import study_table, training_tables
from reports.training.verdicts import PLACES, ComparisonResult, comparison_results
