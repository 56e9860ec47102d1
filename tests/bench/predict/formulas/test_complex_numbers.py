"""Complex numbers: each operator by the real operations that it takes, counted by hand."""

import pytest
import torch
import torch.nn.functional as F

from bench.predict.formulas import Call, work_of
from tests.bench.predict.counting import counted, entered

Z = torch.ones(3, 4, dtype=torch.complex64)
ELEMENTS = Z.numel()


@pytest.mark.parametrize(
    ("function", "each"),
    [
        (lambda z: z + z, 2),
        (lambda z: z - z, 2),
        (lambda z: -z, 2),
        (lambda z: z * z, 6),  # four products, two sums
        (lambda z: z * 2.0, 2),
        (lambda z: z * z.real, 2),
        (lambda z: z * 2j, 6),
        (lambda z: z / z, 11),
        (lambda z: z / 2.0, 2),
        (lambda z: 1 / z, 6 + 2),  # a reciprocal and a product, as torch does it
        (lambda z: z.abs(), 4),
        (lambda z: z.angle(), 1),
        (lambda z: z.sgn(), 6),
        (lambda z: z.exp(), 5),
        (lambda z: z.log(), 6),
        (lambda z: z.sum(), 2),
        (lambda z: z.prod(), 6),
        (torch.linalg.vector_norm, 4),
        (lambda z: z.conj(), 0),
        (torch.conj_physical, 1),
        (torch.view_as_real, 0),
        (lambda z: torch.complex(z.real, z.imag), 0),
        (lambda z: torch.polar(z.real, z.imag), 4),
        (lambda z: z.mT.contiguous(), 0),
    ],
)
def test_an_element_wise_operator_is_its_real_operations(function, each):
    assert counted(function, Z.clone()) == each * ELEMENTS


def test_a_complex_product_of_matrices_is_four_real_ones():
    (row,) = [row for row in entered(torch.mm, Z, Z.mT.contiguous()) if row.flops]
    assert row.macs == 4 * 3 * 4 * 3
    assert row.flops == 2 * row.macs


@pytest.mark.parametrize("equation", ["ij,kj->ik", "ij,kj->ki"])
def test_a_complex_einsum_is_four_real_products(equation):
    rows = entered(lambda z: torch.einsum(equation, z, z), Z)
    assert sum(row.macs for row in rows) == 4 * 3 * 4 * 3


def test_a_complex_convolution_is_the_real_ones_that_torch_makes_of_it():
    x, weight = (torch.ones(shape, dtype=torch.complex64) for shape in ((1, 2, 5, 5), (3, 2, 3, 3)))
    rows = entered(F.conv2d, x, weight)
    # By Gauss' trick three real convolutions do.
    assert sum(row.macs for row in rows) == 3 * 9 * 3 * 2 * 9


def test_what_has_no_rule_for_complex_numbers_has_no_count():
    assert work_of(Call("aten.erf", {"self": Z}, Z)) is None
