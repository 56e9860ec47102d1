"""Convolutions, those of samples between positions too, and the means of such samples."""

from collections.abc import Mapping
from functools import partial
from math import prod

from torch import Tensor

from bench.predict.formulas.call import Call, Formula, Product, Work, matrix_work

CONVOLUTIONS = (
    *("convolution", "_convolution", "convolution_overrideable"),
    *("cudnn_convolution", "mkldnn_convolution"),
)
CONVOLUTIONS_BACKWARD = ("convolution_backward", "convolution_backward_overrideable")
# Those of one backend or kind of layer, which blocks call by name if at all; and transposed ones.
NAMED_CONVOLUTIONS = (
    *("cudnn_convolution_relu", "cudnn_convolution_add_relu", "_nnpack_spatial_convolution"),
    *("miopen_convolution", "miopen_convolution_relu", "miopen_convolution_add_relu"),
    *("miopen_depthwise_convolution", "_mps_convolution", "_conv_depthwise2d", "conv_depthwise3d"),
    *("_slow_conv2d_forward", "slow_conv3d_forward", "slow_conv_dilated2d", "slow_conv_dilated3d"),
)
TRANSPOSED_CONVOLUTIONS = (
    *("slow_conv_transpose2d", "slow_conv_transpose3d", "cudnn_convolution_transpose"),
    *("miopen_convolution_transpose", "_mps_convolution_transpose"),
)
# Bilinear: 4 products and 3 sums an output; to go back as many products, and a sum for each.
BILINEAR, BILINEAR_BACKWARD = 7, 8
# The slope in either direction 7, times the gradient, and its sum.
PLACES_BACKWARD = 2 * (BILINEAR + 2)


def _convolution_work(call: Call) -> Work:
    """Dense, grouped, depthwise, dilated or transposed convolution, in any number of dimensions."""
    maps = call.arguments["input" if "input" in call.arguments else "self"]
    bias = call.arguments.get("bias")
    return Work(_convolution_macs(call, maps, call.out), 0 if bias is None else call.out.numel())


def _convolution_macs(call: Call, maps: Tensor, outputs: Tensor) -> int:
    # Each position of the map that the kernel is laid on meets one filter's taps in each of its
    # groups: the output's positions, or the input's where the convolution is transposed.
    positions = maps if call.arguments.get("transposed", False) else outputs
    return positions.numel() * prod(call.shape("weight")[1:])


def _convolution_backward_work(call: Call) -> Work:
    """As much again for the input's gradient and for the weight's, each if it is wanted."""
    grad = call.arguments["grad_output"]
    macs = _convolution_macs(call, call.arguments["input"], grad)
    wants_input, wants_weight, wants_bias = call.arguments["output_mask"]
    return Work(macs * (wants_input + wants_weight), grad.numel() if wants_bias else 0)


def _named_convolution(call: Call, *, transposed: bool = False) -> Work:
    """A convolution with what its kernel adds: a bias, another map, a ReLU."""
    places = call.arguments["self"] if transposed else call.out
    added = call.has("bias") + call.has("z") + ("relu" in call.name)
    macs = places.numel() * prod(call.shape("weight")[1:])
    columns = places.numel() // max(1, places.shape[0] * prod(places.shape[2:]))
    depth = prod(call.shape("weight")[1:])
    product = (1, places.numel() // max(1, columns), columns, depth)
    return Work(macs, added * call.out.numel(), (product,))


def _convolution_over_time(call: Call) -> Work:
    """One whose maps have time, batch and channels in that order."""
    taps, inner, outer = call.shape("weight")
    return matrix_work(
        [(1, call.out.numel() // max(1, outer), outer, taps * inner)], call.out.numel()
    )


def _deformed(call: Call) -> tuple[Product, int]:
    """The product of a deformable convolution, and the samples that go into it."""
    groups, (outer, inner, *taps) = call.arguments["groups"], call.shape("weight")
    maps = call.arguments.get("grad", call.out)
    positions = maps.shape[0] * prod(maps.shape[2:])
    samples = positions * groups * inner * prod(taps)
    return (groups, positions, outer // groups, inner * prod(taps)), samples


def _deformable_convolution(call: Call) -> Work:
    """A convolution of samples between positions, each with a factor if there is a mask; and a bias."""
    product, samples = _deformed(call)
    each = BILINEAR + call.arguments["use_mask"]
    return matrix_work([product], samples * each + call.out.numel())


def _deformable_convolution_backward(call: Call) -> Work:
    """Two products; samples again, and what each passes on to the map, to its place and to the mask."""
    (groups, positions, outer, depth), samples = _deformed(call)
    masked = call.arguments["use_mask"]
    # A masked sample is multiplied by its factor, goes back with it, and the mask's gradient is a product and a sum.
    each = BILINEAR + BILINEAR_BACKWARD + PLACES_BACKWARD + 4 * masked
    both = (groups, positions, depth, outer), (groups, outer, depth, positions)
    return matrix_work(both, samples * each + call.arguments["grad"].numel())


def _aligned_regions(call: Call, *, backward: bool = False) -> Work | None:
    """Means of samples in each cell of a region; how many there are may depend on the regions."""
    ratio = call.arguments["sampling_ratio"]
    if ratio <= 0:
        return None
    cells = (call.arguments["grad"] if backward else call.out).numel()
    each = (BILINEAR_BACKWARD if backward else BILINEAR) + 1
    return Work(extra_flops=cells * (ratio * ratio * each))


FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(CONVOLUTIONS, _convolution_work),
    **dict.fromkeys(CONVOLUTIONS_BACKWARD, _convolution_backward_work),
    **dict.fromkeys(NAMED_CONVOLUTIONS, _named_convolution),
    **dict.fromkeys(TRANSPOSED_CONVOLUTIONS, partial(_named_convolution, transposed=True)),
    "conv_tbc": _convolution_over_time,
    "torchvision.deform_conv2d": _deformable_convolution,
    "torchvision._deform_conv2d_backward": _deformable_convolution_backward,
    **dict.fromkeys(("torchvision.roi_align", "torchvision.ps_roi_align"), _aligned_regions),
    **dict.fromkeys(
        ("torchvision._roi_align_backward", "torchvision._ps_roi_align_backward"),
        partial(_aligned_regions, backward=True),
    ),
}
