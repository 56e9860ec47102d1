"""What bounds the fast path on this processor, and what is left of its time by operator.

    python -m pytest tests/benchmarks -m slow -s -k fast

prints it with the processor's name; `test_fast.py` has times and memory beside the plain path. Arms alternate in one
process; times are medians of process time (all threads), with the least and the largest.
"""

import copy
import time
from functools import partial
from statistics import median

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from ann.attention import CHUNK_BYTES, attend_fused
from ann.fast import optimize, products
from bench.predict.ledger import count
from bench.workloads.number_formats import computes_in
from tests.benchmarks.test_fast import NAMES, arms, compare, machine, made, report

pytestmark = pytest.mark.slow
# To be read on an idle machine: 1.1, and 2.2 where the processor computes in bfloat16.
MOST_OF_PRODUCTS = 2.0
LEAST_IN_BFLOAT16 = 1.0
ROWS_SHOWN = 7


def alternate(ways, rounds):
    """Seconds of process time of each way, by turns, after one call each."""
    for way in ways.values():
        way()
    seconds = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.process_time()
            way()
            seconds[name].append(time.process_time() - began)
    return seconds


def spread(seconds):
    return f"{median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"


def macs(name):
    with torch.device("meta"):
        return [count(part, inputs, mode="eval").macs for part, inputs in arms(name).values()]


def operators(work):
    """Share of a call's time of each operator with its shapes, the largest first, of three calls."""
    work()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        for _ in range(3):
            work()
    rows = seen.key_averages(group_by_input_shape=True)
    whole = sum(row.self_cpu_time_total for row in rows)
    shares = [(row.self_cpu_time_total / whole, row.key, row.input_shapes) for row in rows]
    return sorted(shares, key=lambda row: -row[0])


def share_of(part, work):
    """Share of a part in the process time of a call, of three."""
    spent, began = [], []
    hooks = (
        part.register_forward_pre_hook(lambda *_: began.append(time.process_time())),
        part.register_forward_hook(lambda *_: spent.append(time.process_time() - began[-1])),
    )
    start = time.process_time()
    for _ in range(3):
        work()
    whole = time.process_time() - start
    for hook in hooks:
        hook.remove()
    return sum(spent) / whole


@torch.inference_mode()
@pytest.mark.parametrize("name", NAMES)
def test_fast_path_by_operator(name, capsys):
    fast, inputs = arms(name)["fast"]
    work = partial(fast, *inputs)
    plain_macs, fast_macs = macs(name)
    gmacs = f"{plain_macs / 1e9:.1f} / {fast_macs / 1e9:.1f} GMAC"
    lines = [f"{name}, {machine()}: {gmacs} = {plain_macs / fast_macs:.2f} by operations alone"]
    rows = operators(work)
    lines += [
        f"  {share:6.1%} {key.removeprefix('aten::')} " + " x ".join(map(str, filter(None, shapes)))
        for share, key, shapes in rows[:ROWS_SHOWN]
    ]
    lines.append(f"  {sum(share for share, *_ in rows[ROWS_SHOWN:]):6.1%} all others")
    if "/" in name:
        lines.append(f"  of the network's time the head's share is {share_of(fast.head, work):.1%}")
    report(capsys, *lines)
    assert plain_macs > fast_macs


def by_library(monkeypatch, work, *, onednn):
    def call():
        monkeypatch.setattr(products, "onednn_is_quicker", lambda: onednn)
        return work()

    return call


@torch.inference_mode()
@pytest.mark.parametrize("name", ["apnb", "apnb-concat", "afnb-bottleneck"])
def test_fast_products_by_either_library(name, capsys, monkeypatch):
    blas_s, onednn_s = products.probe()
    chosen = "oneDNN" if products.onednn_is_quicker() else "BLAS"
    plain, inputs = made(name)
    work = partial(optimize(plain), *inputs)
    ways = {
        "plain": partial(plain, *inputs),
        "BLAS": by_library(monkeypatch, work, onednn=False),
        "BLAS again": by_library(monkeypatch, work, onednn=False),
        "oneDNN": by_library(monkeypatch, work, onednn=True),
    }
    compare(plain, lambda *_: ways["oneDNN"](), inputs)
    seconds = alternate(ways, 5)
    probed = f"BLAS {blas_s * 1e3:.1f} ms, oneDNN {onednn_s * 1e3:.1f} ms"
    lines = [f"{name}, {machine()}: a product alone {probed}, so that {chosen} is taken"]
    for way, taken in seconds.items():
        ratio = median(seconds["plain"]) / median(taken)
        lines.append(f"  {way}: {spread(taken)}, plain over it {ratio:.2f}")
    report(capsys, *lines)
    assert median(seconds[chosen]) < median(seconds["plain"])


def two_products(query, key, value, *, rows):
    """Scores and mixture without a softmax, for so many queries at a time."""
    scores, mixed = query.new_empty(rows, key.shape[1]), torch.empty_like(query)
    for part, out in zip(query[0].split(rows), mixed[0].split(rows), strict=True):
        torch.mm(part, key[0].mT, out=scores[: len(part)])
        torch.mm(scores[: len(part)], value[0], out=out)
    return mixed


@torch.inference_mode()
@pytest.mark.parametrize("side", [64, 96, 128])
def test_fast_attention_beside_its_two_products(side, capsys):
    torch.manual_seed(0)
    tokens = [torch.randn(1, side * side, 256) for _ in range(3)]
    rows = CHUNK_BYTES // (4 * side * side)
    fused = partial(attend_fused, *tokens, scale=1 / 16)
    ways = {
        "nb:fast": fused,
        "nb:fast again": fused,
        "products, chunks": partial(two_products, *tokens, rows=rows),
        "products, quarter chunks": partial(two_products, *tokens, rows=rows // 4),
    }
    seconds = alternate(ways, 7)
    whole = median(seconds["nb:fast"])
    lines = [f"attention of nb:fast at {side}x{side}, {machine()}"]
    for name, taken in seconds.items():
        lines.append(f"  {name}: {spread(taken)}, nb:fast over it {whole / median(taken):.2f}")
    report(capsys, *lines)
    assert whole < MOST_OF_PRODUCTS * median(seconds["products, chunks"])


@torch.inference_mode()
def test_fast_block_in_number_formats(capsys):
    plain, (x,) = made("apnb")
    x = x[:, :, :32, :64].contiguous()
    exact = copy.deepcopy(plain).double()(x.double())
    ways, lines = {}, [f"apnb:fast at 64x32, {machine()}"]
    for kind in (torch.float32, torch.bfloat16, torch.float16):
        ways[kind] = partial(optimize(plain).to(kind), x.to(kind))
        error = float((ways[kind]() - exact).norm() / exact.norm())
        has = "" if computes_in(kind) else ", for which it has no instructions"
        lines.append(f"  {kind}{has}: relative error to float64 {error:.1e}")
    seconds = alternate(ways, 3)
    for kind, taken in seconds.items():
        ratio = median(seconds[torch.float32]) / median(taken)
        lines.append(f"  {kind}: {spread(taken)}, float32 over it {ratio:.3f}")
    report(capsys, *lines)
    if not computes_in(torch.bfloat16):
        pytest.skip("the processor has no instructions for bfloat16, so that nothing is gained")
    assert median(seconds[torch.float32]) > LEAST_IN_BFLOAT16 * median(seconds[torch.bfloat16])
