"""Shapes of a call on which its time depends beside operations and bytes: products, windows, rows."""

from math import prod
from typing import Any

from bench.predict import formulas
from bench.predict.formulas import Call, Product

SOFTMAXES = ("_softmax", "_log_softmax", "_safe_softmax")


def shapes_of(call: Call) -> dict[str, Any]:
    """`products`, `window` and `row_length` of a call, as `Alike` has them; what it has not is left out."""
    name = formulas.short_name(call.name)
    if name in formulas.CONVOLUTIONS:
        return {"products": _convolution(call), "window": _window(call)}
    if name in SOFTMAXES:
        shape = call.shape("self")
        return {"row_length": shape[call.arguments["dim"]] if shape else 1}
    if name == "native_layer_norm":
        return {"row_length": prod(call.arguments["normalized_shape"])}
    products = _products(call, name)
    return {"products": products} if products else {}


def _products(call: Call, name: str) -> tuple[Product, ...]:
    if name in formulas.PRODUCTS:
        return _product(call, formulas.PRODUCTS[name])
    if name == "addbmm":
        batch, rows, depth = call.shape("batch1")
        return ((1, rows, call.out.shape[-1], batch * depth),)
    if name in formulas.CONVOLUTIONS_BACKWARD:
        return _convolution_backward(call)
    return ()


def _product(call: Call, left: str) -> tuple[Product]:
    *outer, depth = call.shape(left)
    batch = outer[0] if len(outer) > 1 else 1
    rows = outer[-1] if outer else 1
    return ((batch, rows, call.out.numel() // max(1, batch * rows), depth),)


def _convolution(call: Call) -> tuple[Product]:
    maps = call.shape("input" if "input" in call.arguments else "self")
    groups, (outer, inner, *taps) = call.arguments["groups"], call.shape("weight")
    if call.arguments.get("transposed", False):
        positions = maps[0] * prod(maps[2:])
        return ((groups, positions, inner * prod(taps), outer // groups),)
    positions = call.out.shape[0] * prod(call.out.shape[2:])
    return ((groups, positions, outer // groups, inner * prod(taps)),)


def _window(call: Call) -> tuple[int, int, int, int] | None:
    """Output sides and kernel sides of a convolution of maps without steps, gaps or groups; None of any other.

    Of a single tap steps and gaps change nothing.
    """
    taps = call.shape("weight")[2:]
    given = {call.arguments["groups"]}
    if prod(taps) > 1:
        given |= {*call.arguments["stride"], *call.arguments["dilation"]}
    if len(taps) != 2 or given != {1} or call.arguments.get("transposed", False):
        return None
    return (*call.out.shape[2:], *taps)


def _convolution_backward(call: Call) -> tuple[Product, ...]:
    """The input's gradient and the weight's, each if it is wanted."""
    maps, grad = call.shape("input"), call.shape("grad_output")
    groups, (outer, inner, *taps) = call.arguments["groups"], call.shape("weight")
    places = maps if call.arguments["transposed"] else grad
    positions = places[0] * prod(places[2:])
    window = inner * prod(taps)
    both = (
        (groups, positions, window, outer // groups),
        (groups, outer // groups, window, positions),
    )
    return tuple(
        shape for shape, wanted in zip(both, call.arguments["output_mask"], strict=False) if wanted
    )
