"""FLOPs of pooling, of interpolation and of samples between positions."""

# ruff: noqa: ISC004  # tables of names are read as words

from functools import partial
from math import prod

from torch import Tensor

from bench.predict.formulas.elementwise import (
    Arguments,
    FormulaTable,
    by_name,
    per_element_of,
    per_output,
)


def _windows(size: int, cells: int) -> int:
    """Positions that adaptive pooling reads along one side, overlapping ones each time."""
    return sum(-(-(cell + 1) * size // cells) - cell * size // cells for cell in range(cells))


def _adaptive_pool(arguments: Arguments, out: Tensor, *, sides: int) -> int:
    """Adaptive pooling over so many sides, or its way back."""
    whole, cells = arguments["self"].shape, arguments.get("grad_output", out).shape
    return prod(whole[:-sides]) * prod(map(_windows, whole[-sides:], cells[-sides:]))


def _pool_work(arguments: Arguments, out: Tensor, *, sides: int) -> int:
    """Pooling over so many sides, or its way back."""
    kernel = arguments["kernel_size"]
    taps = kernel[0] ** sides if len(kernel) == 1 else prod(kernel)
    return int(arguments.get("grad_output", out).numel() * taps)


def _sampled(arguments: Arguments, out: Tensor) -> int:
    """Samples between the positions of a map, by mode: bilinear, nearest, bicubic; places count nothing."""
    return _SAMPLE[out.dim()][arguments.get("interpolation_mode", 0)] * out.numel()


def _sampled_backward(arguments: Arguments, _: Tensor) -> int:
    """As many products as forward and a sum for each; to each axis of the grid a sample of differences goes back."""
    grad = arguments["grad_output"]
    mode = arguments.get("interpolation_mode", 0)
    sample = _SAMPLE[grad.dim()][mode]
    wants_input, wants_grid = arguments.get("output_mask", (True, True))
    place = (grad.dim() - 2) * (sample + 2) if sample else 0
    return grad.numel() * ((sample + 1) * wants_input + place * wants_grid)


_SAMPLE = {4: {0: 7, 1: 0, 2: 31}, 5: {0: 15, 1: 0}}


def _antialiased(arguments: Arguments, out: Tensor, *, reach: float, backward: bool) -> int:
    """Filters along rows, then along columns, whose length follows the scale; a product and a sum each."""
    x, small = (out, arguments["grad_output"]) if backward else (arguments["self"], out)
    (height, width), (rows, columns) = x.shape[-2:], small.shape[-2:]
    maps = prod(x.shape[:-2])
    across, down = _taps(width, columns, reach), _taps(height, rows, reach)
    if backward:
        return maps * 2 * (across * height + down * columns)
    return maps * (height * (2 * across - columns) + columns * (2 * down - rows))


def _taps(size: int, places: int, reach: float) -> int:
    """Taps of all filters along one side (aten/src/ATen/native/cpu/UpSampleKernel.cpp, `_aa`)."""
    scale = size / places
    support = reach * max(scale, 1.0)
    centres = ((place + 0.5) * scale for place in range(places))
    return sum(
        min(int(centre + support + 0.5), size) - max(int(centre - support + 0.5), 0)
        for centre in centres
    )


_SAMPLED: FormulaTable = (
    (
        partial(_adaptive_pool, sides=2),
        "_adaptive_avg_pool2d adaptive_max_pool2d _adaptive_avg_pool2d_backward",
    ),
    (
        partial(_adaptive_pool, sides=3),
        "_adaptive_avg_pool3d adaptive_max_pool3d _adaptive_avg_pool3d_backward",
    ),
    (partial(_pool_work, sides=2), "avg_pool2d max_pool2d_with_indices avg_pool2d_backward"),
    (partial(_pool_work, sides=3), "avg_pool3d max_pool3d_with_indices avg_pool3d_backward"),
    (per_output(3), "upsample_linear1d"),
    (per_output(7), "upsample_bilinear2d"),
    (per_output(15), "upsample_trilinear3d"),
    (per_output(31), "upsample_bicubic2d"),
    # Every value of the gradient is added to the place that it came from, weighted if need be.
    (
        per_element_of("grad_output", 1),
        "max_pool2d_with_indices_backward max_pool3d_with_indices_backward"
        " adaptive_max_pool2d_backward adaptive_max_pool3d_backward upsample_nearest2d_backward"
        " _upsample_nearest_exact2d_backward",
    ),
    (
        per_element_of("grad_output", 1),
        "upsample_nearest1d_backward upsample_nearest3d_backward _upsample_nearest_exact1d_backward"
        " _upsample_nearest_exact3d_backward reflection_pad1d_backward reflection_pad2d_backward"
        " reflection_pad3d_backward replication_pad1d_backward replication_pad2d_backward"
        " replication_pad3d_backward fractional_max_pool2d_backward fractional_max_pool3d_backward"
        " max_pool2d_backward",
    ),
    (per_element_of("grad_output", 8), "upsample_bilinear2d_backward"),
    (_sampled, "grid_sampler_2d grid_sampler_3d _grid_sampler_2d_cpu_fallback cudnn_grid_sampler"),
    (
        _sampled_backward,
        "grid_sampler_2d_backward grid_sampler_3d_backward cudnn_grid_sampler_backward"
        " _grid_sampler_2d_cpu_fallback_backward",
    ),
    (partial(_antialiased, reach=1.0, backward=False), "_upsample_bilinear2d_aa"),
    (partial(_antialiased, reach=2.0, backward=False), "_upsample_bicubic2d_aa"),
    (partial(_antialiased, reach=3.0, backward=False), "_upsample_lanczos2d_aa"),
    (partial(_antialiased, reach=1.0, backward=True), "_upsample_bilinear2d_aa_backward"),
    (partial(_antialiased, reach=2.0, backward=True), "_upsample_bicubic2d_aa_backward"),
    (partial(_antialiased, reach=3.0, backward=True), "_upsample_lanczos2d_aa_backward"),
    (per_element_of("grad_output", 4), "upsample_linear1d_backward"),
    (per_element_of("grad_output", 16), "upsample_trilinear3d_backward"),
    (per_element_of("grad_output", 32), "upsample_bicubic2d_backward"),
    (partial(_adaptive_pool, sides=3), "adaptive_avg_pool3d_backward"),
    (
        partial(_adaptive_pool, sides=2),
        "mkldnn_adaptive_avg_pool2d mkldnn_adaptive_avg_pool2d_backward",
    ),
    (partial(_pool_work, sides=1), "quantized_max_pool1d"),
    (partial(_pool_work, sides=2), "mkldnn_max_pool2d quantized_max_pool2d fractional_max_pool2d"),
    (partial(_pool_work, sides=3), "mkldnn_max_pool3d quantized_max_pool3d fractional_max_pool3d"),
)
COUNTS = by_name(_SAMPLED)
