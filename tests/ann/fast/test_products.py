"""Products by oneDNN in place of BLAS: where they are taken, where not, and that they are equal."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ann.fast import optimize, products
from tests.ann.fast.test_fast import error, made, maps

needs_onednn = pytest.mark.skipif(
    not products._has_onednn(), reason="this torch was built without oneDNN's linear layers"
)


@pytest.fixture
def by_onednn(monkeypatch):
    """Calls that went to oneDNN, where it counts as the quicker one and no product is too small."""
    calls, multiply = [], products._by_onednn

    def enter(left, right):
        calls.append((tuple(left.shape), tuple(right.shape)))
        return multiply(left, right)

    monkeypatch.setattr(products, "LEAST_MACS", 0)
    monkeypatch.setattr(products, "onednn_is_quicker", lambda: True)
    monkeypatch.setattr(products, "_by_onednn", enter)
    return calls


@needs_onednn
@torch.no_grad()
@pytest.mark.parametrize("name", ["apnb", "apnb-concat", "afnb-bottleneck", "dnl"])
def test_blocks_are_equal_by_onednn(name, by_onednn):
    plain = made(name, dtype=torch.float32).eval()
    inputs = maps(plain, 31, 17, images=1)
    assert error(optimize(plain, check=False)(*inputs), plain(*inputs)) < 1e-5
    assert by_onednn


@needs_onednn
def test_a_transposed_map_is_taken_as_it_lies(by_onednn):
    left, right = torch.randn(1, 5, 7), torch.randn(1, 11, 7).mT
    product = products.multiply(left, right)
    torch.testing.assert_close(product, torch.bmm(left, right))
    assert by_onednn == [((5, 7), (7, 11))]


def pair(images=1, dtype=torch.float32, *, device="cpu"):
    return (
        torch.ones(images, 5, 7, dtype=dtype, device=device),
        torch.ones(images, 7, 11, dtype=dtype, device=device),
    )


@pytest.mark.parametrize(
    "operands",
    [
        pair(images=2),
        pair(dtype=torch.float64),
        pair(device="meta"),
        (torch.ones(1, 5, 7), torch.ones(1, 7, 22)[:, :, ::2]),
    ],
    ids=["two images", "float64", "meta", "with gaps"],
)
def test_what_onednn_has_no_rule_for_is_left_to_blas(operands, by_onednn):
    assert products.multiply(*operands).shape == (len(operands[0]), 5, 11)
    assert by_onednn == []


def test_gradients_are_left_to_blas(by_onednn):
    left, right = pair()
    products.multiply(left.requires_grad_(), right).sum().backward()
    assert left.grad is not None
    assert by_onednn == []


def test_autocast_is_left_to_blas(by_onednn):
    with torch.autocast("cpu", torch.bfloat16):
        assert products.multiply(*pair()).dtype == torch.bfloat16
    assert by_onednn == []


def test_counters_see_the_products_that_they_know(by_onednn):
    with FlopCounterMode(display=False) as counter:
        products.multiply(*pair())
    assert counter.get_total_flops() == 2 * 5 * 7 * 11
    assert by_onednn == []


def test_small_products_are_left_to_blas_unmeasured(monkeypatch):
    monkeypatch.setattr(products, "probe", lambda: pytest.fail("was measured"))
    products.multiply(*pair())


def test_results_that_have_to_repeat_are_left_to_blas(by_onednn):
    torch.use_deterministic_algorithms(mode=True)
    try:
        products.multiply(*pair())
    finally:
        torch.use_deterministic_algorithms(mode=False)
    assert by_onednn == []


@pytest.mark.parametrize(("onednn_s", "is_quicker"), [(0.8, True), (0.9, False)])
def test_onednn_is_chosen_by_what_was_measured(onednn_s, is_quicker, monkeypatch):
    monkeypatch.setattr(products, "probe", lambda: (1.0, onednn_s))
    products.onednn_is_quicker.cache_clear()
    try:
        assert products.onednn_is_quicker() is is_quicker
    finally:
        products.onednn_is_quicker.cache_clear()


@needs_onednn
def test_a_probe_leaves_threads_and_random_numbers_as_they_are(monkeypatch):
    monkeypatch.setattr(products, "PROBE_SHAPE", (64, 128, 256))
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert min(products.probe()) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
