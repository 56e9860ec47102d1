"""FLOPs of further operators that are no matrix work: special functions, losses, look-ups, quantisation."""

# ruff: noqa: ISC004  # tables of names are read as words

from functools import partial
from typing import Any

from torch import Tensor

from bench.predict.formulas.call import numbers_in, stored
from bench.predict.formulas.elementwise import (
    SOFTMAX,
    STATISTICS,
    Arguments,
    Count,
    FormulaTable,
    by_name,
    per_element_of,
    per_output,
)


def _per_stored(flops: int) -> Count:
    return lambda arguments, _: flops * stored(arguments["self"])


def _loss(flops: int) -> Count:
    """So many FLOPs for each element, and one for its sum where a sum or mean is asked for."""
    return lambda arguments, _: (
        arguments["self"].numel() * (flops + bool(arguments.get("reduction", 0)))
    )


def _looked_up(arguments: Arguments, _: Tensor) -> int:
    """Rows of a table that are summed up, with a factor each where there are weights."""
    table = arguments.get("weight", arguments.get("grad"))
    weighted = arguments.get("per_sample_weights") is not None
    return int(arguments["indices"].numel() * table.shape[1] * (1 + weighted))


def _searched(arguments: Arguments, out: Tensor) -> int:
    """Halvings of a sorted row, a comparison each, for every value."""
    row = arguments.get("boundaries", arguments.get("sorted_sequence"))
    return out.numel() * int(row.shape[-1]).bit_length()


def _rms_norm(arguments: Arguments, out: Tensor) -> int:
    """Square, sum and factor, and the factor of a channel."""
    return out.numel() * (3 + (arguments.get("weight") is not None))


def _alignments(arguments: Arguments, _: Tensor, *, each: int, letter: int = 0) -> int | None:
    """Connectionist temporal classification: every step by every place of a target with blanks between."""
    steps, targets = (_numbers(arguments[name]) for name in ("input_lengths", "target_lengths"))
    if steps is None or targets is None:
        return None
    places = sum(step * (2 * target + 1) for step, target in zip(steps, targets, strict=True))
    return each * places + letter * int(arguments["log_probs"].numel())


def _numbers(value: Any) -> list[int] | None:  # noqa: ANN401
    return numbers_in(value) if isinstance(value, Tensor) else list(value)


_SELDOM: FormulaTable = (
    # A function of one or two elements is one, however it is computed.
    (
        per_output(1),
        "acos asin acosh asinh atanh cosh sinh erfc angle deg2rad rad2deg copysign digamma lgamma"
        " polygamma mvlgamma igamma igammac i0 frexp nextafter heaviside gcd lcm signbit isneginf"
        " isposinf __lshift__ __rshift__ __ilshift__ __irshift__ isin cummax cummin _cummax_helper"
        " _cummin_helper _conj_physical conj_physical fft_fftfreq fft_rfftfreq"
        " special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1"
        " special_erfcx special_i0e special_i1 special_i1e special_log_ndtr special_ndtri"
        " special_modified_bessel_i0 special_modified_bessel_i1 special_modified_bessel_k0"
        " special_modified_bessel_k1 special_scaled_modified_bessel_k0 special_zeta"
        " special_scaled_modified_bessel_k1 special_spherical_bessel_j0"
        " special_chebyshev_polynomial_t special_chebyshev_polynomial_u"
        " special_chebyshev_polynomial_v special_chebyshev_polynomial_w"
        " special_hermite_polynomial_h special_hermite_polynomial_he"
        " special_laguerre_polynomial_l special_legendre_polynomial_p"
        " special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u"
        " special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w",
    ),
    (
        per_output(2),
        "_add_relu addr xlogy special_xlog1py ldexp hardshrink rrelu_with_noise dequantize"
        " rrelu_with_noise_functional _fused_dropout _masked_scale batch_norm_elemt"
        " hardshrink_backward softshrink_backward rrelu_with_noise_backward",
    ),
    # Products, and a difference or a quotient.
    (
        per_output(3),
        "logit logit_backward sinc special_entr softshrink linalg_cross elu_backward"
        " hann_window hamming_window bartlett_window mse_loss_backward",
    ),
    (
        per_output(4),
        "celu hypot polar softplus_backward hardsigmoid_backward smooth_l1_loss_backward"
        " huber_loss_backward",
    ),
    # Sigmoid and a product; division, rounding, offset and two bounds; parts of a sigmoid's slope.
    (
        per_output(5),
        "glu quantize_per_tensor quantize_per_channel log_sigmoid_backward hardswish_backward"
        " binary_cross_entropy_backward batch_norm_backward_elemt blackman_window _masked_softmax",
    ),
    # Maximum, difference, its size, exp, log1p, sum.
    (
        per_output(6),
        "logaddexp logaddexp2 log_sigmoid_forward _logcumsumexp logcumsumexp soft_margin_loss_backward",
    ),
    (per_output(4), "_masked_softmax_backward"),
    (per_output(7), "quantize_per_tensor_dynamic"),
    # Quantised and back, and whether it was within the bounds.
    (
        per_output(9),
        "fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask"
        " _fake_quantize_per_tensor_affine_cachemask_tensor_qparams"
        " _fake_quantize_learnable_per_tensor_affine _fake_quantize_learnable_per_channel_affine",
    ),
    (lambda arguments, _: min(arguments["self"].shape), "trace"),
    (per_element_of("self", 1), "count_nonzero equal bincount _is_all_true _is_any_true col2im"),
    (per_element_of("self", 2), "_aminmax linalg__powsum native_norm"),
    (per_element_of("self", 3), "dist renorm histc"),
    (per_element_of("self", 6), "allclose"),
    (_per_stored(1), "_coalesce _sparse_sum _sparse_csr_sum _sparse_csr_prod"),
    (_per_stored(SOFTMAX), "_sparse_softmax _sparse_log_softmax"),
    (per_element_of("source", 1), "index_reduce put"),
    (per_element_of("src", 1), "scatter_reduce"),
    (per_element_of("data", 1), "segment_reduce _segment_reduce_backward"),
    (per_element_of("values", 1), "_unsafe_index_put _unsafe_masked_index_put_accumulate"),
    (_loss(2), "mse_loss"),
    (_loss(4), "soft_margin_loss multi_margin_loss"),
    # Difference, its size, a comparison, and half a square.
    (_loss(5), "smooth_l1_loss huber_loss"),
    (_loss(7), "binary_cross_entropy"),
    (_loss(9), "binary_cross_entropy_with_logits"),
    (per_element_of("self", 3), "multi_margin_loss_backward"),
    (partial(_alignments, each=13), "_ctc_loss"),
    (partial(_alignments, each=21, letter=6), "_ctc_loss_backward"),
    # A comparison, and two products.
    (per_element_of("grad_output", 3), "_prelu_kernel_backward"),
    (per_element_of("grad_output", 9), "glu_backward"),
    (_looked_up, "_embedding_bag _embedding_bag_forward_only _embedding_bag_dense_backward"),
    (_looked_up, "_embedding_bag_backward"),
    (
        lambda arguments, out: 2 * out.numel() * arguments["weight"].shape[1],
        "_embedding_bag_per_sample_weights_backward",
    ),
    (_searched, "searchsorted bucketize"),
    # Norm of each row, and its factor; to go back a dot product more, and its share taken away.
    (per_element_of("v", 3), "_weight_norm_interface"),
    (per_element_of("saved_v", 5), "_weight_norm_interface_backward"),
    (_rms_norm, "_fused_rms_norm"),
    (per_element_of("grad_out", 8), "_fused_rms_norm_backward"),
    (per_element_of("input", STATISTICS), "batch_norm_stats batch_norm_update_stats"),
    (
        per_element_of("mean", 6),
        "batch_norm_gather_stats batch_norm_gather_stats_with_counts",
    ),
    (per_element_of("grad_out", 4), "batch_norm_backward_reduce"),
)
COUNTS = by_name(_SELDOM)
