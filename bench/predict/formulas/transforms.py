"""Fourier transforms, and factorisations and solvers of linear algebra: FLOPs by their leading terms.

A complex transform of N points is 5 N log2 N operations, one of or to real numbers half of that (the convention of
benchFFT, fftw.org/speed/method.html). Factorisations are no matrix work: their counts, sums, products and quotients
alike, are FLOPs, by LAPACK Working Note 41 (Anderson, Dongarra and Ostrouchov, 1992, appendix C) and, where
LAPACK iterates, by Golub and Van Loan, Matrix Computations, 4th edition, 2013 (eigenvalues: sections 7.5 and 8.3;
singular values: figure 8.6.1; least squares: section 5.5). What takes as many steps as its values ask for has no count.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import log2, prod

from bench.predict.formulas.call import Call, Formula, Work


def _transform(call: Call) -> Work:
    """A transform along all axes named, of as many points as they have together."""
    sizes = list(call.shape("self"))
    axes = call.arguments["dim"]
    if "last_dim_size" in call.arguments:
        sizes[axes[-1]] = call.arguments["last_dim_size"]
    points = prod(sizes[axis] for axis in axes)
    factor = 5.0 if call.name == "aten._fft_c2c" else 2.5
    return Work(extra_flops=round(factor * prod(sizes) * log2(points)) if points > 1 else 0)


Solve = Callable[[Call, int, int], float]


def _matrices(call: Call, *, of: str, flops: Solve) -> Work:
    """So many FLOPs for each matrix of so many rows and columns."""
    *batch, rows, columns = call.shape(of)
    return Work(extra_flops=round(prod(batch) * flops(call, rows, columns)))


def _lu(_: Call, rows: int, columns: int) -> float:
    most, least = max(rows, columns), min(rows, columns)
    return most * least**2 - least**3 / 3


def _solve(call: Call) -> Work:
    return _matrices(call, of="A", flops=_lu) + _triangular(call, matrix="A", passes=2)


def _qr(rows: int, columns: int) -> float:
    most, least = max(rows, columns), min(rows, columns)
    return 2 * most * least**2 - 2 * least**3 / 3


def _columns_of_q(rows: int, columns: int, reflectors: int) -> float:
    return (
        4 * rows * columns * reflectors
        - 2 * (rows + columns) * reflectors**2
        + 4 * reflectors**3 / 3
    )


def _whole_qr(call: Call, rows: int, columns: int) -> float:
    mode, least = call.arguments["mode"], min(rows, columns)
    if mode == "r":
        return _qr(rows, columns)
    width = rows if mode == "complete" else least
    return _qr(rows, columns) + _columns_of_q(rows, width, least)


def _svd(call: Call, rows: int, columns: int) -> float:
    m, n = max(rows, columns), min(rows, columns)
    if not call.arguments["compute_uv"]:
        return min(4 * m * n**2 - 4 * n**3 / 3, 2 * m * n**2 + 2 * n**3)
    if call.arguments["full_matrices"]:
        return min(4 * m**2 * n + 8 * m * n**2 + 9 * n**3, 4 * m**2 * n + 22 * n**3)
    return min(14 * m * n**2 + 8 * n**3, 6 * m * n**2 + 20 * n**3)


def _least_squares(call: Call) -> Work:
    """By a factorisation Q R, which rotates each right-hand side, or by singular values."""

    def flops(call: Call, rows: int, columns: int) -> float:
        m, n = max(rows, columns), min(rows, columns)
        if call.arguments["driver"] in ("gelss", "gelsd"):
            return min(4 * m * n**2 + 8 * n**3, 2 * m * n**2 + 11 * n**3)
        sides = call.out.numel() / max(1, prod(call.shape("self")[:-2]) * columns)
        return _qr(rows, columns) + (4 * m * n - n**2) * sides

    return _matrices(call, of="self", flops=flops)


def _symmetric_eigen(call: Call, rows: int, _: int) -> float:
    return (9 if call.arguments["compute_v"] else 4 / 3) * rows**3


def _triangular(call: Call, *, matrix: str, passes: int = 1) -> Work:
    """Back substitution: as many FLOPs for each number of the result as the matrix has rows, in one or two passes."""
    return Work(extra_flops=passes * call.shape(matrix)[-1] * call.out.numel())


def _reflected(call: Call) -> Work:
    """A product with Q that is kept as reflectors."""
    *batch, rows, columns = call.shape("input3")
    reflectors = call.shape("input2")[-1]
    side, other = (rows, columns) if call.arguments["left"] else (columns, rows)
    return Work(extra_flops=prod(batch) * (4 * side * other - 2 * other * reflectors) * reflectors)


def _product_of_reflectors(call: Call, rows: int, columns: int) -> float:
    return _columns_of_q(rows, columns, call.shape("tau")[-1])


_of = partial(partial, _matrices)


def _cubic(factor: float) -> Solve:
    return lambda _, rows, __: factor * rows**3


FACTORISATIONS: Mapping[str, Formula] = {
    "linalg_cholesky_ex": _of(of="self", flops=_cubic(1 / 3)),
    "cholesky_inverse": _of(of="self", flops=_cubic(2 / 3)),
    "linalg_ldl_factor_ex": _of(of="self", flops=_cubic(1 / 3)),
    "linalg_inv_ex": _of(of="A", flops=_cubic(2)),
    **dict.fromkeys(
        ("linalg_lu_factor_ex", "linalg_lu", "_linalg_det", "_linalg_slogdet"),
        _of(of="A", flops=_lu),
    ),
    "_linalg_solve_ex": _solve,
    "linalg_qr": _of(of="A", flops=_whole_qr),
    "geqrf": _of(of="self", flops=lambda _, rows, columns: _qr(rows, columns)),
    "linalg_householder_product": _of(of="input", flops=_product_of_reflectors),
    "ormqr": _reflected,
    "_linalg_svd": _of(of="A", flops=_svd),
    "_linalg_eigh": _of(of="A", flops=_symmetric_eigen),
    "linalg_eig": _of(of="self", flops=_cubic(25)),
    "_linalg_eigvals": _of(of="self", flops=_cubic(10)),
    "linalg_lstsq": _least_squares,
    "linalg_lu_solve": partial(_triangular, matrix="LU", passes=2),
    "linalg_ldl_solve": partial(_triangular, matrix="LD", passes=2),
    "cholesky_solve": partial(_triangular, matrix="input2", passes=2),
    "linalg_solve_triangular": partial(_triangular, matrix="self"),
    "triangular_solve": partial(_triangular, matrix="A"),
}
FORMULAS: Mapping[str, Formula] = {
    **dict.fromkeys(("_fft_r2c", "_fft_c2r", "_fft_c2c"), _transform),
    **FACTORISATIONS,
}
