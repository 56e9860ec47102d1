"""The reference of what runs write, from the models that write it: each field's type, unit, default and meaning."""

import ast
import importlib
import inspect
import itertools
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HEAD = """\
# Records

What runs write is JSON, a line for each record, in base units: seconds, bytes, operations. Fields with their default
are left out on file. A field that this page does not name is refused. Made from the models in `bench/records/`.

| file | a line of it is |
|---|---|
| `records.jsonl` | a [Record](#record) |
| `comparisons.jsonl` | a [Comparison](#comparison) |
| `outcome.json` | the [Outcome](#outcome) of the gate, as a whole |
| `errors.jsonl` | [EstimateErrors](#estimateerrors), by `bench.validate` |
"""
UNITS = {
    "_bytes": "bytes",
    "_s": "seconds",
    "seconds": "seconds",
    "_mhz": "MHz",
    "macs": "MACs",
    "flops": "FLOPs",
    "_operations": "operations",
}
# With these as first words of a section: what a reader looks for first.
ROOTS = ("Record", "Comparison", "Outcome", "EstimateErrors", "Fit", "Trials")
NAMES: Mapping[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    type(None): "null",
}


def page(_root: Path) -> str:
    """Write the page."""
    parts = [HEAD]
    for model in models():
        parts.append(f"## {model.__name__}\n\n{inspect.getdoc(model)}\n")
        meanings = field_meanings(model)
        parts += [
            _field(model, name, field, meanings) for name, field in model.model_fields.items()
        ]
    return "\n".join(parts)


def models() -> list[type[Any]]:
    """Those that are written, each followed by the models of its fields."""
    door = importlib.import_module("bench.records")
    ordered: dict[type[Any], None] = {}
    for name in ROOTS:
        _follow(getattr(door, name), ordered)
    return list(ordered)


def _follow(model: type[Any], ordered: dict[type[Any], None]) -> None:
    if model in ordered:
        return
    ordered[model] = None
    for field in model.model_fields.values():
        for part in _parts(field.annotation):
            if hasattr(part, "model_fields"):
                _follow(part, ordered)


def _parts(annotation: object) -> Iterator[Any]:
    yield annotation
    for inner in typing.get_args(annotation):
        yield from _parts(inner)


def field_meanings(model: type[Any]) -> dict[str, str]:
    """The docstring behind each field."""
    (node,) = ast.parse(inspect.getsource(model)).body
    body = node.body if isinstance(node, ast.ClassDef) else []
    meanings = {}
    for field, text in itertools.pairwise([*body, ast.Pass()]):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            meanings[field.target.id] = inspect.cleandoc(str(text.value.value)) if is_text else ""
    return meanings


def _field(model: type[Any], name: str, field: Any, meanings: Mapping[str, str]) -> str:  # noqa: ANN401
    unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "")
    default = (
        ""
        if field.is_required()
        else f", default {_json(field.get_default(call_default_factory=True))}"
    )
    kind = f"{kind_of(field.annotation)}{f', in {unit}' if unit else ''}{default}"
    anchor = f"{model.__name__.lower()}-{name}"
    meaning = re.sub(r"\bNone\b", "null", " ".join(meanings[name].split()))
    return f"`{name}`{{ #{anchor} }} &nbsp; <small>{kind}</small>\n:   {meaning}\n"


def _json(value: object) -> str:
    return "an empty one" if hasattr(type(value), "model_fields") else f"`{json.dumps(value)}`"


def kind_of(annotation: object) -> str:
    """A type in the words of JSON; models lead to their section."""
    arguments = typing.get_args(annotation)
    inner = [
        kind_of(each) for each in arguments if not isinstance(each, str | int | types.EllipsisType)
    ]
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        kind = " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    elif origin in {typing.Union, types.UnionType}:
        kind = " or ".join(inner)
    elif origin is tuple and arguments[-1] is Ellipsis:
        kind = f"list of {inner[0]}"
    elif origin is tuple:
        kind = f"[{', '.join(inner)}]"
    elif origin is dict:
        kind = f"object, each value {inner[1]}"
    else:
        name = getattr(annotation, "__name__", str(annotation))
        kind = NAMES.get(annotation) or f"[{name}](#{name.lower()})"
    return kind
