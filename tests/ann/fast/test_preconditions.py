"""What others put into blocks and networks: kept and called, or refused; the result is that of the given module."""

import copy
import types
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from torchvision.ops import FrozenBatchNorm2d

from ann import build
from ann.blocks import CommonFusion
from ann.fast import optimize
from ann.fast.blocks import FastNonLocal
from ann.layers import ConvNorm
from tests.ann.fast.test_fast import compare_step, error, made, maps, shake

MODES = ("inference", "training")


class Doubling(nn.BatchNorm2d):
    def forward(self, x):
        return 2 * super().forward(x)


class Scaling(nn.Identity):
    def forward(self, x):
        return 3 * x


class Counting(nn.Module):
    """A norm whose statistic moves at each call in training, as `num_batches_tracked` does."""

    def __init__(self, width):
        super().__init__()
        self.norm = nn.GroupNorm(2, width)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += self.training
        return self.norm(x) * (1 + self.calls)


NORMS = {
    "SyncBatchNorm": nn.SyncBatchNorm,
    "GroupNorm": partial(nn.GroupNorm, 2),
    "InstanceNorm": nn.InstanceNorm2d,
    "InstanceNorm with statistics": partial(
        nn.InstanceNorm2d, affine=True, track_running_stats=True
    ),
    "FrozenBatchNorm": FrozenBatchNorm2d,
    "Identity": lambda _: nn.Identity(),
    "subclass of Identity": lambda _: Scaling(),
    "subclass": Doubling,
    "no statistics": partial(nn.BatchNorm2d, track_running_stats=False),
    "no gain": partial(nn.BatchNorm2d, affine=False),
    "mean of all batches": partial(nn.BatchNorm2d, momentum=None),
    "moves at each call": Counting,
    "local response": lambda _: nn.LocalResponseNorm(2),
}
KEPT = [name for name in NORMS if name not in ("SyncBatchNorm", "Identity")]


@torch.no_grad()
def renormed(module, norm):
    """Put another norm in the place of each batch norm, with statistics and gains as after a training."""
    for name, part in list(module.named_modules()):
        if isinstance(part, nn.BatchNorm2d):
            other = norm(part.num_features).double()
            module.set_submodule(name, other)
            for key, tensor in other.state_dict().items():
                if tensor.is_floating_point() and key != "calls":
                    tensor.uniform_(0.5, 1.5)
    return module


def largest(fast, plain, inputs):
    with torch.no_grad():
        return error(fast(*inputs), plain(*inputs))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["apnb-bottleneck", "nl", "afnb-bottleneck"])
def test_any_norm_in_a_block_is_there_in_its_rewritten_forms(name, norm):
    plain = renormed(made(name), NORMS[norm]).eval()
    inputs = maps(plain)
    assert largest(optimize(plain), plain, inputs) < 1e-12
    fast = optimize(copy.deepcopy(plain), "training")
    assert max(compare_step(plain.train(), fast.train(), inputs)) < 1e-11


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ["official/ann-r101", "mmseg/ann-r101", "mmseg/nl-r101"])
def test_any_norm_in_a_network_is_there_in_its_inference_form(name, norm):
    torch.manual_seed(0)
    plain = shake(build.network(name, backbone="tiny", num_classes=5)).double()
    plain = renormed(plain, NORMS[norm]).eval()
    images = torch.randn(1, 3, 65, 49, dtype=torch.float64)
    assert largest(optimize(plain), plain, [images]) < 1e-12


@pytest.mark.parametrize("norm", KEPT)
def test_what_is_no_batch_norm_with_statistics_is_not_folded(norm):
    plain = renormed(made("apnb-bottleneck"), NORMS[norm]).eval()
    kinds = [type(part) for part in plain.modules() if type(part) not in (nn.ReLU, nn.Dropout2d)]
    kept = optimize(plain).combine.bottleneck.norm
    assert type(kept) is type(plain.combine.bottleneck.norm)
    assert type(kept) in kinds


def test_synchronised_norms_are_folded():
    plain = nn.SyncBatchNorm.convert_sync_batchnorm(made("apnb-bottleneck")).eval()
    assert not any(isinstance(part, nn.SyncBatchNorm) for part in optimize(plain).modules())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("activation", [nn.GELU, nn.LeakyReLU, nn.Hardswish])
def test_another_activation_is_called(activation, mode):
    plain = made("apnb-bottleneck").eval()
    for part in plain.modules():
        if isinstance(part, ConvNorm):
            part.relu = activation()
    assert largest(optimize(plain, mode), plain, maps(plain)) < 1e-12


def test_dropout_of_another_kind_is_kept():
    plain = made("apnb-bottleneck").eval()
    plain.combine.dropout = Scaling()
    assert largest(optimize(plain), plain, maps(plain)) < 1e-12


def hooked(block):
    block.value.register_forward_hook(lambda _, __, out: 2 * out)


def hooked_itself(block):
    block.register_forward_pre_hook(lambda _, inputs: tuple(2 * x for x in inputs))


def parametrised(block):
    parametrizations.spectral_norm(block.out)


def pruned(block):
    prune.l1_unstructured(block.out, "weight", 0.5)


def overridden(block):
    block.forward = lambda x: 2 * x


def overridden_inside(block):
    plain = block.combine.forward
    block.combine.forward = lambda x, context: 2 * plain(x, context)


def widened(block):
    block.value = nn.Conv2d(20, 8, 3, padding=1).double()


def grouped(block):
    block.value = nn.Conv2d(20, 8, 1, groups=4).double()


def adding(block):
    block.combine.output = "residual"


def attending(block):
    block.attention = lambda query, key, value, scale: value.mean(1, keepdim=True) + 0 * query


ALTERATIONS = {
    hooked: "its value has hooks",
    hooked_itself: "it has hooks",
    parametrised: "its out is a ParametrizedConv2d and not a Conv2d",
    pruned: "its out has hooks",
    overridden: "it has a function 'forward' of its own",
    overridden_inside: "its combine has a function 'forward' of its own",
    widened: "its value is no 1x1 convolution",
    grouped: "its value is no 1x1 convolution",
    adding: "its combine gives 'residual' and not 'bottleneck'",
    attending: "its attention is a function of its own",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("alter", ALTERATIONS, ids=lambda alter: alter.__name__)
def test_a_block_with_something_that_would_be_lost_is_refused(alter, mode):
    plain = made("apnb-bottleneck").eval()
    alter(plain)
    with pytest.raises(ValueError, match=f"can't be rewritten: {ALTERATIONS[alter]}"):
        optimize(nn.Sequential(plain), mode)


@pytest.mark.parametrize("mode", MODES)
def test_hooks_on_a_norm_run(mode):
    plain = made("apnb-bottleneck").eval()
    for norm in (plain.key.norm, plain.combine.bottleneck.norm):
        norm.register_forward_hook(lambda _, __, out: out + 1)
    assert largest(optimize(plain, mode), plain, maps(plain)) < 1e-12


def tiny(name="official/ann-r101"):
    torch.manual_seed(0)
    return shake(build.network(name, backbone="tiny", num_classes=5)).double().eval()


def images(side=65):
    torch.manual_seed(1)
    return [torch.randn(1, 3, side, side, dtype=torch.float64)]


def hook_a_backbones_convolution(net):
    net.backbone.layer1[0].conv1.register_forward_hook(lambda _, __, out: 2 * out)


def hook_a_heads_dropout(net):
    net.head.dropout.register_forward_hook(lambda _, __, out: 2 * out)


def hook_the_head(net):
    net.head.register_forward_hook(lambda _, __, out: 2 * out)


def parametrise_a_convolution(net):
    parametrizations.weight_norm(net.head.reduce.conv)


def overwrite_the_head(net):
    plain = net.head.forward
    net.head.forward = types.MethodType(lambda self, low, high: 2 * plain(low, high), net.head)


def use_a_convolution_twice(net):
    first, second = (shake(nn.BatchNorm2d(16)) for _ in range(2))
    conv = nn.Conv2d(16, 16, 1)
    net.backbone.layer1.extend([conv, first, conv, second]).double()


def tie_weights(net):
    convs, norms = ([kind(16, *more) for _ in range(2)] for kind, more in KINDS)
    convs[0].weight = convs[1].weight
    net.backbone.layer1.extend([convs[0], shake(norms[0]), convs[1], norms[1]]).double()


KINDS = ((nn.Conv2d, (16, 1)), (nn.BatchNorm2d, ()))


def stride_the_resizing(net):
    net.resize = lambda x, size, align_corners: nn.functional.interpolate(x, size=size)


class NormAhead(nn.Module):
    """A backbone of somebody's whose norms are not called in the order of their registration."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Conv2d(3, 64, 3, stride=8, padding=1)
        self.norm = nn.BatchNorm2d(64)
        self.leave = nn.Conv2d(64, 128, 1)
        self.after = nn.BatchNorm2d(64)

    def forward(self, x):
        low = self.after(self.enter(x)).relu()
        return low, self.leave(self.norm(low))


def use_a_foreign_backbone(net):
    net.backbone = shake(NormAhead()).double()


@pytest.mark.parametrize(
    "alter",
    [
        hook_a_backbones_convolution,
        hook_a_heads_dropout,
        hook_the_head,
        parametrise_a_convolution,
        overwrite_the_head,
        use_a_convolution_twice,
        tie_weights,
        stride_the_resizing,
        use_a_foreign_backbone,
    ],
    ids=lambda alter: alter.__name__,
)
def test_what_was_done_to_a_network_is_done_by_its_inference_form(alter):
    plain = tiny()
    alter(plain)
    plain.eval()
    assert largest(optimize(plain, check=False), plain, images()) < 1e-12


def test_a_network_with_hooks_is_not_folded():
    plain = tiny()
    plain.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="this network can't be folded: it has hooks"):
        optimize(plain)


@pytest.mark.parametrize("mode", MODES)
def test_one_block_in_two_places_is_rewritten_in_both(mode):
    plain = tiny("mmseg/nl-r101")
    plain.head.further = plain.head.context
    fast = optimize(plain, mode)
    assert isinstance(fast.head.context, FastNonLocal)
    assert fast.head.further is fast.head.context
    assert largest(fast, plain, images()) < 1e-12


def test_blocks_that_share_a_convolution_are_folded_apart():
    plain = tiny("mmseg/nl-r101")
    first, second = plain.head.context, copy.deepcopy(plain.head.context)
    second.out = first.out
    plain.head.further = second
    head = optimize(plain).head
    x = [torch.randn(1, first.spec.channels, 9, 7, dtype=torch.float64)]
    assert largest(head.context, first, x) < 1e-12
    assert largest(head.further, second, x) < 1e-12


@pytest.mark.parametrize("part", ["key.norm", "combine.bottleneck.norm", "combine.dropout"])
def test_what_computes_as_in_training_inside_a_block_in_evaluation_does_so_still(part):
    plain = made("apnb-bottleneck", dropout=0.5).eval()
    plain.get_submodule(part).train()
    fast = optimize(plain)
    assert fast.get_submodule(part).training
    results = []
    for block in (fast, copy.deepcopy(plain)):
        torch.manual_seed(3)  # of the dropout
        results.append(block(*maps(plain)).detach())
    assert error(*results) < 1e-12


def test_a_networks_dropout_in_training_inside_evaluation_is_kept():
    plain = tiny()
    plain.head.dropout.p = 0.5
    plain.head.dropout.train()
    results = []
    for net in (optimize(plain), plain):
        torch.manual_seed(3)
        results.append(net(*images()).detach())
    assert error(*results) < 1e-12


def test_norms_in_evaluation_stay_so_in_a_module_that_trains():
    plain = made("apnb-bottleneck").train()
    plain.key.norm.eval()
    fast = optimize(copy.deepcopy(plain), "training")
    assert not fast.key.norm.training
    assert max(compare_step(plain, fast, maps(plain))) < 1e-12


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("module", [nn.Conv2d(3, 3, 1), nn.Sequential(nn.BatchNorm2d(3))])
def test_what_has_nothing_of_ours_is_refused(module, mode):
    with pytest.raises(ValueError, match=f"none of ours in {type(module).__name__}: .* 'plain'"):
        optimize(module, mode)


def test_common_fusion_with_another_norm_has_it_still():
    plain = renormed(shake(build.block("common-fusion", channels=8, low_channels=4)), Doubling)
    plain = plain.double().eval()
    assert type(plain) is CommonFusion
    assert largest(optimize(plain), plain, maps(plain)) < 1e-12


def test_frozen_weights_stay_frozen_and_are_compared():
    plain = made("apnb-bottleneck").train()
    plain.value.requires_grad_(requires_grad=False)
    fast = optimize(plain, "training")
    assert not fast.value.weight.requires_grad
    assert fast.out.weight.requires_grad


def test_pruned_weights_elsewhere_are_refused_with_what_to_do():
    plain = tiny()
    prune.l1_unstructured(plain.head.classifier, "weight", 0.5)
    plain(*images())
    with pytest.raises(ValueError, match=r"can't be copied.*torch.nn.utils.prune.remove"):
        optimize(plain)


def test_norms_of_another_number_format_are_folded():
    plain = made("apnb-bottleneck", dtype=torch.float32).eval().bfloat16()
    for part in plain.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.float()
    fast, inputs = optimize(plain), maps(plain)
    exact = copy.deepcopy(plain).double()
    with torch.no_grad():
        true = exact(*(x.double() for x in inputs))
        off, allowed = (error(each(*inputs).double(), true) for each in (fast, plain))
    assert off < 2 * allowed
