"""Operations of one dispatched operator: MACs of matrix work, FLOPs of element-wise work, or none.

Conventions. A MAC is one multiplication with its addition; FLOPs are 2 per MAC plus the work here:
an arithmetic function of one element is 1 (exp, sqrt and division too), a composite one the sum of
its parts; a softmax is 5 an element (maximum, subtraction, exp, sum, division); a norm that knows
its statistics 2 (one factor and one offset a channel), one that takes them 4 more; pooling 1 for
each element it reads, overlapping windows as often as they read it; bilinear interpolation 7 an
output (4 products, 3 sums). A causal attention counts as a full one. Padding counts as data. Sorting and
picking are moves. Complex numbers count by their real operations (`complex_numbers`), Fourier
transforms and linear algebra as FLOPs (`transforms`). An operator that is neither here nor among
those that only move data, or whose work depends on values that are not at hand, is uncounted.
"""

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from bench.predict.fake import tensors
from bench.predict.formulas import (
    attention,
    complex_numbers,
    convolutions,
    elementwise,
    products,
    recurrent,
    sampling,
    seldom,
    transforms,
)
from bench.predict.formulas.call import Call, Formula, Work, is_sparse, short_name


def _elementwise_work(call: Call, *, count: elementwise.Count) -> Work | None:
    flops = count(call.arguments, call.out)
    return None if flops is None else Work(extra_flops=flops)


COUNTS = elementwise.COUNTS | sampling.COUNTS | seldom.COUNTS
FORMULAS: Mapping[str, Formula] = {
    **{name: partial(_elementwise_work, count=count) for name, count in COUNTS.items()},
    **products.FORMULAS,
    **convolutions.FORMULAS,
    **attention.FORMULAS,
    **recurrent.FORMULAS,
    **transforms.FORMULAS,
}
# Arguments whose values say how much work there is.
VALUED_ARGUMENTS = frozenset((*attention.VALUED, "input_lengths", "target_lengths"))


def work_of(call: Call) -> Work | None:
    """Operations of a call; None where there is no formula for it."""
    formula = find_formula(call.name)
    if formula is None or _is_bookkeeping(call):
        return Work() if formula else None
    work = formula(call)
    if work is None or not complex_numbers.has_complex(call):
        return work
    return complex_numbers.in_real_operations(call, short_name(call.name), work)


def find_formula(name: str) -> Formula | None:
    """Formula of an operator, those of ATen by their short names."""
    return FORMULAS.get(short_name(name))


def depends_on_values(call: Call) -> bool:
    """Whether calls that look alike may differ in their work."""
    has_lengths = any(isinstance(call.arguments.get(name), Tensor) for name in VALUED_ARGUMENTS)
    return has_lengths or any(map(is_sparse, tensors(call.arguments.values())))


def _is_bookkeeping(call: Call) -> bool:
    # Counters such as a norm's number of batches are integers of one element, made from such.
    each = [x for x in (call.result, *call.arguments.values()) if isinstance(x, Tensor)]
    return (
        isinstance(call.result, Tensor)
        and call.result.dtype in (torch.int64, torch.int32)
        and all(tensor.numel() <= 1 for tensor in each)
    )


def is_free(name: str) -> bool:
    """Whether an operator is declared to move or name data alone."""
    if not name.startswith("aten."):
        return name in elementwise.NAMES
    return short_name(name) in elementwise.VIEWS | elementwise.MOVES
