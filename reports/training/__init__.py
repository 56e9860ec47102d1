"""Trainings in tables and figures: studies, verdicts on the text's comparisons, costs, predictions."""

from reports.training.answers import accuracy_answers
from reports.training.claims import arm_name, place_of
from reports.training.cost_figure import cost_figures
from reports.training.curves import schedule_figures
from reports.training.qualitative import qualitative_figures
from reports.training.runs import Arm, TrainingStudy
from reports.training.statistics import Difference, paired
from reports.training.studies import (
    MACHINE,
    studies_by_setting,
    trained_experiments,
    training_studies,
)
from reports.training.tables import (
    evaluation_tables,
    miou_spread,
    study_table,
    training_tables,
)
from reports.training.verdicts import ComparisonResult, comparison_results
