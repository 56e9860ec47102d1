"""Fourier transforms and linear algebra, against the counts of their sources by hand."""

from math import log2

import pytest
import torch

from tests.bench.predict.counting import counted

# torch computes vectors, too, wherever a mode watches, so that single values are asked of the operators themselves.
SQUARE = torch.eye(12) * 2
TALL = torch.rand(20, 12)


@pytest.mark.parametrize(
    ("function", "shape", "flops"),
    [
        (torch.fft.fft, (3, 16), 3 * 5 * 16 * 4),
        (torch.fft.fft2, (3, 16, 8), 3 * 5 * 128 * 7),
        (torch.fft.rfft, (3, 16), 3 * 2.5 * 16 * 4),
        (torch.fft.rfft2, (3, 16, 8), 3 * 2.5 * 128 * 7),
        (lambda x: torch.fft.irfft(x, n=30), (3, 16), round(3 * 2.5 * 30 * log2(30))),
        (lambda x: torch.fft.irfft2(x, s=(16, 14)), (3, 16, 8), round(3 * 2.5 * 224 * log2(224))),
        (torch.fft.fft, (3, 1), 0),
    ],
)
def test_a_transform_is_its_points_times_their_logarithm(function, shape, flops):
    is_from_real = function in (torch.fft.rfft, torch.fft.rfft2)
    x = torch.ones(shape, dtype=torch.float32 if is_from_real else torch.complex64)
    assert counted(function, x) == flops


@pytest.mark.parametrize(
    ("function", "flops"),
    [
        (torch.linalg.cholesky, 12**3 / 3),
        (torch.linalg.inv, 2 * 12**3),
        (torch.linalg.lu_factor, 2 * 12**3 / 3),
        (
            lambda x: torch.linalg.solve(x, torch.ones(*x.shape[:-1], 5)),
            2 * 12**3 / 3 + 2 * 144 * 5,
        ),
        (lambda x: torch.linalg.solve(x, torch.ones(*x.shape[:-1])), 2 * 12**3 / 3 + 2 * 144),
        (
            lambda x: torch.linalg.solve_triangular(x, torch.ones(*x.shape[:-1], 5), upper=True),
            144 * 5,
        ),
        (lambda x: torch.cholesky_solve(torch.ones(*x.shape[:-1], 5), x), 2 * 144 * 5),
        (torch.cholesky_inverse, 2 * 12**3 / 3),
        (lambda x: torch.ops.aten._linalg_eigh(x, "L", False), 4 * 12**3 / 3),
        (torch.linalg.eigh, 9 * 12**3),
        (torch.ops.aten._linalg_eigvals, 10 * 12**3),
        (torch.linalg.eig, 25 * 12**3),
    ],
)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_linear_algebra_of_square_matrices(function, flops, batch):
    matrices = SQUARE.repeat(*batch, 1, 1)
    whole = len(batch) * 2 + 1
    assert counted(function, matrices) == pytest.approx(whole * flops, abs=1)


def columns(m, n, k):
    return 4 * m * n * k - 2 * (m + n) * k**2 + 4 * k**3 / 3


QR = 2 * 20 * 144 - 2 * 12**3 / 3


@pytest.mark.parametrize(
    ("function", "flops"),
    [
        (lambda x: torch.linalg.qr(x, mode="r"), QR),
        (torch.linalg.qr, QR + columns(20, 12, 12)),
        (lambda x: torch.linalg.qr(x, mode="complete"), QR + columns(20, 20, 12)),
        (torch.geqrf, QR),
        (lambda x: torch.ops.aten._linalg_svd(x, False, False), 2 * 20 * 144 + 2 * 12**3),
        (lambda x: torch.linalg.svd(x, full_matrices=False), 6 * 20 * 144 + 20 * 12**3),
        (lambda x: torch.linalg.svd(x.mT, full_matrices=False), 6 * 20 * 144 + 20 * 12**3),
        (torch.linalg.svd, 4 * 400 * 12 + 22 * 12**3),
        (
            lambda x: torch.linalg.lstsq(x, torch.ones(20, 5), driver="gels"),
            QR + (4 * 240 - 144) * 5,
        ),
    ],
)
def test_linear_algebra_of_tall_matrices(function, flops):
    assert counted(function, TALL) == pytest.approx(flops, abs=1)


def test_a_complex_factorisation_is_four_real_ones():
    real, complex_ = counted(torch.linalg.inv, SQUARE), SQUARE.to(torch.complex64)
    assert counted(torch.linalg.inv, complex_) == 4 * real
