"""FLOPs of the operators that are no matrix work, from their arguments and first result."""

# ruff: noqa: ISC004, SIM905  # tables of names are read as words

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any

from torch import Tensor

Arguments = Mapping[str, Any]
Count = Callable[[Arguments, Tensor], int]

SOFTMAX = 5
STATISTICS = 4  # mean 1; variance 3: difference, square, sum
FACTOR_AND_OFFSET = 2


def _per_output(flops: int) -> Count:
    return lambda _, out: flops * out.numel()


def _per_element_of(name: str, flops: int) -> Count:
    return lambda arguments, _: flops * arguments[name].numel()


def _norm(arguments: Arguments, out: Tensor) -> int:
    """Batch norm in each of its forms: those without a flag take statistics by their name alone."""
    takes_statistics = arguments.get("training", True)
    return out.numel() * (FACTOR_AND_OFFSET + (STATISTICS if takes_statistics else 0))


def _layer_norm(arguments: Arguments, out: Tensor) -> int:
    # Unlike a batch norm's, its own factor can't be folded into that of the statistics.
    factors = sum(arguments.get(name) is not None for name in ("weight", "bias"))
    return out.numel() * (STATISTICS + FACTOR_AND_OFFSET + factors)


def _norm_backward(arguments: Arguments, _: Tensor) -> int:
    """Normalised input 2, sums for offset 1 and factor 2, the input's gradient 4 (1 if statistics are known)."""
    grad = next(arguments[name] for name in ("grad_out", "grad_output") if name in arguments)
    train = arguments.get("train", arguments.get("update", True))
    return grad.numel() * (9 if train else 6)


def _clamp(arguments: Arguments, out: Tensor) -> int:
    return out.numel() * sum(arguments.get(bound) is not None for bound in ("min", "max"))


def _windows(size: int, cells: int) -> int:
    """Positions that adaptive pooling reads along one side, overlapping ones each time."""
    return sum(-(-(cell + 1) * size // cells) - cell * size // cells for cell in range(cells))


def _adaptive_pool(arguments: Arguments, out: Tensor, *, sides: int) -> int:
    """Adaptive pooling over so many sides, or its way back."""
    whole, cells = arguments["self"].shape, arguments.get("grad_output", out).shape
    return prod(whole[:-sides]) * prod(map(_windows, whole[-sides:], cells[-sides:]))


def _pool(arguments: Arguments, out: Tensor, *, sides: int) -> int:
    """Pooling over so many sides, or its way back."""
    kernel = arguments["kernel_size"]
    taps = kernel[0] ** sides if len(kernel) == 1 else prod(kernel)
    return int(arguments.get("grad_output", out).numel() * taps)


_COUNTED: tuple[tuple[Count, str], ...] = (
    (
        _per_output(1),
        "add sub rsub mul div neg abs sign reciprocal square sqrt rsqrt pow exp exp2 expm1 log"
        " log2 log10 log1p sin cos tan atan atan2 tanh erf erfinv floor ceil round trunc frac"
        " floor_divide remainder fmod maximum minimum fmax fmin relu threshold clamp_min"
        " clamp_max sgn bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift"
        " bitwise_right_shift logical_and logical_or logical_not logical_xor eq ne lt le gt ge"
        " isnan isinf threshold_backward cumsum cumprod __and__ __or__",
    ),
    (
        _per_output(2),
        "hardtanh relu6 leaky_relu leaky_relu_backward _prelu_kernel addcmul addcdiv"
        " native_dropout native_dropout_backward",
    ),
    (
        _per_output(3),
        "hardtanh_backward sigmoid_backward tanh_backward elu softplus lerp upsample_linear1d",
    ),
    (_per_output(4), "sigmoid hardsigmoid"),
    (_per_output(5), "silu gelu mish hardswish"),
    (_per_output(SOFTMAX), "_softmax _safe_softmax _log_softmax"),
    # grad * out, its sum, a difference, a product; the logarithm's: sum, exp, product, difference.
    (_per_output(4), "_softmax_backward_data _log_softmax_backward_data"),
    (_per_output(7), "upsample_bilinear2d"),
    (_per_output(9), "silu_backward"),
    (_per_output(11), "gelu_backward"),
    (_per_output(15), "upsample_trilinear3d"),
    (_per_output(31), "upsample_bicubic2d"),
    (_per_element_of("self", 1), "sum mean prod amax amin max min argmax argmin any all nansum"),
    (_per_element_of("self", 2), "norm linalg_vector_norm aminmax"),
    (_per_element_of("self", 4), "logsumexp"),
    (_per_element_of("self", STATISTICS), "var std var_mean std_mean"),
    (_per_element_of("source", 1), "index_add"),
    (_per_element_of("src", 1), "scatter_add"),
    (_per_element_of("values", 1), "index_put _index_put_impl"),
    (_per_element_of("target", 2), "nll_loss_forward nll_loss2d_forward"),
    (_per_element_of("target", 1), "nll_loss_backward nll_loss2d_backward"),
    # Every value of the gradient is added to the place that it came from, weighted if need be.
    (
        _per_element_of("grad_output", 1),
        "embedding_dense_backward max_pool2d_with_indices_backward max_pool3d_with_indices_backward"
        " adaptive_max_pool2d_backward adaptive_max_pool3d_backward upsample_nearest2d_backward"
        " _upsample_nearest_exact2d_backward",
    ),
    (_per_element_of("grad_output", 8), "upsample_bilinear2d_backward"),
    (
        _norm,
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_functional"
        " _batch_norm_with_update cudnn_batch_norm miopen_batch_norm batch_norm",
    ),
    (_per_output(FACTOR_AND_OFFSET), "_native_batch_norm_legit_no_training _batch_norm_no_update"),
    (_per_output(STATISTICS + FACTOR_AND_OFFSET), "native_group_norm"),
    (_layer_norm, "native_layer_norm"),
    (
        _norm_backward,
        "native_batch_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward"
        " batch_norm_backward native_group_norm_backward native_layer_norm_backward",
    ),
    (_clamp, "clamp"),
    (
        partial(_adaptive_pool, sides=2),
        "_adaptive_avg_pool2d adaptive_max_pool2d _adaptive_avg_pool2d_backward",
    ),
    (
        partial(_adaptive_pool, sides=3),
        "_adaptive_avg_pool3d adaptive_max_pool3d _adaptive_avg_pool3d_backward",
    ),
    (partial(_pool, sides=2), "avg_pool2d max_pool2d_with_indices avg_pool2d_backward"),
    (partial(_pool, sides=3), "avg_pool3d max_pool3d_with_indices avg_pool3d_backward"),
)
COUNTS: dict[str, Count] = {name: count for count, names in _COUNTED for name in names.split()}
# What moves or names data and computes nothing with it.
VIEWS = frozenset(
    """
    view _unsafe_view _reshape_alias reshape alias detach expand permute transpose t squeeze
    unsqueeze slice select split split_with_sizes unbind as_strided unfold diagonal view_as
    movedim narrow chunk lift_fresh lift unsafe_split unsafe_chunk view_as_real
    view_as_complex sym_size sym_stride sym_numel sym_storage_offset is_same_size
    _local_scalar_dense numpy_T mT flatten item set
    """.split()
)
MOVES = frozenset(
    """
    empty empty_like empty_strided new_empty new_empty_strided empty_permuted resize zero
    zeros zeros_like new_zeros ones ones_like new_ones full full_like new_full fill arange
    linspace eye scalar_tensor clone copy _to_copy contiguous cat stack repeat pad
    constant_pad_nd reflection_pad2d replication_pad2d flip roll index index_select gather
    embedding masked_fill masked_select masked_scatter where scatter index_fill index_copy
    tril triu nonzero sort topk pixel_shuffle pixel_unshuffle im2col channel_shuffle
    upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d
    _upsample_nearest_exact2d slice_backward select_backward slice_scatter select_scatter
    diagonal_copy unfold_backward embedding_renorm one_hot rand randn rand_like randn_like
    randint randperm bernoulli uniform normal random exponential
    repeat_interleave as_strided_scatter
    """.split()
)
