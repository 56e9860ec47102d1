"""Schedule: at which rate and for how long heads on frozen features are trained, before any arms are compared.

`python -m bench.ablations --experiment schedule --dataset camvid --root PATH --features frozen`. The rate is chosen on
the baseline alone; how long, by the curves of three arms at that rate. Each point is a training of its own, with the
whole schedule of its length.
"""

from collections.abc import Iterator
from dataclasses import replace

from ann.catalogue import NETWORKS
from experiments.spec import Experiment, TrainingJob
from experiments.training import Setting, cells

RATES = (0.0025, 0.005, 0.01, 0.02, 0.04)
LENGTHS = (100, 200, 400, 800, 1600)
ARMS = ("paper/baseline", "paper/nb", "paper/apnb")


def make(setting: Setting) -> Experiment:
    """All points, on the setting's data and by its recipe but for rate and length."""
    question = "At which rate, and for how long, are the networks trained?"
    return Experiment(
        name="schedule",
        question=question,
        cells=tuple(_points(setting)),
        beyond_paper=True,
    )


def _points(setting: Setting) -> Iterator[TrainingJob]:
    usual = setting.training()
    points = [("paper/baseline", rate, usual.iterations) for rate in RATES]
    points += [(arm, usual.recipe.learning_rate, length) for arm in ARMS for length in LENGTHS]
    for arm, rate, length in dict.fromkeys(points):
        axes = (("network", arm), ("learning_rate", str(rate)), ("iterations", str(length)))
        for job in cells("schedule", {axes: NETWORKS[arm]}, setting):
            if isinstance(job, TrainingJob):
                recipe = replace(usual.recipe, learning_rate=rate)
                training = replace(usual, recipe=recipe, iterations=length)
                yield replace(job, training=training)
