import torch
from torch.testing import assert_close

from ann.attention import likeness, whiten


def test_a_single_anchor_gets_all_the_weight():
    weight = likeness(torch.randn(2, 7, 3), torch.randn(2, 3, 1))
    assert_close(weight, torch.ones(2, 7, 1))


def test_mixing_by_likeness_equals_fused_attention():
    query, key, value = (torch.randn(2, n, 8, dtype=torch.float64) for n in (7, 5, 5))
    fused = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert_close(likeness(query, key.mT, scale=8**-0.5) @ value, fused)


def test_without_likeness_all_anchors_weigh_the_same():
    weight = likeness(torch.zeros(1, 3, 2), torch.randn(1, 2, 5))
    assert_close(weight, torch.full((1, 3, 5), 0.2))


def test_whitened_tokens_have_no_mean():
    means = whiten(torch.randn(2, 3, 11, dtype=torch.float64)).mean(dim=-1)
    assert_close(means, torch.zeros_like(means))


def test_whitening_the_key_changes_nothing_under_softmax():
    query, key = torch.randn(1, 6, 3), torch.randn(1, 3, 9)
    assert_close(likeness(query, whiten(key)), likeness(query, key))
