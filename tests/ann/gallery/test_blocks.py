"""Blocks of the gallery beside formulas written out here, in float64; others' packages in `test_packages.py`."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ann import gallery

OWN = "CrissCross LargeKernel MultiScaleConvolution EfficientAttention Linformer PooledAttention".split()
OWN += "PyramidPooling ExpectationMaximisation ObjectContext".split()
TWO_WIDTHS = {"EfficientAttention", "ObjectContext", "aspp"}
FACTORIES = (*OWN, *"aspp gc multi_head pvtv2_linear se segformer swin".split())


def made(name, channels=16, key_channels=8):
    torch.manual_seed(0)
    widths = (channels, key_channels) if name in TWO_WIDTHS else (channels,)
    module = getattr(gallery, name)(*widths).double().eval()
    with torch.no_grad():
        module(drawn(channels))  # lazy layers get their weights
        for weight in module.parameters():
            weight.normal_(std=0.3)
        for name_, buffer in module.named_buffers():
            if "running_var" in name_:
                buffer.uniform_(0.5, 2)
            elif "running_mean" in name_:
                buffer.normal_()
    return module


def drawn(channels=16, height=5, width=7):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, channels, height, width, dtype=torch.float64, generator=generator)


def run(module, x):
    with torch.no_grad():
        return module(x)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_block_gives_a_map_as_large_as_its_own(name):
    x = drawn(64)
    channels = 8 if name == "aspp" else 64
    assert run(made(name, 64), x).shape == (2, channels, 5, 7)


@pytest.mark.parametrize("name", FACTORIES)
def test_a_block_trains(name):
    module = made(name, 64).train()
    module(drawn(64)).square().sum().backward()
    without = {key for key, weight in module.named_parameters() if weight.grad is None}
    # EMANet's steps have no gradient, and what comes ahead of them has none either.
    assert without == ({"enter.weight", "enter.bias"} if "Expect" in name else set())


def places(x):
    return [(y, z) for y in range(x.shape[2]) for z in range(x.shape[3])]


def test_criss_cross_attends_to_row_and_column_and_to_itself_once():
    block, x = made("CrissCross"), drawn()
    want = x
    for _ in range(2):
        query, key, value = (conv(want) for conv in (block.query, block.key, block.value))
        context = torch.zeros_like(want)
        for n in range(2):
            for y, z in places(x):
                seen = {(y, other) for other in range(7)} | {(other, z) for other in range(5)}
                likeness = torch.stack(
                    [query[n, :, y, z] @ key[n, :, a, b] for a, b in sorted(seen)]
                )
                values = torch.stack([value[n, :, a, b] for a, b in sorted(seen)])
                context[n, :, y, z] = likeness.softmax(0) @ values
        want = want + block.gain * context
    torch.testing.assert_close(run(block, x), want.detach())


def test_two_passes_of_criss_cross_reach_every_position():
    block, x = made("CrissCross"), drawn().requires_grad_()
    block(x)[0, :, 0, 0].sum().backward()
    assert (x.grad[0].abs().sum(0) > 0).all()


def test_a_large_kernel_reaches_23_places():
    block, x = made("LargeKernel"), drawn(height=31, width=31).requires_grad_()
    block(x)[0, :, 15, 15].sum().backward()
    seen = (x.grad[0].abs().sum(0) > 0).nonzero()
    assert (seen.min().item(), seen.max().item()) == (4, 26)


def dense(conv):
    """The weights of a depth-wise convolution as those of one over all channels, dilation written out."""
    channels, _, high, wide = conv.weight.shape
    step = conv.dilation[0]
    kernel = torch.zeros(channels, channels, step * (high - 1) + 1, step * (wide - 1) + 1).double()
    for c in range(channels):
        kernel[c, c, ::step, ::step] = conv.weight[c, 0]
    return kernel.detach()


def spread(conv, x):
    kernel = dense(conv)
    high, wide = kernel.shape[2] // 2, kernel.shape[3] // 2
    return F.conv2d(F.pad(x, (wide, wide, high, high)), kernel, conv.bias.detach())


def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def test_a_large_kernel_weighs_the_map_by_its_two_kernels():
    block, x = made("LargeKernel"), drawn()
    value = gelu(block.enter(x))
    weight = block.mix(spread(block.far, spread(block.near, value)))
    torch.testing.assert_close(run(block, x), (x + block.leave(value * weight)).detach())


def test_multi_scale_convolution_adds_three_strips_to_the_near_kernel():
    block, x = made("MultiScaleConvolution"), drawn(height=23, width=25)
    value = gelu(block.enter(x))
    near = spread(block.near, value)
    strips = [spread(down, spread(across, near)) for across, down in block.strips]
    sides = [(across.kernel_size, down.kernel_size) for across, down in block.strips]
    assert sides == [((1, n), (n, 1)) for n in (7, 11, 21)]
    want = x + block.leave(value * block.mix(near + sum(strips)))
    torch.testing.assert_close(run(block, x), want.detach())


def test_efficient_attention_is_the_product_of_two_softmaxes_and_the_values():
    block, x = made("EfficientAttention", 16, 16), drawn()
    query, key, value = (conv(x).flatten(2) for conv in (block.query, block.key, block.value))
    heads = []
    for at in range(8):
        part = slice(2 * at, 2 * at + 2)
        # The attention map that is never made: positions by positions.
        weight = query[:, part].softmax(1).mT @ key[:, part].softmax(2)
        heads.append((weight @ value[:, part].mT).mT)
    context = torch.cat(heads, 1).unflatten(2, (5, 7))
    torch.testing.assert_close(run(block, x), (x + block.out(context)).detach())


def attend(query, key, value, heads):
    """Attention of (n, t, c) tokens, head by head."""
    outputs = []
    for q, k, v in zip(*(each.chunk(heads, 2) for each in (query, key, value)), strict=True):
        outputs.append((q @ k.mT / math.sqrt(q.shape[2])).softmax(2) @ v)
    return torch.cat(outputs, 2)


def test_pooled_attention_takes_keys_and_values_from_four_pools():
    block, x = made("PooledAttention", 128), drawn(128, 24, 20)
    pools = []
    for ratio, conv in zip((6, 8, 10, 12), block.local, strict=True):
        sides = [round(side / ratio) for side in x.shape[2:]]
        pool = F.adaptive_avg_pool2d(x, sides)
        pools.append((pool + spread(conv, pool)).flatten(2))
    tokens = F.layer_norm(torch.cat(pools, 2).mT, [128], block.norm.weight, block.norm.bias)
    assert tokens.shape[1] == 4 * 3 + 3 * 2 + 2 * 2 + 2 * 2
    key, value = block.key_value(tokens).chunk(2, 2)
    mixed = block.out(attend(block.query(x.flatten(2).mT), key, value, 2))
    torch.testing.assert_close(run(block, x), mixed.mT.unflatten(2, (24, 20)).detach())


def normalise(part, x):
    """A 1x1 convolution with its norm and ReLU, each written out."""
    norm = part.norm
    x = torch.einsum("oi,nihw->nohw", part.conv.weight[:, :, 0, 0], x)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    return (x * scale[:, None, None] + shift[:, None, None]).clamp(min=0)


def test_object_context_attends_to_means_of_19_regions():
    block, x = made("ObjectContext"), drawn()
    share = block.predict(x).flatten(2).softmax(2)
    assert share.shape[1] == 19
    regions = torch.einsum("nct,nrt->ncr", x.flatten(2), share).unsqueeze(3)
    query = normalise(block.query[1], normalise(block.query[0], x)).flatten(2).mT
    key = normalise(block.key[1], normalise(block.key[0], regions)).flatten(2).mT
    value = normalise(block.value, regions).flatten(2).mT
    mixed = attend(query, key, value, 1).mT.unflatten(2, (5, 7))
    want = normalise(block.merge, torch.cat([normalise(block.out, mixed), x], 1))
    torch.testing.assert_close(run(block, x), want.detach())


def test_expectation_maximisation_takes_three_steps():
    block, x = made("ExpectationMaximisation"), drawn()
    block.bases.copy_(F.normalize(torch.randn(1, 16, 64).double(), dim=1))
    positions = block.enter(x).flatten(2).detach()
    rebuilt = []
    for one in positions:
        bases = block.bases[0]
        for _ in range(3):
            share = torch.stack([(place @ bases).softmax(0) for place in one.mT])
            bases = torch.stack([(one * part).sum(1) / part.sum() for part in share.mT], 1)
            bases = bases / bases.norm(dim=0)
        rebuilt.append(bases @ share.mT)
    context = torch.stack(rebuilt).unflatten(2, (5, 7)).clamp(min=0)
    norm = block.leave.norm
    context = torch.einsum("oi,nihw->nohw", block.leave.conv.weight[:, :, 0, 0], context)
    left = F.batch_norm(context, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    want = (x + left).clamp(min=0).detach()
    torch.testing.assert_close(run(block, x), want, rtol=1e-5, atol=1e-5)


def test_bases_follow_the_images_in_training_alone():
    block, x = made("ExpectationMaximisation"), drawn()
    before = block.bases.clone()
    run(block, x)
    assert torch.equal(block.bases, before)
    run(block.train(), x)
    assert not torch.equal(block.bases, before)


def test_a_pyramid_of_averages_stands_beside_the_map():
    block, x = made("PyramidPooling"), drawn(height=6, width=12)
    maps = [x]
    for grid, part in zip((1, 2, 3, 6), block.pools, strict=True):
        pooled = x.unflatten(2, (grid, -1)).unflatten(4, (grid, -1)).mean((3, 5))
        narrow = normalise(part, pooled)
        maps.append(F.interpolate(narrow, (6, 12), mode="bilinear", align_corners=False))
    merged = F.conv2d(torch.cat(maps, 1), block.merge.conv.weight, padding=1)
    norm = block.merge.norm
    merged = F.batch_norm(merged, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    torch.testing.assert_close(run(block, x), merged.clamp(min=0).detach())


def test_multi_head_attention_is_that_of_its_weights():
    block, x = made("multi_head", 128), drawn(128)
    inner = block.module
    parts = F.linear(x.flatten(2).mT, inner.qkv.weight, inner.qkv.bias).chunk(3, 2)
    mixed = inner.proj(attend(*parts, 2)).mT.unflatten(2, (5, 7))
    torch.testing.assert_close(run(block, x), mixed.detach())


def test_the_global_context_is_one_weighted_mean():
    block, x = made("gc"), drawn()
    weight = block.conv_attn(x).flatten(2).softmax(2)
    mean = torch.einsum("nct,not->nc", x.flatten(2), weight)[:, :, None, None]
    torch.testing.assert_close(run(block, x), (x + block.mlp_add(mean)).detach())


def test_linformer_is_learned_for_one_size_of_map():
    block = made("Linformer")
    assert block.project_keys.weight.shape == (256, 35)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        block(drawn(height=6))


def test_swin_keeps_maps_that_are_no_whole_windows():
    assert isinstance(made("swin").module, nn.Module)
    assert run(made("swin", 64), drawn(64, 9, 15)).shape == (2, 64, 9, 15)
