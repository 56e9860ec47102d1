"""FLOPs of the operators that are no matrix work, from their arguments and first result; those that have none."""

# ruff: noqa: ISC004, SIM905  # tables of names are read as words

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

Arguments = Mapping[str, Any]
Count = Callable[[Arguments, Tensor], int | None]

# Counts, and the names of the operators that have them.
FormulaTable = tuple[tuple[Count, str], ...]

SOFTMAX = 5
STATISTICS = 4  # mean 1; variance 3: difference, square, sum
FACTOR_AND_OFFSET = 2


def per_output(flops: int) -> Count:
    """So many FLOPs for each element of the result."""
    return lambda _, out: flops * out.numel()


def per_element_of(name: str, flops: int) -> Count:
    """So many FLOPs for each element of an argument."""
    return lambda arguments, _: flops * arguments[name].numel()


def _norm_flops(arguments: Arguments, out: Tensor) -> int:
    """Batch norm in each of its forms: those without a flag take statistics by their name alone."""
    takes_statistics = arguments.get("training", True)
    return out.numel() * (FACTOR_AND_OFFSET + (STATISTICS if takes_statistics else 0))


def _layer_norm_flops(arguments: Arguments, out: Tensor) -> int:
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


def by_name(table: FormulaTable) -> dict[str, Count]:
    """The count of each operator of a table."""
    return {name: count for count, names in table for name in names.split()}


_COUNTED: FormulaTable = (
    (
        per_output(1),
        "add sub rsub mul div neg abs sign reciprocal square sqrt rsqrt pow exp exp2 expm1 log"
        " log2 log10 log1p sin cos tan atan atan2 tanh erf erfinv floor ceil round trunc frac"
        " floor_divide remainder fmod maximum minimum fmax fmin relu threshold clamp_min"
        " clamp_max sgn bitwise_and bitwise_or bitwise_xor bitwise_not bitwise_left_shift"
        " bitwise_right_shift logical_and logical_or logical_not logical_xor eq ne lt le gt ge"
        " isnan isinf threshold_backward cumsum cumprod __and__ __or__",
    ),
    (
        per_output(2),
        "hardtanh relu6 leaky_relu leaky_relu_backward _prelu_kernel addcmul addcdiv"
        " native_dropout native_dropout_backward",
    ),
    (
        per_output(3),
        "hardtanh_backward sigmoid_backward tanh_backward elu softplus lerp",
    ),
    (per_output(4), "sigmoid hardsigmoid"),
    (per_output(5), "silu gelu mish hardswish"),
    (per_output(SOFTMAX), "_softmax _safe_softmax _log_softmax"),
    # grad * out, its sum, a difference, a product; the logarithm's: sum, exp, product, difference.
    (per_output(4), "_softmax_backward_data _log_softmax_backward_data"),
    (per_output(9), "silu_backward"),
    (per_output(11), "gelu_backward"),
    (per_element_of("self", 1), "sum mean prod amax amin max min argmax argmin any all nansum"),
    (per_element_of("self", 2), "norm linalg_vector_norm aminmax"),
    (per_element_of("self", 4), "logsumexp"),
    (per_element_of("self", STATISTICS), "var std var_mean std_mean"),
    (per_element_of("source", 1), "index_add"),
    (per_element_of("src", 1), "scatter_add"),
    (per_element_of("values", 1), "index_put _index_put_impl"),
    (per_element_of("target", 2), "nll_loss_forward nll_loss2d_forward"),
    (per_element_of("target", 1), "nll_loss_backward nll_loss2d_backward"),
    (per_element_of("grad_output", 1), "embedding_dense_backward"),
    (
        _norm_flops,
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_functional"
        " _batch_norm_with_update cudnn_batch_norm miopen_batch_norm batch_norm",
    ),
    (per_output(FACTOR_AND_OFFSET), "_native_batch_norm_legit_no_training _batch_norm_no_update"),
    (per_output(STATISTICS + FACTOR_AND_OFFSET), "native_group_norm"),
    (_layer_norm_flops, "native_layer_norm"),
    (
        _norm_backward,
        "native_batch_norm_backward cudnn_batch_norm_backward miopen_batch_norm_backward"
        " batch_norm_backward native_group_norm_backward native_layer_norm_backward",
    ),
    (_clamp, "clamp"),
)
COUNTS = by_name(_COUNTED)
# What moves or names data and computes nothing with it.
VIEWS = frozenset(
    """
    view _unsafe_view _reshape_alias reshape alias detach expand permute transpose t squeeze
    unsqueeze slice select split split_with_sizes unbind as_strided unfold diagonal view_as
    movedim narrow chunk lift_fresh lift unsafe_split unsafe_chunk view_as_real view_as_complex
    sym_size sym_stride sym_numel sym_storage_offset is_same_size _local_scalar_dense numpy_T mT
    flatten item set _conj _neg_view unsafe_split_with_sizes slice_inverse _fw_primal _make_dual
    _lazy_clone _indices _values indices values crow_indices col_indices ccol_indices
    row_indices _nnz _dimI _dimV dense_dim sparse_dim is_coalesced _coalesced is_pinned
    is_set_to _has_same_storage_numel int_repr q_scale q_zero_point qscheme q_per_channel_axis
    q_per_channel_scales q_per_channel_zero_points record_stream _nested_get_values
    _nested_get_offsets _nested_get_lengths _nested_get_min_seqlen _nested_get_max_seqlen
    _nested_get_ragged_idx _nested_get_jagged_dummy _nested_view_from_buffer
    _nested_view_from_jagged _nested_tensor_size _nested_tensor_strides
    _nested_tensor_storage_offsets _nested_compute_contiguous_strides_offsets _assert_async
    _functional_assert_async _assert_tensor_metadata _functional_assert_scalar
    _functional_sym_constrain_range _functional_sym_constrain_range_for_size
    _linalg_check_errors _validate_compressed_sparse_indices _fused_sdp_choice
    _use_cudnn_ctc_loss _use_miopen_ctc_loss _spdiags _sparse_broadcast_to
    """.split()
)
MOVES = frozenset(
    """
    empty empty_like empty_strided new_empty new_empty_strided empty_permuted resize zero zeros
    zeros_like new_zeros ones ones_like new_ones full full_like new_full fill arange linspace
    eye scalar_tensor clone copy _to_copy contiguous cat stack repeat pad constant_pad_nd
    reflection_pad2d replication_pad2d flip roll index index_select gather embedding masked_fill
    masked_select masked_scatter where scatter index_fill index_copy tril triu nonzero sort topk
    pixel_shuffle pixel_unshuffle im2col channel_shuffle upsample_nearest1d upsample_nearest2d
    upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d slice_backward
    select_backward slice_scatter select_scatter diagonal_copy unfold_backward embedding_renorm
    one_hot rand randn rand_like randn_like randint randperm bernoulli uniform normal random
    exponential repeat_interleave as_strided_scatter _chunk_cat _stack _pin_memory
    _resize_output resize_as diag_embed diagonal_scatter diagonal_backward complex nan_to_num
    block_diag rot90 take reflection_pad1d reflection_pad3d replication_pad1d replication_pad3d
    _reshape_copy _upsample_nearest_exact3d max_unpool2d max_unpool3d masked_scatter_backward
    _copy_from _copy_from_and_resize lift_fresh_copy shallow_copy_data _unsafe_index
    _unsafe_masked_index kthvalue median nanmedian mode _unique _unique2 unique_dim
    unique_consecutive unique_dim_consecutive nonzero_static lu_unpack range tril_indices
    triu_indices logspace randint_like normal_functional geometric cauchy log_normal poisson
    binomial multinomial _standard_gamma _sample_dirichlet _cudnn_init_dropout_state
    _fill_mem_eff_dropout_mask _cudnn_rnn_flatten_weight _pack_padded_sequence
    _efficientzerotensor _new_zeros_with_same_feature_meta empty_quantized
    _empty_affine_quantized _empty_per_channel_affine_quantized
    _make_per_tensor_quantized_tensor _make_per_channel_quantized_tensor _foreach_clone
    _foreach_copy _foreach_zero _jagged_to_padded_dense_forward _padded_dense_to_jagged_forward
    to_padded_tensor _nested_from_padded _nested_from_padded_tensor
    _nested_from_padded_and_nested_example _nested_tensor_from_mask
    _nested_tensor_from_tensor_list _nested_select_backward _to_dense _to_sparse _to_sparse_csr
    _to_sparse_csc _to_sparse_bsr _to_sparse_bsc sparse_mask _sparse_mask_projection
    sparse_coo_tensor _sparse_coo_tensor_with_dims _sparse_coo_tensor_with_dims_and_tensors
    sparse_compressed_tensor _sparse_compressed_tensor_with_dims copy_sparse_to_sparse
    sparse_resize sparse_resize_and_clear resize_as_sparse _convert_indices_from_coo_to_csr
    _convert_indices_from_csr_to_coo to_mkldnn _mkldnn_reshape _mkldnn_transpose
    mkldnn_reorder_conv2d_weight mkldnn_reorder_conv3d_weight _to_sparse_semi_structured
    _convert_weight_to_int4pack _convert_weight_to_int4pack_for_cpu _dyn_quant_pack_4bit_weight
    alias_copy as_strided_copy detach_copy expand_copy narrow_copy permute_copy select_copy
    slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy
    unfold_copy unsqueeze_copy view_copy view_as_complex_copy view_as_real_copy _conj_copy
    _neg_view_copy _reshape_alias_copy values_copy indices_copy _values_copy _indices_copy
    crow_indices_copy col_indices_copy ccol_indices_copy row_indices_copy _fw_primal_copy
    _make_dual_copy _sparse_broadcast_to_copy _nested_get_values_copy
    _nested_view_from_buffer_copy _nested_view_from_jagged_copy
    """.split()
)
# What other libraries' operators do that names a call or asks for a tensor's properties.
NAMES = frozenset(
    ("profiler._record_function_enter_new", "profiler._record_function_exit", "prim.device")
)
