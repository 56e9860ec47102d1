"""The formula, fvcore and the ledger agree, and are heard when they do not."""

import builtins

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ann import build
from ann.catalogue import BLOCKS
from ann.spec import BlockSpec, Size
from bench.predict import cross_check
from bench.predict import ledger as flops
from bench.predict.cross_check import DisagreementError
from bench.predict.predict import predict_cell
from experiments.spec import Measurement, OwnModule

PAPER = Size(height=128, width=256)
SMALL = Size(height=96, width=96)
pytest.importorskip("fvcore.nn")


@pytest.fixture(autouse=True)
def _shapes_unchecked():
    # While fvcore traces, sizes are tensors, which the shape checks of the tests refuse.
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def meta_block(spec):
    with torch.device("meta"):
        return build.block(spec)


def maps(spec, size, batch=1, device="meta"):
    widths = (spec.channels, spec.low_channels) if spec.low_channels else (spec.channels,)
    shape = (size.height, size.width)
    return tuple(torch.empty(batch, width, *shape, device=device) for width in widths)


@pytest.mark.parametrize(
    ("name", "size", "gmacs"),
    [
        ("nb", SMALL, 62.81),
        ("apnb", SMALL, 19.85),
        ("nb", PAPER, 618.48),
        ("apnb", PAPER, 70.56),
        ("nb-bottleneck", PAPER, 893.35),
        ("apnb-bottleneck", PAPER, 345.44),
        ("fnb", PAPER, 601.30),
        ("afnb", PAPER, 53.39),
    ],
)
def test_formula_gives_the_documented_figures(name, size, gmacs):
    assert round(cross_check.analytic_macs(BLOCKS[name], size) / 1e9, 2) == gmacs


def label(spec):
    return "-".join((spec.kind, spec.sampler, spec.projection, spec.output, str(spec.low_channels)))


VARIANTS = [
    *BLOCKS.values(),
    BlockSpec(projection="separate", value_channels=64),
    BlockSpec(sampler="random", grids=(15,)),
    BlockSpec(sampler="max", grids=(15,)),
    BlockSpec(sampler="average", grids=(7,)),
    BlockSpec(sampler="pyramid-random", grids=(1, 2, 3)),
    BlockSpec(sampler="pyramid-random-cells", grids=(1, 2, 3)),
    BlockSpec(sampler="pyramid-max", grids=(1, 4)),
    BlockSpec(kind="disentangled", projection="plain", sampler="pyramid-average", grids=(2, 3)),
    BlockSpec(low_channels=512, projection="plain", output="residual", out_norm=True),
]


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize("spec", VARIANTS, ids=label)
def test_formula_equals_the_ledger_for_every_variant(spec, mode):
    size = Size(height=9, width=13)
    found = flops.count(meta_block(spec), maps(spec, size, batch=2), mode=mode).macs
    assert cross_check.analytic_macs(spec, size, batch=2, mode=mode) == found


# Sizes are tensors while fvcore traces, and numpy draws a place in each cell from numbers alone.
TRACEABLE = [spec for spec in VARIANTS if spec.sampler != "pyramid-random-cells"]


@pytest.mark.parametrize("spec", TRACEABLE, ids=label)
def test_fvcore_equals_the_ledger_for_every_variant(spec):
    ledger, second = cross_check.verify(meta_block(spec), maps(spec, Size(height=40, width=50)))
    assert ledger == second


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (F.scaled_dot_product_attention, ((1, 2, 8, 4), (1, 2, 6, 4), (1, 2, 6, 4))),
        (torch.baddbmm, ((2, 3, 5), (2, 3, 4), (2, 4, 5))),
        (torch.addbmm, ((3, 5), (2, 3, 4), (2, 4, 5))),
        (torch.mv, ((3, 4), (4,))),
        (torch.dot, ((4,), (4,))),
        (torch.addmv, ((3,), (3, 4), (4,))),
        (torch.matmul, ((6, 4), (3, 4, 5))),
        (torch.matmul, ((3, 6, 4), (4,))),
    ],
)
def test_fvcore_is_given_what_it_lacks(function, shapes):
    inputs = tuple(map(torch.ones, shapes))
    module = Call(function)
    assert cross_check.fvcore_macs(module, inputs) == flops.count(module, inputs, mode="eval").macs


def test_fvcore_counts_matrix_work_alone():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(2))
    assert cross_check.fvcore_macs(module, (torch.ones(1, 3, 6, 6),)) == 3 * 4 * 36


def test_fvcore_leaves_running_statistics_alone():
    module = nn.BatchNorm2d(3).train()
    cross_check.fvcore_macs(module, (torch.randn(2, 3, 4, 4),))
    assert module.running_mean.eq(0).all()
    assert module.training


def test_without_fvcore_there_is_no_second_opinion(monkeypatch):
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.startswith("fvcore"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    spec = BlockSpec(channels=16, key_channels=4)
    found = cross_check.cross_checked_counts(
        meta_block(spec), maps(spec, SMALL), spec=spec, size=SMALL
    )
    assert (found.fvcore_macs, found.small_macs) == (None, None)
    assert found.analytic_macs == found.macs


def test_a_module_that_takes_one_size_alone_has_no_second_opinion():
    module = nn.Sequential(nn.Flatten(), nn.Linear(8 * 32 * 32, 2)).to("meta")
    found = cross_check.cross_checked_counts(module, (torch.empty(1, 8, 32, 32, device="meta"),))
    assert (found.fvcore_macs, found.macs) == (None, 8 * 32 * 32 * 2)


def test_disagreement_tells_every_figure():
    with pytest.raises(
        DisagreementError, match="nb at 4x4.*ledger 1,000, formula 1,002, fvcore 1,000"
    ):
        cross_check.check({"ledger": 1000, "formula": 1002, "fvcore": 1000}, where="nb at 4x4")


def test_counters_without_an_opinion_agree():
    cross_check.check({"formula": None, "fvcore": None}, where="nb")


def test_an_input_that_is_no_map_is_taken_as_it_is():
    assert cross_check.verify(nn.Linear(8, 4).to("meta"), (torch.empty(5, 8, device="meta"),)) == (
        160,
        160,
    )


def test_a_tenth_of_a_percent_is_agreement():
    cross_check.check({"ledger": 100_000, "formula": 100_100, "fvcore": None}, where="nb")


def test_a_module_that_differs_from_its_spec_gives_no_counts():
    spec = BlockSpec(channels=16, key_channels=4)
    wider = BlockSpec(channels=16, key_channels=8)
    with pytest.raises(DisagreementError, match="non-local block at 96x96"):
        cross_check.cross_checked_counts(
            meta_block(wider), maps(wider, SMALL), spec=spec, size=SMALL
        )


def test_counts_hold_all_opinions_of_the_papers_block():
    found = cross_check.cross_checked_counts(
        meta_block(BLOCKS["nb"]), maps(BLOCKS["nb"], PAPER), spec=BLOCKS["nb"], size=PAPER
    )
    assert found.macs == found.analytic_macs == 618_475_290_624
    assert found.fvcore_macs == found.small_macs == 880_803_840
    assert found.paper_operations == 601_404_473_344


def test_of_modules_of_one_kind_one_is_executed(monkeypatch):
    executed = []
    fvcore_macs = cross_check.fvcore_macs
    monkeypatch.setattr(cross_check, "_verified", {})
    monkeypatch.setattr(
        cross_check, "fvcore_macs", lambda *call: executed.append(call) or fvcore_macs(*call)
    )
    for changes in ({}, {"size": Size(width=64, height=32)}, {"mode": "train"}):
        measures = predict_cell(cell_of(BLOCKS["apnb"], **changes))
        assert measures.counts.fvcore_macs == measures.counts.small_macs > 0
    assert len(executed) == 1
    predict_cell(
        cell_of(BLOCKS["apnb"], size=Size(width=20, height=12))
    )  # smaller than what is cut
    predict_cell(cell_of(BLOCKS["nb"]))
    predict_cell(cell_of(BLOCKS["apnb"], implementation="fast"))
    assert len(executed) == 4


def test_a_disagreement_is_told_for_each_module_of_a_kind(monkeypatch):
    monkeypatch.setattr(cross_check, "_verified", {})
    monkeypatch.setattr(cross_check, "fvcore_macs", lambda *_: 1)
    for _ in range(2):
        with pytest.raises(DisagreementError, match="fvcore 1;"):
            predict_cell(cell_of(BLOCKS["apnb"]))


def cell_of(spec, **changes):
    size = changes.pop("size", SMALL)
    return Measurement(experiment="", axes={}, subject=spec, size=size, probes=(), **changes)


def second(function, *inputs, mode="eval"):
    """Operators of a call with MACs: ours, and those of torch's counter."""
    counted = cross_check.cross_checked_counts(Call(function), inputs, mode=mode, execute=False)
    rows = {row.name.removeprefix("aten."): row for row in counted.ledger if row.macs}
    return {name: (row.macs, row.torch_macs) for name, row in rows.items()}, counted


def test_torchs_counter_is_asked_of_the_same_call():
    rows, counted = second(
        lambda x: F.conv2d(x, torch.ones(6, 3, 3, 3)) @ torch.ones(6, 5), torch.ones(2, 3, 8, 8)
    )
    assert rows["convolution"] == (2 * 6 * 36 * 27, 2 * 6 * 36 * 27)
    assert counted.torch_macs == counted.macs


class Prepared(nn.Module):
    """Does more in its first call than in later ones, which a buffer tells."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.register_buffer("is_ready", torch.tensor(False))

    def forward(self, x):
        if not self.is_ready:
            x = x @ self.layer.weight
            self.is_ready.fill_(True)
        return self.layer(x)


@pytest.mark.parametrize(("mode", "products"), [("eval", 1), ("train", 2)])
def test_of_somebodys_own_module_a_call_that_is_not_the_first_is_counted(mode, products):
    counts = cross_check.cross_checked_counts(
        Prepared(), (torch.randn(4, 8),), mode=mode, execute=False
    )
    assert counts.macs == products * 4 * 8 * 8


def test_torchs_counter_knows_no_bilinear_layer():
    rows, counted = second(nn.Bilinear(4, 5, 6), torch.ones(3, 4), torch.ones(3, 5))
    assert rows["_trilinear"][1] is None
    assert counted.torch_macs is None


def test_torchs_counter_takes_a_grouped_convolution_going_back_for_one_without_groups():
    layer = nn.Conv2d(4, 4, 3, groups=4)
    ours, torchs = second(layer, torch.ones(1, 4, 8, 8), mode="train")[0]["convolution_backward"]
    assert ours < torchs


def test_a_second_counter_that_fails_says_nothing():
    overload = torch.ops.aten.mm.default
    assert cross_check.torch_macs(overload, (1, 2), {}, None) is None


def test_of_a_block_that_is_executed_by_fvcore_torch_is_not_asked():
    counted = cross_check.cross_checked_counts(nn.Linear(4, 4), (torch.ones(2, 4),))
    assert counted.torch_macs is None


OWN = """
import torch
from torch import nn

class Products(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.embed = nn.Conv2d(channels, 4, 1)

    def forward(self, x):
        tokens = self.embed(x).flatten(2)
        return tokens @ (tokens.mT @ tokens)

class Bilinear(Products):
    def __init__(self, channels):
        super().__init__(channels)
        self.mix = nn.Bilinear(4, 4, 4)

    def forward(self, x):
        tokens = super().forward(x).mT
        return self.mix(tokens, tokens)

class OfOneSize(Products):
    def forward(self, x):
        assert x.shape[-1] == 9
        return super().forward(x)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A cell of a class of somebody's module."""
    (tmp_path / "counted_blocks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)

    def cell(name):
        subject = OwnModule(factory=f"counted_blocks:{name}", channels=8)
        return Measurement(
            experiment="e", axes={}, subject=subject, size=Size(width=9, height=7), batch=3
        )

    return cell


def test_fvcore_counts_somebodys_own_module_on_a_small_map_in_its_own_process(own):
    # (1, 8, 16, 24): the embedding, and two products of 4 by 384 tokens.
    macs = 8 * 4 * 384 + 2 * 4 * 384 * 384
    counts = cross_check.small_counts(own("Products"))
    assert counts == {"small_macs": (macs,), "small_fvcore_macs": (macs,)}


@pytest.mark.parametrize("name", ["Bilinear", "OfOneSize", "Missing"])
def test_of_what_fvcore_lacks_or_cannot_call_it_tells_nothing(own, name):
    assert cross_check.small_counts(own(name)) == {}
