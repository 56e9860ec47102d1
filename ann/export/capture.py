"""From a module to a graph of torch's operators, with sizes fixed or free, and the names of what it returns."""

import inspect
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import ConstantArgument, OutputKind, TensorArgument
from torch.utils import _pytree as pytree

from ann.export.pooling import POOLING

AXES = ("batch", "channels", "height", "width")
Axes = dict[int, Any]
FREE_MAPS: Axes = {2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
FREE_BATCH: Axes = {0: Dim.DYNAMIC, **FREE_MAPS}
INSTEAD = "export it for one size (dynamic=False)"
# A file multiplies sizes in float32, torch in float64: alike for sizes times whole numbers of such parts.
EXACT = 2**10


@contextmanager
def inference(module: nn.Module) -> Iterator[None]:
    """Set a module to eval, and each part back to its mode at the end."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def capture(
    module: nn.Module, inputs: tuple[Tensor, ...], *, free: Axes | None = None
) -> ExportedProgram:
    """Record a module's operators, adaptive pooling as those that ONNX has, for the axes of maps that are `free`.

    Raises:
        ValueError: what it does can't be recorded, goes for one height or width alone, or depends on earlier calls.
    """
    name = type(module).__name__
    # Torch marks free axes on tensors and leaves the marks: the caller's own would refuse an export for one size.
    inputs = tuple(x.detach().clone() for x in inputs)
    if free is not None:
        _require_maps(inputs, name)
    if free is not None and 0 in free:
        # An axis of 1 would be taken for one that is 1 in every call.
        inputs = tuple(torch.cat([x, x]) if len(x) == 1 else x for x in inputs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch 2.11's, about its own code
            spec = _parameters_of(module, inputs)
            shapes = free and pytree.tree_unflatten([free] * len(inputs), spec)
            program = torch.export.export(module, inputs, dynamic_shapes=shapes)
            program = program.run_decompositions(POOLING)
    except Exception as error:  # user code runs in there, and torch has many kinds of its own
        reason = _first_line(error)
        msg = f"{name} can't be exported: {reason}; write what it names in torch's operators on tensors"
        if free is not None:
            msg = f"{name} can't be exported with free height and width: {reason}; {INSTEAD}"
        raise ValueError(msg) from error
    _require_exact_sizes(program, name)
    _require_no_memory(program, name)
    return program


def _require_exact_sizes(program: ExportedProgram, name: str) -> None:
    """Refuse sizes that are products with a number such as 0.29: floor(100 * 0.29) is 28 in torch, 29 in a file."""
    import sympy

    for node in program.graph.nodes:
        value = node.meta.get("val")
        sizes = value.shape if isinstance(value, Tensor) else (value,)
        for size in sizes:
            if not isinstance(size, torch.SymInt):
                continue
            for factor in size.node.expr.atoms(sympy.Float):
                if (factor * EXACT) % 1 != 0:
                    msg = (
                        f"{name} can't be exported with free height and width: it makes a size by the factor "
                        f"{float(factor):g}, which a file rounds otherwise than torch; pass the size itself (size=), "
                        f"take a factor such as 0.5, or {INSTEAD}"
                    )
                    raise ValueError(msg)


def _require_no_memory(program: ExportedProgram, name: str) -> None:
    """Refuse outputs that depend on a buffer which the module changes: a file has no memory of earlier calls."""
    signature = program.graph_signature
    nodes = {node.name: node for node in program.graph.nodes}
    changed = {*signature.buffers_to_mutate.values()}
    returned = [each for each in signature.output_specs if each.kind is OutputKind.USER_OUTPUT]
    waiting = [nodes[each.arg.name] for each in returned if isinstance(each.arg, TensorArgument)]
    seen = set()
    while waiting:
        node = waiting.pop()
        buffer = signature.inputs_to_buffers.get(node.name)
        if buffer in changed:
            msg = (
                f"{name} can't be exported: it changes its buffer {buffer!r} in inference, and what it returns "
                "depends on earlier calls, of which a file knows nothing; leave the buffer as it is in eval"
            )
            raise ValueError(msg)
        waiting.extend(each for each in node.all_input_nodes if each not in seen)
        seen.update(node.all_input_nodes)


def input_shapes(program: ExportedProgram) -> list[torch.Size]:
    """Shapes of a module's inputs, with symbols for free axes."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    return [values[str(name)].shape for name in program.graph_signature.user_inputs]


def _require_maps(inputs: tuple[Tensor, ...], name: str) -> None:
    if not inputs or any(x.dim() != 4 for x in inputs):
        given = ", ".join(str(tuple(x.shape)) for x in inputs)
        msg = f"free height and width are of maps (n, c, h, w), {name} gets {given}; {INSTEAD}"
        raise ValueError(msg)


def _parameters_of(module: nn.Module, inputs: tuple[Tensor, ...]) -> pytree.TreeSpec:
    """How torch groups inputs: one by one, those of a star together."""
    parameters = list(inspect.signature(module.forward).parameters.values())
    for at, parameter in enumerate(parameters):
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            return pytree.tree_structure((*inputs[:at], inputs[at:]))
    return pytree.tree_structure(inputs)


def output_names(program: ExportedProgram) -> list[str]:
    """Name each tensor that a module returned by its path: `output` of a single one, `aux.0` of a list in a dict.

    What is None has no name; numbers and texts can't be in a file.

    Raises:
        ValueError: an output is a number, a size or a text.
    """
    arguments = [
        spec.arg
        for spec in program.graph_signature.output_specs
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    spec = program.call_spec.out_spec
    assert spec is not None, "torch.export says how outputs are built"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        numbered = pytree.tree_unflatten(list(range(len(arguments))), spec)
        keyed, _ = pytree.tree_flatten_with_path(numbered)
    inputs = {*program.graph_signature.user_inputs}
    names: list[str] = []
    for (keys, _), argument in zip(keyed, arguments, strict=True):
        name = ".".join(_key(key) for key in keys) or "output"
        if isinstance(argument, TensorArgument):
            taken = {*inputs, *names}
            while name in taken:
                name += "_"
            names.append(name)
        elif not isinstance(argument, ConstantArgument) or argument.value is not None:
            what = repr(argument.value) if isinstance(argument, ConstantArgument) else "a free size"
            msg = f"output {name!r} is {what}, and a file returns tensors alone; return a tensor there"
            raise ValueError(msg)
    return names


def _key(key: Any) -> str:  # noqa: ANN401  # of one of pytree's kinds
    return str(next(getattr(key, at) for at in ("key", "idx", "name") if hasattr(key, at)))


def untranslated(error: BaseException) -> str:
    """Say at which operator torch's exporter stopped, or why."""
    cause: BaseException | None = error
    deepest = error
    while cause is not None:
        if named := re.search(r"\[target=(?:torch\.ops\.)?([\w.]+?)(?:\.default)?\]", str(cause)):
            return f"there is no translation of {named[1]} to ONNX"
        if named := re.search(r"for node '\w*' \(::(\w+)\)", str(cause)):
            return f"the exporter fails at {named[1]}"
        deepest, cause = cause, cause.__cause__
    return _first_line(deepest)


def _first_line(error: BaseException) -> str:
    """What torch says in one line; of a free axis that became a number, which axis and number."""
    text = str(error)
    axis = re.search(r"marked L\[(.+?)\]\.size\(\)\[(\d)\] as dynamic", text)
    number = re.search(r"specialized it to be a constant \((\d+)\)", text)
    if axis and number:
        place = axis[1].strip("'")
        return f"the module makes a number, {number[1]}, of the {AXES[int(axis[2])]} of {place!r}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}".rstrip(".: ")
