"""From a recorded graph to a model in ONNX: the smallest opset that has its operators, names, and onnx's checker."""

import re
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from ann.export.capture import AXES, untranslated

OPSET = 18  # the lowest that torch's exporter writes by itself
LARGEST_BYTES = 2 * 10**9  # of one file


def write_model(
    program: ExportedProgram, path: Path, name: str, outputs: list[str], *, opset: int | None
) -> tuple[Any, int]:
    """Write and check a file at the lowest opset that will do; return the model and that opset."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if opset is not None and not OPSET <= opset <= newest:
        known = f"{OPSET} to {newest} (torch's exporter and onnx {onnx.__version__})"
        msg = f"opset must be {known}, got {opset}; pass None for the lowest that will do"
        raise ValueError(msg)
    refusal: ValueError | None = None
    for version in range(OPSET, newest + 1) if opset is None else (opset,):
        model = _translate(program, name, version)
        late = {what: first for what, first in _first_opsets(model).items() if first > version}
        if late and opset is None:
            continue
        _require_opset(name, version, late)
        _name_values(model, program, outputs)
        _save(model, path, name)
        try:
            _check(path, name, version)
        except ValueError as error:  # a later opset may have what is missing
            refusal = refusal or error
        else:
            return model, version
    assert refusal is not None, "the newest opset has all operators"
    raise refusal


def _translate(program: ExportedProgram, name: str, version: int) -> Any:  # noqa: ANN401  # onnx_ir's
    try:
        written = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            opset_version=version,
            custom_translation_table={round: _round_free},  # Python's, of a free size
        )
    except Exception as error:  # of torch, onnxscript and onnx_ir, each with kinds of its own
        msg = f"{name} can't be exported: {untranslated(error)}; write it as others that ONNX has"
        raise ValueError(msg) from error
    assert written is not None, "a dynamo export returns its program"
    model, reached = written.model, written.model.opset_imports[""]
    if reached != version:  # it could not be brought down
        msg = f"{name} can't be exported at opset {version}; the exporter writes opset {reached}, pass opset={reached}"
        raise ValueError(msg)
    return model


def _round_free(number: Any, digits: None = None) -> Any:  # noqa: ANN401, ARG001  # onnx_ir's
    from onnxscript import opset18

    return opset18.Cast(opset18.Round(number), to=7)  # to int64; halves to even in both


def _first_opsets(model: Any) -> dict[str, int]:  # noqa: ANN401
    """The opset with which each operator of a model came; onnx's checker names what is unknown."""
    import onnx
    import onnx_ir as ir

    known: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            known[schema.name] = min(schema.since_version, known.get(schema.name, 10**6))
    nodes = chain.from_iterable(
        ir.traversal.RecursiveGraphIterator(graph)
        for graph in (model.graph, *model.functions.values())
    )
    operators = {node.op_type for node in nodes if node.domain == ""}
    return {operator: known[operator] for operator in operators if operator in known}


def _require_opset(name: str, opset: int, late: dict[str, int]) -> None:
    if late:
        listed = ", ".join(f"{operator} ({first})" for operator, first in sorted(late.items()))
        msg = f"opset {opset} is too low for {name}: it needs {listed}; pass opset={max(late.values())} or None"
        raise ValueError(msg)


def _name_values(model: Any, program: ExportedProgram, outputs: list[str]) -> None:  # noqa: ANN401
    """Name outputs and free axes; an output that is an input or there twice becomes a copy of it."""
    import onnx_ir as ir

    graph = model.graph
    assert len(graph.outputs) == len(outputs), "one value for each tensor that the module returned"
    inner = {value for node in graph for value in node.outputs}
    for at, value in enumerate(graph.outputs):
        if value not in inner or value in graph.outputs[:at]:
            copy = ir.node("Identity", [value])
            copy.outputs[0].shape, copy.outputs[0].type = value.shape, value.type
            graph.append(copy)
            graph.outputs[at] = copy.outputs[0]
    for value in inner - {*graph.outputs}:
        if value.name in outputs:
            value.name = f"{value.name}_inside"
    for value, name in zip(graph.outputs, outputs, strict=True):
        value.name = name
    free = _free_axes(program)
    for value in (*graph.inputs, *graph.outputs, *inner):
        if value.shape is not None and free:
            value.shape = ir.Shape([_renamed(side, free) for side in value.shape])


def _free_axes(program: ExportedProgram) -> dict[str, str]:
    """Torch's names of free axes, as s77, and ours: those of the first input's have no more than their own."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    names: dict[str, str] = {}
    for name in program.graph_signature.user_inputs:
        value = values.get(str(name))
        for axis, side in enumerate(value.shape if isinstance(value, Tensor) else ()):
            if isinstance(side, torch.SymInt):
                own = AXES[axis] if AXES[axis] not in names.values() else f"{name}_{AXES[axis]}"
                names.setdefault(str(side), own)
    return names


def _renamed(side: Any, names: dict[str, str]) -> int | str | None:  # noqa: ANN401  # onnx_ir's
    if isinstance(side, int):
        return side
    return side.value and re.sub(r"\w+", lambda word: names.get(word[0], word[0]), side.value)


def _save(model: Any, path: Path, name: str) -> None:  # noqa: ANN401
    import onnx_ir as ir

    size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    if size > LARGEST_BYTES:
        msg = f"{name} has {size / 1e9:.1f} GB of weights, and one ONNX file holds less than 2 GB; export parts of it"
        raise ValueError(msg)
    ir.save(model, path)


def _check(path: Path, name: str, version: int) -> None:
    import onnx

    errors = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    try:
        onnx.checker.check_model(path, full_check=True)
    except errors as error:
        reason = " ".join(str(error).split())
        msg = f"{name} can't be exported: {_operator_in(reason)}at opset {version} onnx's checker says {reason}"
        raise ValueError(msg) from error


def _operator_in(reason: str) -> str:
    operator = re.search(r"(?:OpType: |op_type:|No Op registered for )(\w+)", reason)
    return f"of {operator[1]} " if operator else ""
