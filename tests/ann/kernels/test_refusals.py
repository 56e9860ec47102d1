"""What the kernels can't compute is refused with a reason, before anything runs."""

import pytest
import torch
from torch import nn

from ann import build
from ann.implementations import implement
from ann.kernels import launch, pool_pyramid
from ann.spec import BlockSpec, UnavailableError

PYRAMID = {"sampler": "pyramid-average", "grids": (1, 3), "key_channels": 16}


def block(**changes):
    return build.block(BlockSpec(channels=32, **PYRAMID | changes)).eval()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key_channels": 24}, "key_channels=24 is not a multiple of 16"),
        ({"grids": (1, 16)}, "257 anchors, a tile of queries holds at most 256"),
        ({"sampler": "all", "grids": ()}, "sampler 'all' has no kernel; average and"),
        ({"sampler": "pyramid-max"}, "sampler 'pyramid-max' has no kernel"),
        ({"sampler": "pyramid-random"}, "sampler 'pyramid-random' has no kernel"),
        ({"kind": "disentangled"}, "a disentangled block has no kernel"),
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_blocks_without_a_kernel_are_refused(mode, changes, reason):
    with pytest.raises(UnavailableError, match=f"triton: {reason}.*'fast'"):
        implement(block(**changes), "triton", mode)


def test_a_network_is_refused_for_one_block_without_a_kernel():
    network = nn.Sequential(block(), block(sampler="all", grids=()))
    with pytest.raises(UnavailableError, match="sampler 'all' has no kernel"):
        implement(network, "triton")


def test_a_norm_that_can_t_be_folded_is_refused_in_inference_alone():
    given = block()
    given.key.norm = nn.GroupNorm(4, 16)
    with pytest.raises(UnavailableError, match="a norm that can't be folded"):
        implement(given, "triton", "inference")
    implement(given, "triton", "training")


def test_another_activation_is_refused_in_inference():
    given = block()
    given.key.relu = nn.GELU()
    with pytest.raises(UnavailableError, match="a norm that can't be folded"):
        implement(given, "triton", "inference")


def test_a_block_with_hooks_is_refused():
    given = block()
    given.value.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="its value has hooks, which would be lost"):
        implement(given, "triton")


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64])
def test_numbers_without_a_kernel_are_refused(dtype):
    with pytest.raises(UnavailableError, match="no kernel; pass one of float32, bfloat16, float16"):
        pool_pyramid(torch.zeros(1, 4, 3, 3, dtype=dtype), grids=(1,))


def test_a_processor_is_refused_unless_kernels_are_interpreted(monkeypatch):
    monkeypatch.setattr(launch, "is_interpreted", lambda: False)
    with pytest.raises(
        UnavailableError, match="for a GPU and not for a processor.*TRITON_INTERPRET"
    ):
        implement(block(), "triton")(torch.zeros(1, 32, 3, 3))


def test_other_systems_than_linux_are_refused(monkeypatch):
    monkeypatch.setattr(launch.sys, "platform", "darwin")
    with pytest.raises(UnavailableError, match="on Linux alone, not on darwin"):
        pool_pyramid(torch.zeros(1, 4, 3, 3), grids=(1,))


def test_on_meta_nothing_is_refused_for_its_device():
    with torch.device("meta"):
        out = implement(block(), "triton")(torch.zeros(2, 32, 5, 7))
    assert out.shape == (2, 32, 5, 7)


def test_the_given_block_stays_as_it_is():
    given = block()
    before = {name: weight.clone() for name, weight in given.state_dict().items()}
    implement(given, "triton")
    assert type(given).__name__ == "NonLocal"
    assert all(torch.equal(before[name], weight) for name, weight in given.state_dict().items())


def test_training_shares_the_parameters_and_keeps_the_keys():
    given = block().train()
    fast = implement(given, "triton", "training")
    assert list(fast.state_dict()) == list(given.state_dict())
    assert all(
        one is other for one, other in zip(fast.parameters(), given.parameters(), strict=True)
    )


def fusion():
    return block(low_channels=16, projection="separate", output="concat")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(1, 24, 5, 4), (1, 16, 5, 4)], "weight .16x32. does not fit map .1x24x5x4.: 32 and 24"),
        ([(1, 32, 5, 4), (1, 8, 5, 4)], "weight .16x16. does not fit map .1x8x5x4."),
        ([(2, 32, 5, 4), (1, 16, 5, 4)], "does not fit query .2x16x20.: 1 and 2"),
        ([(1, 32, 5, 4), (2, 16, 5, 4)], "does not fit query .1x16x20.: 2 and 1"),
    ],
    ids=str,
)
@pytest.mark.parametrize("mode", ["inference", "training"])
def test_maps_that_do_not_fit_are_refused_before_a_kernel_reads_them(mode, shapes, message):
    fast = implement(fusion(), "triton", mode).to("meta")
    with pytest.raises(ValueError, match=message):
        fast(*(torch.zeros(shape, device="meta") for shape in shapes))


def test_a_map_without_images_is_refused():
    with pytest.raises(ValueError, match="map .4x3x3. has 3 axes; it takes 4"):
        pool_pyramid(torch.zeros(4, 3, 3), grids=(1,))


def test_a_gradient_in_inference_is_refused():
    fast = implement(block(), "triton")
    with pytest.raises(ValueError, match="kernels for inference have no gradient"):
        fast(torch.zeros(1, 32, 3, 3, requires_grad=True))


@pytest.mark.parametrize("grids", [(), (0,), (3, -1)], ids=str)
def test_grids_that_are_no_pyramid_are_refused(grids):
    with pytest.raises(ValueError, match="are no pyramid; pass sides of 1 or more"):
        pool_pyramid(torch.zeros(1, 4, 3, 3), grids=grids)


def test_more_images_than_a_grid_has_are_refused():
    with pytest.raises(UnavailableError, match="65536 images or heads at once"):
        pool_pyramid(torch.zeros(1, 4, 1, 1).expand(65536, -1, -1, -1), grids=(1,))
