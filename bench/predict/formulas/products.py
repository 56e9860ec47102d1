"""Products of matrices, in all their forms: MACs, and the FLOPs that come with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod

from bench.predict.formulas.call import Call, Formula, Work, is_sparse, matrix_work, stored

# The operand whose last axis is summed over; all but `self` come with something that is added.
PRODUCTS = {
    **dict.fromkeys(("mm", "bmm", "mv", "dot", "vdot"), "self"),
    **dict.fromkeys(("addmm", "_addmm_activation"), "mat1"),
    "addmv": "mat",
    "baddbmm": "batch1",
}


def _matrix_product(call: Call, *, left: str) -> Work | None:
    """Matrix product: one MAC for each output and each place of the left operand's last axis."""
    outputs = call.out.numel()
    # Of `beta * input + alpha * product` the sum counts, and factors other than 1.
    alpha, beta = (call.arguments.get(name, 1) for name in ("alpha", "beta"))
    scalings = (beta != 0) + sum(factor not in (0, 1) for factor in (alpha, beta))
    extra = 0 if left == "self" else outputs * scalings
    if any(map(is_sparse, call.arguments.values())):
        work = _sparse_product(call, left=left)
        return work and replace(work, extra_flops=extra)
    if "sparse" in call.name:
        return None  # what is held is not known
    return Work(outputs * call.shape(left)[-1], extra)


# The right operand, by the left one.
_RIGHT = {"mat1": "mat2", "mat": "vec", "batch1": "batch2"}


def _right(call: Call, left: str) -> str:
    if left != "self":
        return _RIGHT[left]
    return next(name for name in ("mat2", "vec", "tensor", "other") if name in call.arguments)


def _sparse_product(call: Call, *, left: str) -> Work | None:
    """Of a sparse operand each element that it holds meets a row of the dense one."""
    first, second = call.arguments[left], call.arguments[_right(call, left)]
    if is_sparse(first) and not is_sparse(second):
        columns = second.shape[-1] if second.dim() > 1 else 1
        return matrix_work([(1, 1, columns, stored(first))])
    if is_sparse(second) and not is_sparse(first):
        return matrix_work([(1, first.shape[-2], 1, stored(second))])
    return None  # of two sparse ones it depends on where their elements are


def _summed_batches(call: Call) -> Work | None:
    work = _matrix_product(call, left="batch1")
    return work and replace(work, macs=call.shape("batch1")[0] * work.macs)


def _sampled_product(call: Call) -> Work | None:
    """A product of which only those places are computed that a sparse matrix holds."""
    if not is_sparse(call.arguments["self"]):
        return None
    places = stored(call.arguments["self"])
    return matrix_work([(1, 1, places, call.shape("mat1")[-1])], places)


def _scaled_product(call: Call) -> Work:
    """A product in eight or fewer bits; scales are factors of an output, biases are added."""
    (rows, depth), columns = call.shape("self"), call.shape("mat2")[-1]
    bias = call.has("bias") * rows * columns
    return matrix_work([(1, rows, columns, depth)], bias)


def _packed_product(call: Call, *, left: str = "self", halved: bool = False) -> Work:
    """A product with packed weights: the output's columns, and the depth of the left operand."""
    depth = call.shape(left)[-1]
    columns = call.out.shape[-1]
    rows = call.out.numel() // max(1, columns)
    bias = call.has("bias") * call.out.numel()
    # Of 2:4 sparse weights half are there.
    return matrix_work([(1, rows, columns, depth // 2 if halved else depth)], bias)


def _semi_structured(call: Call) -> Work:
    """A product whose left operand holds two of four elements, and so has half its columns."""
    rows, depth = call.shape("mat1")
    columns = call.shape("mat2")[-1]
    added = rows * columns if "input" in call.arguments else 0
    return matrix_work([(1, rows, columns, depth)], added)


def _grouped_product(call: Call) -> Work:
    """Products of groups of rows, columns or depth, all of which belong to some group."""
    left, right = call.shape("self"), call.shape("mat2")
    batch = left[0] if len(left) == len(right) == 3 else 1
    bias = call.has("bias") * call.out.numel()
    return matrix_work([(batch, left[-2], right[-1], left[-1])], bias)


def _trilinear(call: Call) -> Work:
    """Sums of products of three tensors: of the first two over the axes that the third lacks, then with the third.

    A step over whose products no axis is summed is no matrix work. Along one axis the steps are taken
    place by place, and what they give is added up (aten/src/ATen/native/Linear.cpp, `_trilinear`).
    """
    lacking = [set(call.arguments[f"expand{number}"]) for number in (1, 2, 3)]
    sizes = _expanded_sizes(call, lacking)
    place_by_place = call.arguments["unroll_dim"]
    summed = set(call.arguments["sumdim"]) - {place_by_place}
    first, second = summed & lacking[2], summed - lacking[2]
    both = prod(size for axis, size in enumerate(sizes) if axis not in lacking[0] & lacking[1])
    every = prod(size for axis, size in enumerate(sizes) if axis not in first)
    added = prod(size for axis, size in enumerate(sizes) if axis not in summed)
    steps = ((both, bool(first)), (every, bool(second)))
    plain = sum(size for size, is_sum in steps if not is_sum)
    products = [(1, 1, 1, size) for size, is_sum in steps if is_sum]
    return matrix_work(products, plain + added)


def _expanded_sizes(call: Call, lacking: Sequence[set[int]]) -> list[int]:
    """Sizes of the axes of three tensors, each of which lacks some."""
    shapes = [list(call.shape(f"i{number}")) for number in (1, 2, 3)]
    for shape, axes in zip(shapes, lacking, strict=True):
        for axis in sorted(axes):
            shape.insert(axis, 1)
    return [max(sizes) for sizes in zip(*shapes, strict=True)]


def _euclidean_distance(call: Call) -> Work:
    """All pairs by one product; its two columns of ones add the squared lengths."""
    (*_, rows, depth), columns = call.shape("x1"), call.shape("x2")[-2]
    batch = call.out.numel() // max(1, rows * columns)
    # Squares and their sums, the factor -2; the lengths, the bound at zero, the root.
    lengths = sum(2 * call.arguments[name].numel() for name in ("x1", "x2"))
    extra = lengths + call.arguments["x1"].numel() + 4 * call.out.numel()
    return matrix_work([(batch, rows, columns, depth)], extra)


def _distance_work(call: Call, *, left: str = "x1", backward: bool = False) -> Work:
    """Distances of pairs one by one: difference, power and sum of each coordinate, and a root."""
    pairs = call.arguments[{"x1": "cdist", "self": "pdist"}[left]] if backward else call.out
    power = call.arguments["p"]
    plain = power in (0, 1, 2, float("inf"))
    if backward:
        # Difference, sign or quotient, product, sum; else a power and two factors more.
        return Work(extra_flops=pairs.numel() * call.shape(left)[-1] * (4 if plain else 7))
    root = power not in (0, 1, float("inf"))
    return Work(extra_flops=pairs.numel() * (call.shape(left)[-1] * (3 if plain else 4) + root))


def _affine_grid(call: Call) -> Work:
    """Each place of the output times the matrix of its image."""
    images, *sides = (call.out.shape[0], *call.out.shape[1:-1])
    axes = call.out.shape[-1]
    return matrix_work([(images, prod(sides), axes, axes + 1)])


_packed: Callable[..., Formula] = partial(partial, _packed_product)

FORMULAS: Mapping[str, Formula] = {
    **{name: partial(_matrix_product, left=left) for name, left in PRODUCTS.items()},
    "_sparse_addmm": partial(_matrix_product, left="mat1"),
    "hspmm": partial(_sparse_product, left="mat1"),
    "_sparse_mm_reduce_impl": partial(_sparse_product, left="self"),
    "addbmm": _summed_batches,
    "sparse_sampled_addmm": _sampled_product,
    **dict.fromkeys(("_int_mm", "_scaled_mm", "_scaled_mm_v2"), _scaled_product),
    **dict.fromkeys(("_weight_int8pack_mm", "_weight_int4pack_mm"), _packed()),
    "_weight_int4pack_mm_for_cpu": _packed(),
    "_weight_int4pack_mm_with_scales_and_zeros": _packed(),
    "_dyn_quant_matmul_4bit": _packed(left="inp"),
    "_mixed_dtypes_linear": _packed(left="input"),
    "mkldnn_linear": _packed(),
    "_sparse_semi_structured_linear": _packed(left="input", halved=True),
    "_sparse_semi_structured_mm": _semi_structured,
    "_sparse_semi_structured_addmm": _semi_structured,
    **dict.fromkeys(
        ("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2"), _grouped_product
    ),
    "_trilinear": _trilinear,
    "_euclidean_dist": _euclidean_distance,
    "_cdist_forward": _distance_work,
    "_cdist_backward": partial(_distance_work, backward=True),
    "_pdist_forward": partial(_distance_work, left="self"),
    "_pdist_backward": partial(_distance_work, left="self", backward=True),
    **dict.fromkeys(("affine_grid_generator", "cudnn_affine_grid_generator"), _affine_grid),
    **{
        f"quantized.linear{kind}": _packed(left="X")
        for kind in ("", "_relu", "_dynamic", "_relu_dynamic", "_dynamic_fp16")
    },
}
