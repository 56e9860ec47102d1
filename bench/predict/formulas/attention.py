"""Attention: two products of all pairs of a query and a key, whatever kernel carries them out."""

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import pairwise
from math import prod

from bench.predict.formulas.call import Call, Formula, Product, Work, matrix_work, numbers_in
from bench.predict.formulas.elementwise import SOFTMAX

SOFTMAX_AND_SCALE = SOFTMAX + 1
SOFTMAX_BACKWARD = 4  # gradient * weight, its sum, a difference, a product
# Back: exp(scaled similarity - logsumexp) is 3 an element, the softmax's backward 3, the scale 1.
SOFTMAX_AND_SCALE_BACKWARD = 7

# Kernels of attention, and the axis of its heads.
ATTENTIONS: Mapping[str, int] = {
    "_scaled_dot_product_flash_attention": 1,
    "_scaled_dot_product_efficient_attention": 1,
    "_scaled_dot_product_cudnn_attention": 1,
    "_scaled_dot_product_fused_attention_overrideable": 1,
    "_scaled_dot_product_flash_attention_for_cpu": 1,
    "_scaled_dot_product_attention_math_for_mps": 1,
    "_flash_attention_forward": 2,
    "_efficient_attention_forward": 2,
    "_cudnn_attention_forward": 1,
}
ATTENTIONS_BACKWARD = {
    f"{name.removesuffix('_forward')}_backward": axis for name, axis in ATTENTIONS.items()
}
# Where sequences that lie one behind the other begin, by kernel: of the queries and of the keys.
STARTS = (
    ("cum_seq_q", "cum_seq_k"),
    ("cu_seqlens_q", "cu_seqlens_k"),
    ("cu_seq_q", "cu_seq_k"),
)
# Further arguments that say how much of the keys is used, or where it lies.
_ELSEWHERE = ("seqused_k", "seqlen_k", "block_table")
VALUED = (*(name for pair in STARTS for name in pair), *_ELSEWHERE)


def _attention_work(call: Call, *, head_axis: int = 1, backward: bool = False) -> Work | None:
    """Two products, scale and softmax of the map; to go back the map again, and a product for each operand of both."""
    query, key, value = (
        call.shape(name if name in call.arguments else f"{name}_")
        for name in ("query", "key", "value")
    )
    if any(map(call.has, VALUED)):
        # Sequences lie one behind the other, their tokens ahead of the heads.
        maps, lengths = query[-2], _lengths(call)
    else:
        maps = query[0] * query[head_axis]
        lengths = [(query[3 - head_axis], key[3 - head_axis])]
    if lengths is None:
        return None
    works = (
        _maps(maps, *pair, width=query[-1], values=value[-1], backward=backward) for pair in lengths
    )
    return sum(works, Work())


def _lengths(call: Call) -> list[tuple[int, int]] | None:
    """Queries and keys of each sequence; None if values say so that are not at hand."""
    given = [[call.arguments[name] for name in pair if call.has(name)] for pair in STARTS]
    starts = next(filter(None, given), None)
    if starts is None or any(map(call.has, _ELSEWHERE)):
        return None
    queries, keys = numbers_in(starts[0]), numbers_in(starts[-1])
    if queries is None or keys is None:
        return None
    sides = ([end - start for start, end in pairwise(ends)] for ends in (queries, keys))
    return list(zip(*sides, strict=True))


def _maps(
    maps: int, queries: int, keys: int, *, width: int, values: int, backward: bool = False
) -> Work:
    softmax = SOFTMAX_AND_SCALE_BACKWARD if backward else SOFTMAX_AND_SCALE
    products = (
        _backward(maps, queries, keys, width=width, values=values)
        if backward
        else (
            (maps, queries, values, keys),
            (maps, queries, keys, width),
        )
    )
    return matrix_work(products, softmax * maps * queries * keys)


def _backward(maps: int, queries: int, keys: int, *, width: int, values: int) -> Iterator[Product]:
    """The map again, then the gradients of values, map, queries and keys."""
    yield maps, queries, keys, width
    yield maps, keys, values, queries
    yield maps, queries, keys, values
    yield maps, queries, width, keys
    yield maps, keys, width, queries


def _multi_head(call: Call) -> Work:
    """The fused layer of nn.MultiheadAttention in inference: three embeddings, attention, an embedding."""
    query, key = (call.shape(name) for name in ("query", "key"))
    images, queries, width = query
    keys, heads = key[1], call.arguments["num_head"]
    embeddings = (
        (1, images * queries, width, width),
        (2, images * keys, width, width),
        (1, images * queries, width, width),
    )
    biases = (2 * queries + 2 * keys) * images * width
    inner = _maps(images * heads, queries, keys, width=width // heads, values=width // heads)
    return matrix_work(embeddings, biases) + inner


def _encoder_layer(call: Call) -> Work:
    """The fused layer of nn.TransformerEncoderLayer in inference: attention, two linear layers, norms and sums."""
    images, tokens, width = call.shape("src")
    heads, inner = call.arguments["num_heads"], call.shape("ffn_weight_1")[0]
    rows = images * tokens
    linear = ((4, rows, width, width), (1, rows, inner, width), (1, rows, width, inner))
    # Biases of six linear layers; two norms of 8 an element, two sums; the activation.
    extra = rows * (5 * width + inner) + rows * width * 2 * (8 + 1)
    extra += rows * inner * (5 if call.arguments["use_gelu"] else 1)
    attention = _maps(images * heads, tokens, tokens, width=width // heads, values=width // heads)
    return matrix_work(linear, extra) + attention


def _of_pairs(call: Call, *, backward: bool = False) -> Work:
    """Attention to the pairs of a query and a key that a mask of blocks leaves."""
    pairs, width, values = call.arguments["pairs"], call.shape("query")[-1], call.shape("value")[-1]
    if backward:
        return Work(pairs * (3 * width + 2 * values), SOFTMAX_AND_SCALE_BACKWARD * pairs)
    return Work(pairs * (width + values), SOFTMAX_AND_SCALE * pairs)


def _bias_and_scale(call: Call) -> Work:
    """Biases of queries, keys and values, and the scale of the queries."""
    elements = call.arguments["qkv"].numel()
    return Work(extra_flops=elements + elements // 3)


def _projected_tiles(call: Call) -> Work:
    """Pass 1 of `ann.kernels`: a projection with what is done to it, and of a pyramid 1 for each element read."""
    images, channels, *sides = call.shape("x")
    width, pixels = call.shape("weight")[0], prod(sides)
    is_projected = call.has("projected") or call.has("out_sums")
    outputs = images * width * pixels if is_projected else 0
    done = call.has("bias") + bool(call.arguments["rectifies"]) + call.has("out_sums")
    pooled = call.arguments["x"].numel() if call.has("sums") else 0
    products = ((images, pixels, width, channels),) if is_projected else ()
    return matrix_work(products, done * outputs + pooled)


def _collected_sums(call: Call) -> Work:
    """Sums of tiles into means of cells: those that a cell has, and none of the slots that are empty."""
    images, _, channels = call.shape("sums")
    return Work(extra_flops=images * channels * call.shape("places")[0])


def _attended_tiles(call: Call) -> Work:
    """Pass 2 of `ann.kernels`: both products with the anchors that count, and what is done to the output."""
    images, depth, pixels = call.shape("query")
    anchors, width = call.arguments["anchors"], call.shape("value")[1]
    products = ((images, pixels, width, anchors), (images, pixels, anchors, depth))
    is_added_to = call.arguments["output"] in ("residual", "bottleneck")
    done = call.has("bias") + is_added_to + bool(call.arguments["rectifies"])
    softmax = SOFTMAX_AND_SCALE * images * pixels * anchors
    return matrix_work(products, softmax + done * images * pixels * width)


def _spread_tiles(call: Call) -> Work:
    """Pass 1 back: the product with the weight, the means of the cells that a position lies in, their sum."""
    images, channels, pixels = call.shape("result")
    terms = call.has("means") + (call.has("means") and call.has("projected"))
    products: list[Product] = []
    if call.has("projected"):
        products.append((images, pixels, channels, call.shape("projected")[1]))
    return matrix_work(products, terms * images * channels * pixels)


def _scored_tiles(call: Call) -> Work:
    """Pass 2 back to the scores: the weights again, their gradients, and back through softmax and scale."""
    images, depth, pixels = call.shape("query")
    anchors = call.arguments["anchors"]
    products = ((images, pixels, anchors, depth), (images, pixels, anchors, call.shape("value")[1]))
    each = SOFTMAX_AND_SCALE + SOFTMAX_BACKWARD + 1
    return matrix_work(products, each * images * pixels * anchors)


# Of ours (`ann.kernels`), which fuse what stands around attention to a few anchors.
OURS: Mapping[str, Formula] = {
    "ann.project_tiles": _projected_tiles,
    "ann.collect_sums": _collected_sums,
    "ann.attend_tiles": _attended_tiles,
    "ann.spread_tiles": _spread_tiles,
    "ann.score_tiles": _scored_tiles,
}
FORMULAS: Mapping[str, Formula] = {
    **OURS,
    **{name: partial(_attention_work, head_axis=axis) for name, axis in ATTENTIONS.items()},
    **{
        name: partial(_attention_work, head_axis=axis, backward=True)
        for name, axis in ATTENTIONS_BACKWARD.items()
    },
    "_native_multi_head_attention": _multi_head,
    "_triton_multi_head_attention": _multi_head,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "_transform_bias_rescale_qkv": _bias_and_scale,
    "flex_attention": _of_pairs,
    "flex_attention_backward": partial(_of_pairs, backward=True),
    "torch_attn._varlen_attn": _attention_work,
    "torch_attn._varlen_attn_backward": partial(_attention_work, backward=True),
}
