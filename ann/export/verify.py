"""A file with free height and width against its module: at five sizes that no grid divides, and where code may branch.

Torch records the path that the code takes at the example's size, and, of each question that was asked of a free size,
the condition under which that path holds. A file does not know these conditions. So each of them is broken at maps of
up to `MOST_PIXELS` pixels, if one of these does: at the smallest, at the smallest with sides of `PLAIN_SIDE`, as
another path may not show on a map of a few pixels, and at the largest, as it may not show right at its start. Sides
of 1 are tried always: torch takes a free side for at least 2, and records nothing of that.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from ann.export.capture import INSTEAD, inference, input_shapes
from ann.spec import Size, UnavailableError

# Prime, as are the sides of their maps at a stride of 8; the last is smaller than most grids.
SIZES = tuple(
    Size(height=height, width=width)
    for height, width in ((37, 53), (83, 37), (53, 101), (101, 37), (5, 7))
)
EVEN = Size(height=38, width=44)
BATCHES = (2, 1, 3)
# Relative to the largest output. Torch itself is 6e-5 from its own float64 on an untrained ANN-R50 at 385x257.
TOLERANCE = 1e-3
MOST_PIXELS = 10_000
OTHER_SIDES = (37, 7)  # beside a side that is looked for
FEW_SIDES = (1, 2, 3, 4, 5, 8, 9, 16, 17, 37, 48, 64, 99, 128, 240, 320, 500, 1000, 2500)
ONES = tuple(Size(height=height, width=width) for height, width in ((1, 53), (37, 1), (1, 1)))
PLAIN_SIDE = 8
DEGENERATE_SIDE = 4  # no side this small tries a condition
ENOUGH = 2  # sizes that try a condition


@dataclass(frozen=True, slots=True)
class Call:
    """Sizes at which file and module are called."""

    batch: int
    size: Size


def verify(
    path: Path, module: nn.Module, inputs: tuple[Tensor, ...], program: ExportedProgram
) -> tuple[Size, ...]:
    """Compare a file with its module wherever it may differ, and return the sizes at which the module can be called.

    Raises:
        UnavailableError: onnxruntime is not installed.
        ValueError: the file differs somewhere, or there are less than four such sizes.
    """
    session = open_session(path, threads=torch.get_num_threads())
    name, taken, refused = type(module).__name__, [], {}
    for call in _calls(program, inputs):
        maps = _inputs_at(call, inputs, program)
        try:
            expected = _outputs_of(module, maps)
        except Exception as error:  # noqa: BLE001  # somebody's code, which may say so in any way
            refused[call.size] = f"{type(error).__name__}: {error}".splitlines()[0]
        else:
            _compare(session, maps, expected, name)
            taken.append(call.size)
    untaken = [size for size in SIZES if size in refused]
    if len(untaken) > 1:  # the smallest may be too small for it
        msg = (
            f"{name} has no free height and width: it takes no maps of {untaken[0]} ({refused[untaken[0]]}); "
            f"{INSTEAD}"
        )
        raise ValueError(msg)
    return tuple(taken)


def open_session(path: Path, *, threads: int) -> Any:  # noqa: ANN401  # onnxruntime's, untyped
    """Load a file in ONNX Runtime, on the processor.

    One operator may use so many `threads`; operators run one after another, as torch's do.

    Raises:
        UnavailableError: onnxruntime is not installed.
        ValueError: it does not take the file; the message has its reason.
    """
    try:
        import onnxruntime
    except ImportError as error:
        msg = "onnxruntime is not installed; pip install onnxruntime"
        raise UnavailableError(msg) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is told as an error of ours
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # it has many kinds of its own
        version, reason = onnxruntime.__version__, str(error).splitlines()[0]
        msg = f"ONNX Runtime {version} does not take the file: {reason}; try a newer one"
        raise ValueError(msg) from error


def run_session(session: Any, *inputs: Tensor) -> list[Tensor]:  # noqa: ANN401
    """Run a file; tensors go in and come out without a copy."""
    pairs = zip(session.get_inputs(), inputs, strict=True)
    given = {entry.name: tensor.numpy() for entry, tensor in pairs}
    return [torch.from_numpy(output) for output in session.run(None, given)]


def difference(expected: Tensor, output: Tensor) -> float:
    """Largest difference relative to the largest expected value; of whole numbers the share that differs."""
    if expected.shape != output.shape:
        return float("inf")
    if not expected.numel():
        return 0.0
    if not (expected.is_floating_point() or expected.is_complex()):
        return float((expected != output).double().mean())
    same = (expected == output) | (expected.isnan() & output.isnan())
    apart = (expected - output).abs().masked_fill(same, 0).max()
    largest = expected.abs().nan_to_num(0, 0, 0).max()
    return float(apart / (largest or 1.0))


def _outputs_of(module: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    # What a module does to its inputs in place must not reach the file's.
    inputs = tuple(x.clone() for x in inputs)
    with inference(module), torch.no_grad():
        return [x for x in pytree.tree_leaves(module(*inputs)) if isinstance(x, Tensor)]


def _compare(
    session: Any,  # noqa: ANN401
    inputs: tuple[Tensor, ...],
    expected: list[Tensor],
    name: str,
) -> None:
    batch, _, height, width = inputs[0].shape
    size = Size(height=height, width=width)
    where = f"maps of {size}, batch {batch}"
    try:
        outputs = run_session(session, *inputs)
    except Exception as error:
        reason = str(error).splitlines()[0]
        msg = f"{name} as a file with free height and width fails on {where}: {reason}; {INSTEAD}"
        raise ValueError(msg) from error
    errors = [difference(*pair) for pair in zip(expected, outputs, strict=True)]
    if not max(errors, default=0.0) <= TOLERANCE:  # nor NaN
        reason = "something in it holds for the example's size alone"
        if size in ONES:
            reason = "something in it is another at a side of 1, which torch takes for at least 2"
        msg = (
            f"{name} as a file with free height and width is off by {max(errors):.1e} of its largest output "
            f"on {where}: {reason}; {INSTEAD}"
        )
        raise ValueError(msg)


def _inputs_at(
    call: Call, inputs: tuple[Tensor, ...], program: ExportedProgram
) -> tuple[Tensor, ...]:
    """Random maps with a slope, so that each place matters; sides of several inputs keep their ratios."""
    drawn = torch.Generator().manual_seed(call.size.pixels)
    given = []
    shapes = _shapes_at(call, inputs, _symbols(program))
    for x, (batch, height, width) in zip(inputs, shapes, strict=True):
        noise = torch.randn((batch, x.shape[1], height, width), generator=drawn)
        slopes = torch.randn((2, x.shape[1], 1, 1), generator=drawn)
        lines = torch.linspace(-1, 1, height)[:, None], torch.linspace(-1, 1, width)
        given.append((noise + slopes[0] * lines[0] + slopes[1] * lines[1]).to(x.dtype))
    return tuple(given)


def _shapes_at(
    call: Call, inputs: tuple[Tensor, ...], symbols: list[list[Any]]
) -> list[tuple[int, int, int]]:
    """Batch, height and width of each input in a call."""
    asked, first = (call.size.height, call.size.width), inputs[0].shape[2:]
    shapes = []
    for x, (batch, _, _) in zip(inputs, symbols, strict=True):
        height, width = (
            max(1, int(side * Fraction(own, of_first)))
            for side, own, of_first in zip(asked, x.shape[2:], first, strict=True)
        )
        shapes.append((len(x) if batch is None else call.batch, height, width))
    return shapes


def _calls(program: ExportedProgram, inputs: tuple[Tensor, ...]) -> Iterable[Call]:
    """The five sizes, an even one, the example's own if it is small, sides of 1, and those that break a condition."""
    calls = [Call(BATCHES[at % len(BATCHES)], size) for at, size in enumerate((*SIZES, EVEN))]
    example = Size(height=inputs[0].shape[2], width=inputs[0].shape[3])
    if example.pixels <= MOST_PIXELS:
        calls.append(Call(len(inputs[0]), example))
    calls.extend(Call(BATCHES[at], size) for at, size in enumerate(ONES))
    yield from calls
    symbols = _symbols(program)
    for condition in _conditions(program):

        def breaks(call: Call, condition: Any = condition) -> bool:  # noqa: ANN401  # sympy's
            return _is_broken(condition, _shapes_at(call, inputs, symbols), symbols)

        tried = [call for call in calls if _shorter(call) > DEGENERATE_SIDE and breaks(call)]
        if len(tried) >= ENOUGH:
            continue
        candidates = _candidates(condition, symbols)
        for order in (_small_first, _plain_first, _large_first):
            call = next(filter(breaks, sorted(candidates, key=order)), None)
            if call is None:  # none of these breaks it
                break
            if call not in calls:
                calls.append(call)
                yield call


def _shorter(call: Call) -> int:
    return min(call.size.height, call.size.width)


def _small_first(call: Call) -> int:
    return call.size.pixels


def _plain_first(call: Call) -> tuple[int, int]:
    return -min(_shorter(call), PLAIN_SIDE), call.size.pixels


def _large_first(call: Call) -> tuple[int, int]:
    return -min(_shorter(call), PLAIN_SIDE), -call.size.pixels


def _symbols(program: ExportedProgram) -> list[list[Any]]:
    """Symbols of batch, height and width of each input; None of an axis that is fixed."""
    return [
        [side.node.expr if isinstance(side, torch.SymInt) else None for side in (s[0], s[2], s[3])]
        for s in input_shapes(program)
    ]


def _conditions(program: ExportedProgram) -> Sequence[Any]:
    """Conditions on free sizes, as sympy has them, under which the recorded path is the module's."""
    values = (node.meta.get("val") for node in program.graph.nodes)
    modes = {value.fake_mode for value in values if hasattr(value, "fake_mode")}
    guards = [guard.expr for mode in modes if mode.shape_env for guard in mode.shape_env.guards]
    return list(dict.fromkeys(guards))


def _is_broken(
    condition: Any,  # noqa: ANN401  # sympy's
    shapes: list[tuple[int, int, int]],
    symbols: list[list[Any]],
) -> bool:
    import sympy

    numbers = {
        symbol: sympy.Integer(side)
        for shape, own in zip(shapes, symbols, strict=True)
        for side, symbol in zip(shape, own, strict=True)
        if symbol is not None and symbol.is_Symbol
    }
    try:
        return condition.xreplace(numbers) == sympy.false
    except ZeroDivisionError:
        return False


def _candidates(condition: Any, symbols: list[list[Any]]) -> list[Call]:  # noqa: ANN401  # sympy's
    """Sizes to try."""
    on_height, on_width = (
        any(own[axis] in condition.free_symbols for own in symbols) for axis in (1, 2)
    )
    if on_height and on_width:
        pairs = list(product(FEW_SIDES, repeat=2))
    else:
        pairs = [(side, other) for other in OTHER_SIDES for side in range(1, MOST_PIXELS // other)]
        if not on_height:
            pairs = [(other, side) for side, other in pairs]
    pairs.sort(key=lambda pair: pair[0] * pair[1])
    return [
        Call(BATCHES[at % 2], Size(height=rows, width=columns))
        for at, (rows, columns) in enumerate(pairs)
        if rows * columns <= MOST_PIXELS
    ]
