"""What a sampler of anchors leaves of a billboard: readings of ideal features, which are area and noise alone.

No training: a detector for each of its two colours says how much of each position of the map of 8x32 it fills, give or
take `NOISE`. A reading attends to the anchors that look most like a colour, and says of which there is more.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from ann.sampling import make_sampler
from ann.spec import BlockSpec
from bench.records import record
from bench.training.data.scene_drawing import CUES, NUMBERS, draw
from bench.training.data.scenes import CLASSES, SmallCueScenes
from experiments.paper import table7

KEPT = Path(__file__).resolve().parents[4] / "reports" / "reference" / "intel-xeon-2-cores"
SCENES = 500
NOISE = 0.1  # of a position, one standard deviation
SHARPNESSES = (0, 3, 10, 30, 100)  # of the attention, from a mean to a maximum; the best one counts
WEIGHTS = (0, 0.25, 0.5, 0.75, 1)  # of a sampler's reading beside that of the fusion block
BOARDS = (NUMBERS["orange board"], NUMBERS["blue board"])
FUSION = ("pyramid-average", (1, 3, 6, 8))
RANDOM_50, MAX_50 = ("pyramid-random", (1, 2, 3, 6)), ("pyramid-max", (1, 2, 3, 6))
AVERAGE_50, AVERAGE_110 = (("pyramid-average", (1, 2, 3, 6)), FUSION)
SINGLE_AVERAGE, SINGLE_RANDOM = ("average", (15,)), ("random", (15,))


def shares(blue, *, smallest):
    """How much of each position each colour of the billboard fills [2, 8, 32]."""
    random = np.random.default_rng((7, blue))
    surfaces = draw(random, cues=(0, blue % 2), smallest=smallest)
    return [(surfaces == board).reshape(8, 8, 32, 8).mean((1, 3)) for board in BOARDS]


def detected(smallest):
    """What both detectors say [n, 2, 8, 32]; every other billboard is blue."""
    areas = torch.tensor(np.array([shares(index, smallest=smallest) for index in range(SCENES)]))
    noise = torch.randn(areas.shape, generator=torch.Generator().manual_seed(0))
    return (areas.float() + NOISE * noise).relu()


def readings(maps, sampler, grids):
    """How much more blue there is than orange, in standard deviations, for each sharpness."""
    anchors = make_sampler(BlockSpec(sampler=sampler, grids=grids, channels=2))(maps)
    for sharpness in SHARPNESSES:
        amounts = ((sharpness * anchors).softmax(dim=2) * anchors).sum(dim=2)
        difference = amounts[:, 1] - amounts[:, 0]
        yield difference / difference.std()


def percent_right(scores):
    blue = torch.arange(SCENES) % 2 == 1
    return max(100 * ((score > 0) == blue).float().mean().item() for score in scores)


@pytest.fixture(scope="module")
def small():
    return detected(SmallCueScenes("val").smallest_cue)


@pytest.fixture(scope="module")
def alone(small):
    """Percent of small billboards that each row of Table 7 tells."""
    return {row: percent_right(readings(small, *row)) for row in table7.SAMPLERS}


@pytest.fixture(scope="module")
def beside_fusion(small):
    """The same where the anchors of the fusion block can be asked as well."""
    fusion = list(readings(small, *FUSION))
    return {
        row: percent_right(
            weight * one + (1 - weight) * other
            for one in readings(small, *row)
            for other in fusion
            for weight in WEIGHTS
        )
        for row in table7.SAMPLERS
    }


@pytest.mark.parametrize("row", table7.SAMPLERS, ids=str)
def test_every_sampler_keeps_a_large_billboard(row):
    assert percent_right(readings(detected(1.0), *row)) == 100


def test_a_small_billboard_can_nearly_always_be_told_from_every_position(small):
    assert percent_right(readings(small, "all", ())) > 97


def test_fifty_random_anchors_miss_many_small_billboards(alone):
    assert alone[RANDOM_50] < alone[SINGLE_RANDOM] - 20


def test_random_anchors_miss_more_small_billboards_than_an_average_of_as_many_cells(alone):
    assert alone[SINGLE_RANDOM] < alone[SINGLE_AVERAGE] - 1


def test_a_maximum_keeps_what_an_average_dilutes(alone):
    assert alone[MAX_50] > alone[AVERAGE_50] + 1


def test_more_averages_dilute_no_more(alone):
    assert alone[AVERAGE_50] <= alone[AVERAGE_110] <= alone["pyramid-average", (1, 4, 8, 12)]


def test_beside_the_fusion_blocks_anchors_no_sampler_is_far_from_another(beside_fusion):
    assert max(beside_fusion.values()) - min(beside_fusion.values()) < 2


def test_each_row_of_table_7_has_the_fusion_block_that_is_read_here():
    blocks = [network.fusion for network in table7.ROWS.values()]
    assert {(block.sampler, block.grids) for block in blocks} == {FUSION}


@pytest.mark.parametrize("cue", CUES)
def test_every_kept_training_of_table_7_reads_every_large_cue(cue):
    places = [CLASSES.index(name) for name in CUES[cue]]
    records = record.read_records(KEPT / "table7.jsonl")
    accuracies = [kept.measures.accuracy for kept in records if kept.measures.accuracy is not None]
    assert len(accuracies) == 3 * len(table7.ROWS)
    for accuracy in accuracies:
        decided = np.array(accuracy.confusion)[np.ix_(places, places)]
        assert np.trace(decided) > 0.9999 * decided.sum()
