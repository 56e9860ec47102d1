"""Complex numbers by their real operations.

A product is 4 real products and 2 sums, so that a MAC of two complex numbers is 4 real ones; a sum is 2, a quotient
11 (a product with the conjugate 6, the squared size 3, two quotients), a size 4 (two squares, sum, root). A real factor
or divisor makes 2 of a product or quotient. What has a formula for real numbers and is not here has none for
complex ones.
"""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from bench.predict.fake import tensors
from bench.predict.formulas.call import Call, Work
from bench.predict.formulas.transforms import FACTORISATIONS

MACS = 4
# FLOPs of one number that comes out.
PER_OUTPUT: Mapping[str, int] = {
    **dict.fromkeys(("add", "sub", "rsub", "neg", "cumsum"), 2),
    **dict.fromkeys(("mul", "square", "cumprod"), 6),
    "div": 11,
    "addcmul": 6 + 2,
    "addcdiv": 11 + 2,
    "lerp": 2 + 6 + 2,
    "reciprocal": 3 + 2 + 1,
    # Both parts are looked at, and what is seen is put together.
    **dict.fromkeys(("eq", "ne", "isnan", "isinf"), 3),
    "abs": 4,
    **dict.fromkeys(("angle", "_conj_physical", "conj_physical"), 1),
    "sgn": 4 + 2,
    # Of the real part exp, cosine and sine of the other, two products; size, logarithm and angle.
    "exp": 5,
    **dict.fromkeys(("log", "log2", "log10"), 6),
    "pow": 6 + 6 + 5,
    # A sine, a cosine, two hyperbolic functions, two products; a tangent has two sums and two quotients for them.
    **dict.fromkeys(("sin", "cos", "sinh", "cosh"), 6),
    **dict.fromkeys(("tan", "tanh"), 9),
    # Size; sum, half and root of either part.
    "sqrt": 4 + 6,
    "rsqrt": 4 + 6 + 6,
    # exp(-z), a sum, a reciprocal.
    "sigmoid": 2 + 5 + 2 + 6,
    # A square or product, a difference, a product with the gradient.
    **dict.fromkeys(("tanh_backward", "sigmoid_backward"), 6 + 2 + 6),
}
WITH_REAL: Mapping[str, int] = {"mul": 2, "div": 2, "lerp": 2 + 2 + 2}
# As many times what real numbers would take, where that is told by what goes in.
TIMES: Mapping[str, int] = {
    **dict.fromkeys(("sum", "mean", "nansum", "trace", "count_nonzero", "index_add", "put"), 2),
    **dict.fromkeys(("scatter_add", "index_put", "_index_put_impl", "_unsafe_index_put"), 2),
    **dict.fromkeys(("norm", "linalg_vector_norm", "linalg__powsum", "native_norm", "dist"), 2),
    **dict.fromkeys(("var", "std", "var_mean", "std_mean"), 2),
    **dict.fromkeys(("native_dropout", "native_dropout_backward"), 2),
    "prod": 6,
}
# Whose own formulas know of them.
THEIR_OWN = ("_fft_r2c", "_fft_c2r", "_fft_c2c", "polar")


def has_complex(call: Call) -> bool:
    """Whether complex numbers go into a call or come out of it."""
    values = (*call.arguments.values(), call.result)
    return any(tensor.is_complex() for tensor in tensors(values))


def in_real_operations(call: Call, name: str, work: Work) -> Work | None:
    """Real operations of a call, of which it is known what it would do with real numbers; None without a rule."""
    if name in THEIR_OWN or not work.flops:
        return work
    if work.macs:
        products = tuple((MACS * batch, *sides) for batch, *sides in work.products)
        return Work(MACS * work.macs, 2 * work.extra_flops, products)  # type: ignore[arg-type]
    if name in FACTORISATIONS:
        # Eigenvalues of real matrices are complex.
        is_real = not any(tensor.is_complex() for tensor in tensors(call.arguments.values()))
        return work if is_real else replace(work, extra_flops=MACS * work.extra_flops)
    if name in TIMES:
        return replace(work, extra_flops=TIMES[name] * work.extra_flops)
    each = WITH_REAL.get(name) if _has_real(call) else None
    each = PER_OUTPUT.get(name) if each is None else each
    return None if each is None else Work(extra_flops=each * call.out.numel())


def _has_real(call: Call) -> bool:
    """Whether the second operand, or of a product either, is real."""
    operands = [call.arguments.get(name) for name in ("self", "other", "weight")]
    second = [value for value in operands[1:] if value is not None]
    return any(
        not value.is_complex() if isinstance(value, Tensor) else not isinstance(value, complex)
        for value in (operands if call.name.endswith(("mul", "mul_")) else second)
        if value is not None
    )
