from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from ann import build
from ann.catalogue import BLOCKS

SIZES = {"96x96": (96, 96), "256x128": (128, 256), "97x97": (97, 97)}


def small(name, **changes):
    torch.manual_seed(0)
    low = {"low_channels": 6} if BLOCKS[name].is_fusion else {}
    made = build.block(name, channels=10, key_channels=4, **low, **changes).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made.eval()


def maps(name, height=7, width=5, low_size=None):
    spec = BLOCKS[name]
    high = torch.randn(2, 10, height, width, dtype=torch.float64)
    if not spec.is_fusion:
        return (high,)
    return high, torch.randn(2, 6, *(low_size or (height, width)), dtype=torch.float64)


def conv_norm(module, x):
    """The projection written out: convolution, batch norm with running statistics, ReLU."""
    conv, norm = module.conv, module.norm
    x = F.conv2d(x, conv.weight, conv.bias)
    mean, var = norm.running_mean.view(-1, 1, 1), norm.running_var.view(-1, 1, 1)
    x = (x - mean) / (var + norm.eps).sqrt()
    return F.relu(x * norm.weight.view(-1, 1, 1) + norm.bias.view(-1, 1, 1))


def pyramid(x, grids=(1, 3, 6, 8)):
    return torch.cat([F.adaptive_avg_pool2d(x, n).flatten(2) for n in grids], 2)


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize(("height", "width"), [(7, 5), (1, 1), (16, 9)])
def test_a_block_keeps_the_size_of_its_map(name, height, width):
    out = small(name)(*maps(name, height, width))
    assert out.shape == (2, 20 if name.endswith("-concat") else 10, height, width)


def test_nb_is_softmax_attention_over_all_positions():
    block, (x,) = small("nb"), maps("nb")
    embedded = conv_norm(block.key, x).flatten(2)
    weight = torch.softmax(torch.einsum("nci,ncj->nij", embedded, embedded) / 2, dim=2)
    value = F.conv2d(x, block.value.weight, block.value.bias).flatten(2)
    mixed = torch.einsum("nij,ncj->nci", weight, value).view(2, 4, 7, 5)
    assert_close(block(x), F.conv2d(mixed, block.out.weight, block.out.bias))


def test_apnb_attends_to_pooled_keys_and_values():
    block, (x,) = small("apnb"), maps("apnb", 11, 9)
    query = conv_norm(block.key, x)
    value = pyramid(F.conv2d(x, block.value.weight, block.value.bias))
    weight = torch.softmax(torch.einsum("nci,ncs->nis", query.flatten(2), pyramid(query)) / 2, 2)
    mixed = torch.einsum("nis,ncs->nci", weight, value).view(2, 4, 11, 9)
    assert_close(block(x), F.conv2d(mixed, block.out.weight, block.out.bias))


def test_afnb_queries_from_the_high_map_and_answers_from_the_low_one():
    block, (high, low) = small("afnb"), maps("afnb", 11, 9, low_size=(13, 8))
    query = conv_norm(block.query, high).flatten(2)
    key = pyramid(conv_norm(block.key, low))
    value = pyramid(F.conv2d(low, block.value.weight, block.value.bias))
    weight = torch.softmax(torch.einsum("nci,ncs->nis", query, key) / 2, dim=2)
    mixed = torch.einsum("nis,ncs->nci", weight, value).view(2, 4, 11, 9)
    assert_close(block(high, low), F.conv2d(mixed, block.out.weight, block.out.bias))


def test_dnl_is_whitened_pairwise_plus_unary_attention():
    block, (x,) = small("dnl"), maps("dnl")
    query, key, value = (
        F.conv2d(x, m.weight, m.bias).flatten(2) for m in (block.query, block.key, block.value)
    )
    likeness = torch.einsum("nci,ncj->nij", query - query.mean(2, True), key - key.mean(2, True))
    pairwise = torch.softmax(likeness / (2 * 0.05), dim=2)
    unary = torch.softmax(F.conv2d(x, block.unary.weight, block.unary.bias).flatten(2), dim=2)
    mixed = (
        torch.einsum("nij,ncj->nci", pairwise, value)
        + torch.einsum("nuj,ncj->nc", unary, value)[..., None]
    )
    out = F.conv2d(mixed.view(2, 4, 7, 5), block.out.weight)
    assert_close(block(x), x + block.out_norm(out))


def test_common_fusion_adds_the_lifted_low_map():
    block, (high, low) = small("common-fusion"), maps("common-fusion")
    assert_close(block(high, low), high + conv_norm(block.lift, low))


def test_the_concatenated_form_is_context_then_input():
    block, (x,) = small("apnb-concat"), maps("apnb-concat")
    context = build.block("apnb", channels=10, key_channels=4).double().eval()
    context.load_state_dict(block.state_dict())
    assert_close(block(x), torch.cat([context(x), x], dim=1))


@pytest.mark.parametrize(
    "name", ["nb-residual", "apnb-residual", "fnb-residual", "afnb-residual", "nl", "dnl"]
)
def test_a_new_residual_block_is_the_identity(name):
    low = {"low_channels": 6} if BLOCKS[name].is_fusion else {}
    block = build.block(name, channels=10, key_channels=4, **low).double().eval()
    given = maps(name)
    assert_close(block(*given), given[0])


def test_an_apnb_of_a_grid_as_fine_as_the_map_is_an_nb():
    fine, (x,) = small("apnb", sampler="average", grids=(6,)), maps("apnb", 6, 6)
    every = build.block("nb", channels=10, key_channels=4).double().eval()
    every.load_state_dict(fine.state_dict())
    assert_close(fine(x), every(x))


def test_a_shared_norm_sees_each_batch_twice():
    block = build.block("apnb", channels=10, key_channels=4).train()
    block(torch.randn(2, 10, 8, 8))
    assert block.key.norm.num_batches_tracked == 2


def test_a_separate_norm_sees_each_batch_once():
    block = build.block("apnb", channels=10, key_channels=4, projection="separate").train()
    block(torch.randn(2, 10, 8, 8))
    assert block.key.norm.num_batches_tracked == 1


def test_sharing_query_and_key_saves_one_projection():
    with torch.device("meta"):
        shared, separate = (
            build.block("apnb", channels=512, projection=projection)
            for projection in ("shared", "separate")
        )
    saved = sum(p.numel() for p in separate.parameters()) - sum(
        p.numel() for p in shared.parameters()
    )
    assert saved == 512 * 256 + 256 + 512


@pytest.mark.parametrize(
    ("name", "changes", "parameters"),
    [
        ("apnb", {"channels": 512}, 394_752),
        ("apnb", {}, 1_575_936),
        ("nb", {}, 1_575_936),
        ("afnb", {}, 1_576_704),
        ("apnb-bottleneck", {"channels": 512}, 920_576),
        ("afnb-bottleneck", {}, 1_576_704 + 8_394_752),
    ],
)
def test_parameters_are_those_of_the_official_code(name, changes, parameters):
    with torch.device("meta"):
        block = build.block(name, **changes)
    assert sum(p.numel() for p in block.parameters()) == parameters


@pytest.mark.parametrize(
    ("name", "size", "channels", "gmacs"),
    [
        ("nb", "96x96", 2048, 62.81),
        ("nb", "256x128", 2048, 618.48),
        ("nb", "97x97", 512, 50.26),
        ("nb", "256x128", 512, 566.94),
        ("apnb", "96x96", 2048, 19.85),
        ("apnb", "256x128", 2048, 70.56),
        ("apnb", "97x97", 512, 5.46),
        ("apnb", "256x128", 512, 19.03),
        ("nb-bottleneck", "96x96", 2048, 140.12),
        ("apnb-bottleneck", "96x96", 2048, 97.16),
        ("nb-bottleneck", "256x128", 2048, 893.35),
        ("apnb-bottleneck", "256x128", 2048, 345.44),
        ("fnb", "97x97", 2048, 60.13),
        ("afnb", "97x97", 2048, 15.33),
        ("fnb", "256x128", 2048, 601.30),
        ("afnb", "256x128", 2048, 53.39),
    ],
)
def test_macs_are_those_of_the_official_code_as_executed(name, size, channels, gmacs):
    height, width = SIZES[size]
    spec = replace(BLOCKS[name], channels=channels)
    with torch.device("meta"):
        block = build.block(spec).eval()
        given = [torch.empty(1, c, height, width) for c in (spec.channels, spec.low_channels) if c]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        block(*given)
    assert round(counter.get_total_flops() / 2e9, 2) == pytest.approx(gmacs, abs=0.011)


@pytest.mark.parametrize("name", BLOCKS)
def test_every_parameter_gets_a_gradient(name):
    block = small(name).train()
    block(*maps(name)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in block.parameters())
