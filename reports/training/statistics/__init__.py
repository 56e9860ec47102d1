"""Statistics of trainings: paired differences over seeds and over images, verdicts, power, agreement in order."""

from reports.training.statistics.images import (
    MIN_IMAGES,
    ImageCounts,
    ImageDifference,
    image_counts,
    image_differences,
)
from reports.training.statistics.power import seeds_needed, smallest_difference
from reports.training.statistics.ranking import Tau, tau
from reports.training.statistics.seeds import (
    CONFIDENCE,
    EXACT_SEEDS,
    LEVEL,
    MIN_SEEDS,
    VERDICTS,
    Difference,
    Ends,
    Scores,
    Verdict,
    holm,
    paired,
    pooled_deviation,
    t_interval,
    verdict_of,
)
from reports.training.statistics.sign_flips import sign_flip_interval, sign_flip_p
