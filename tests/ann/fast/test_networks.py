"""Networks that `optimize` rewrote against the plain ones, with random weights and running statistics."""

import copy
import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ann.backbones import make_backbone
from ann.build import network, network_names, network_spec
from ann.fast import optimize
from ann.fast.folded import fold_norms
from ann.network import SegmentationNetwork
from ann.spec import Size

# One of each family; depths differ in the backbone alone, which is another here.
FAMILIES = [name for name in network_names() if not re.search(r"-r50|/(161|169|201)$", name)]
WITH_BLOCKS = ["official/ann-r101", "mmseg/ann-r101", "paper/fnb+nb", "mmseg/dnl-r101"]


@torch.no_grad()
def shake(module):
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            part.running_mean.normal_(std=0.2)
            part.running_var.uniform_(0.5, 1.5)
        if getattr(part, "bias", None) is not None:
            nn.init.normal_(part.bias, std=0.2)
    return module


def made(name, dtype=torch.float64, **changes):
    mask = {"mask": Size(height=9, width=9)} if "psa" in name else {}
    changes = {"backbone": "tiny", "num_classes": 5, **mask, **changes}
    return shake(network(name, **changes)).to(dtype)


def images(dtype=torch.float64):
    torch.manual_seed(1)
    return torch.randn(2, 3, 73, 58, dtype=dtype)


def error(found, expected):
    """Relative error of a tensor as a whole."""
    return ((found - expected).norm() / expected.norm()).item()


def test_a_position_s_channels_lie_together_from_the_image_to_the_logits():
    fast, seen = optimize(made("official/ann-r101").eval()), []
    for part in (fast.backbone, fast.head):
        part.register_forward_pre_hook(lambda _, maps: seen.extend(maps))
    with torch.inference_mode():
        logits = fast(images())
    assert len(seen) == 3
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)
    assert logits.is_contiguous()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_a_fast_network_can_be_mapped_over_a_further_axis():
    fast = optimize(made("official/ann-r101").eval())
    batches = torch.stack([images(), images() + 1])
    with torch.inference_mode(mode=False), torch.no_grad():
        found = torch.vmap(fast)(batches)
        assert error(found[1], fast(batches[1])) < 1e-12


@pytest.mark.parametrize("name", FAMILIES)
def test_inference_form_is_equal(name):
    plain = made(name).eval()
    with torch.inference_mode():
        assert error(optimize(plain)(images()), plain(images())) < 1e-12


@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_inference_form_is_equal_in_float32(name):
    plain = made(name, torch.float32).eval()
    with torch.inference_mode():
        x = images(torch.float32)
        assert error(optimize(plain)(x), plain(x)) < 1e-5


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50c", "resnet50s-ceil", "densenet121"])
def test_norms_of_every_kind_of_backbone_are_folded_rightly(backbone):
    plain = shake(make_backbone(backbone)).eval()
    fast = copy.deepcopy(plain)
    fold_norms(fast)
    x = images(torch.float32)[:1, :, :33, :33]
    with torch.inference_mode():
        for found, expected in zip(fast(x), plain(x), strict=True):
            assert error(found, expected) < 1e-5


@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_inference_form_has_no_norm_no_dropout_and_no_auxiliary_head(name):
    fast = optimize(made(name))
    assert not any(isinstance(part, nn.BatchNorm2d | nn.Dropout2d) for part in fast.modules())
    assert fast.auxiliary is None


@pytest.mark.parametrize("name", WITH_BLOCKS)
def test_training_form_is_equal_in_a_step(name):
    plain = made(name).train()
    fast = optimize(copy.deepcopy(plain), "training")
    results, gradients = [], []
    for arm in (plain, fast):
        torch.manual_seed(3)  # of the dropout
        logits, auxiliary = arm(images())
        (logits.square().mean() + 0.4 * auxiliary.square().mean()).backward()
        results.append(logits.detach())
        gradients.append(torch.cat([p.grad.flatten() for p in arm.parameters()]))
    assert error(*results) < 1e-12
    assert error(*gradients) < 1e-11  # through a backbone with norms over few positions
    moved, expected = (dict(arm.named_buffers()) for arm in (fast, plain))
    assert_close(moved, expected, rtol=1e-11, atol=1e-13)


def test_training_form_of_a_network_keeps_the_keys_and_shares_the_tensors():
    plain = made("official/ann-r101")
    ours, theirs = (m.state_dict(keep_vars=True) for m in (optimize(plain, "training"), plain))
    assert list(ours) == list(theirs)
    assert all(ours[key] is theirs[key] for key in theirs)


def test_a_network_without_blocks_is_shared_as_it_is():
    plain = made("mmseg/psp-r101").eval()
    assert_close(optimize(plain, "training")(images()), plain(images()), rtol=0, atol=0)


@pytest.mark.parametrize("output", ["context", "residual", "concat", "bottleneck"])
@pytest.mark.parametrize("sampler", ["all", "pyramid-average"])
def test_any_fusion_ahead_of_the_reduction_is_equal(output, sampler):
    grids = () if sampler == "all" else (1, 2)
    released = network_spec("mmseg/ann-r101").fusion
    fusion = replace(released, output=output, sampler=sampler, grids=grids)
    plain = made("mmseg/ann-r101", fusion=fusion).eval()
    with torch.inference_mode():
        assert error(optimize(plain)(images()), plain(images())) < 1e-12


def test_maps_stay_in_the_layout_of_the_plain_network():
    head = optimize(made("mmseg/ann-r101")).head
    seen = []
    head.context.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        head(torch.randn(1, 64, 9, 8).double(), torch.randn(1, 128, 9, 8).double())
    assert seen[0].is_contiguous()


def test_inference_form_of_a_network_has_no_training_mode():
    with pytest.raises(ValueError, match="use optimize"):
        optimize(made("mmseg/ann-r101")).train()


class NormFirst(nn.Module):
    """Somebody's own block, whose norm follows no convolution."""

    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x):
        return self.conv(self.norm(x))


@pytest.mark.parametrize("name", ["official/ann-r101", "mmseg/dnl-r101"])
def test_a_network_with_a_block_of_another_kind_is_not_folded(name):
    plain = made(name).eval()
    plain.head.context = NormFirst(plain.spec.channels).double()
    with pytest.raises(ValueError, match="NormFirst is neither a block nor a network"):
        optimize(plain)
    fast = optimize(plain, "training")
    with torch.no_grad():
        assert error(fast(images()), plain(images())) < 1e-12


def test_a_subclass_of_a_network_is_not_folded_as_its_parent():
    class Brighter(SegmentationNetwork):
        def forward(self, images):
            return super().forward(2 * images)

    plain = made("mmseg/psp-r101")
    plain.__class__ = Brighter
    with pytest.raises(ValueError, match="Brighter is neither a block nor a network"):
        optimize(plain)


def test_what_is_folded_is_not_folded_again():
    with pytest.raises(ValueError, match="FoldedNonLocal is a subclass of NonLocal that can't be"):
        optimize(optimize(made("official/ann-r101")))


def test_networks_are_folded_on_meta_tensors_as_well():
    with torch.device("meta"):
        plain = network("official/ann-r101", backbone="tiny").eval()
        assert optimize(plain)(torch.zeros(1, 3, 33, 33)).shape == (1, 19, 33, 33)
