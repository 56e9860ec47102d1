"""Blocks of other people, counted and predicted on fake tensors, held against a real call on the processor.

MACs are held against torch's own counter, which is given what it lacks or has wrong. Live bytes are held against
storages that are polled while the call runs.
"""

import importlib.util
import re
import sys
import warnings
import weakref
from collections import Counter
from math import prod
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ann.spec import Size
from bench.predict import predict_cell
from bench.predict.fake import unwatched
from bench.predict.ledger import plain_attention
from bench.workloads import make_workload
from experiments.spec import Cell, OwnModule
from tests.zoo import adapters
from tests.zoo.blocks import BLOCKS, PACKAGES

ATEN = torch.ops.aten
# Steps of training in `nox -s zoo` alone.
CASES = [
    pytest.param((block, mode), marks=[pytest.mark.slow] if mode == "train" else [])
    for block in BLOCKS
    for mode in block.modes
]
# The packages' own, on what will be removed from torch and the like.
pytestmark = pytest.mark.filterwarnings("ignore")


def cell_of(block, mode):
    subject = OwnModule(
        factory=block.text,
        channels=64,
        key_channels=32,
        layout=block.layout,
        inputs=block.inputs,
    )
    size = Size(width=32, height=32)
    batch = 2 if mode == "train" else 1  # norms behind a global pool want two maps
    return Cell(experiment="zoo", axes={}, subject=subject, size=size, mode=mode, batch=batch)


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]} {case[1]}", scope="module")
def case(request):
    """A block and a mode: the prediction, and the workload of a real call."""
    block, mode = request.param
    if importlib.util.find_spec(PACKAGES[block.package]) is None:
        pytest.skip(f"{block.package} is not installed; nox -s zoo has it")
    sys.modules["zoo_adapters"] = adapters
    cell = cell_of(block, mode)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        predicted = predict_cell(cell, "cpu")
        with plain_attention(), unwatched.uncompiled():
            yield predicted, make_workload(cell, "cpu")


class Polled(TorchDispatchMode):
    """Bytes of the storages that operators make, as long as they live."""

    supports_higher_order_operators = True

    def __init__(self, standing):
        super().__init__()
        self.standing = {tensor.untyped_storage()._cdata for tensor in standing}
        self.kept = [tensor.untyped_storage() for tensor in standing]
        self.live, self.peak_bytes = {}, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if isinstance(func, torch._ops.HigherOrderOperator):
            with self:
                key = torch._C.DispatchKey.CompositeExplicitAutograd
                return func.py_kernels[key](*args, **(kwargs or {}))
        if any(hasattr(kind, "__tensor_flatten__") for kind in types):
            return NotImplemented  # what it is made of comes next
        result = func(*args, **(kwargs or {}))
        self.poll(args if func is ATEN.lift_fresh.default else result)
        self.peak_bytes = max(self.peak_bytes, sum(size for _, size in self.live.values()))
        return result

    def poll(self, values):
        for tensor in tree_leaves(values):
            if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
                continue
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self.standing and key not in self.live:
                gone = weakref.ref(storage, lambda _, key=key: self.live.pop(key, None))
                self.live[key] = (gone, -(-storage.nbytes() // 512) * 512)


def tensors_of(module):
    values = [value for part in module.modules() for value in vars(part).values()]
    leaves = (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))
    return [leaf for leaf in leaves if leaf.layout == torch.strided]


def test_live_bytes_are_within_a_percent_of_those_of_a_real_call(case):
    predicted, work = case
    with unwatched.adding_in_place():
        work()
        with Polled([*tensors_of(work.module), *work.inputs]) as polled:
            work()
    assert predicted.predicted.increment_bytes == pytest.approx(polled.peak_bytes, rel=0.01)


def convolution_backward(
    grad, x, weight, bias, stride, pad, dilate, transposed, out, groups, mask, **_
):
    """Two FLOPs for each tap of each position that a kernel is laid on, for either gradient."""
    positions = prod(x) if transposed else prod(grad)
    return 2 * positions * prod(weight[1:]) * (mask[0] + mask[1])


def matrix_vector(matrix, vector, **_):
    return 2 * prod(matrix)


def added_matrix_vector(added, matrix, vector, **_):
    return 2 * prod(matrix)


CORRECTED = {
    ATEN.convolution_backward: convolution_backward,
    ATEN.mv: matrix_vector,
    ATEN.addmv: added_matrix_vector,
}


def test_macs_are_those_of_torchs_counter_on_a_real_call(case):
    predicted, work = case
    if predicted.counts.uncounted:
        pytest.fail(f"not counted: {predicted.counts.uncounted}")
    work()
    try:
        with FlopCounterMode(display=False, custom_mapping=CORRECTED) as counter:
            work()
    except (AssertionError, RuntimeError, NotImplementedError, TypeError) as error:
        pytest.skip(f"torch's counter can't follow it: {error}")
    lacked = {row.name for row in predicted.counts.ledger if row.macs} - {
        str(packet) for packet in counter.flop_registry
    }
    if lacked:
        pytest.skip(
            f"torch's counter lacks {', '.join(lacked)}; their formulas have tests of their own"
        )
    assert predicted.counts.macs == counter.get_total_flops() // 2


def test_the_document_counts_them():
    text = (Path(__file__).parents[2] / "docs" / "own_block.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\S+) \S+ \| (\d+) \| (\d+) \| (\d+) \|$", text, flags=re.MULTILINE)
    blocks, trained = (
        Counter(block.package for block in BLOCKS if mode in block.modes)
        for mode in ("eval", "train")
    )
    assert rows == [
        (name, *map(str, (blocks[name], blocks[name], trained[name]))) for name in PACKAGES
    ]
    assert f"| all | {len(BLOCKS)} | {len(BLOCKS)} | {trained.total()} |" in text
