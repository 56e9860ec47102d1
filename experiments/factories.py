"""Somebody's own factory as it is written: `package.module:factory`, or a call of it with literals as arguments."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

HOW = "write package.module:factory, or package.module:factory(dim=64) with literals as arguments"


@dataclass(frozen=True, slots=True)
class Factory:
    """Where a factory is, and the arguments that are written behind it.

    `names` lead from the module to it: more than one where it stands in a class.
    """

    module: str
    names: tuple[str, ...]
    args: tuple[object, ...] = ()
    kwargs: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


def split_implementation(text: str) -> tuple[str, str | None]:
    """Split `module:factory:IMPLEMENTATION` or `module:factory(...):IMPLEMENTATION` before its last colon.

    None where no implementation is written; colons in the arguments are theirs.
    """
    module, _, rest = text.partition(":")
    call, bracket, way = rest.rpartition(")")
    if "(" in rest:
        is_split = bracket and way.startswith(":")
        return (f"{module}:{call})", way[1:]) if is_split else (text, None)
    name, colon, way = rest.partition(":")
    return f"{module}:{name}", way if colon else None


def read_factory(text: str) -> Factory:
    """Read `package.module:factory`, `package.module:Outer.inner` or a call of either, without an implementation.

    Nothing is imported or run: arguments are literals (numbers, texts, tuples, lists, dicts, sets, True, False, None).

    Raises:
        ValueError: it is written in another way.
    """
    module, _, rest = text.partition(":")
    if not all(map(str.isidentifier, module.split("."))):
        msg = f"block {text!r}: {module!r} is no name of a module; {HOW}"
        raise ValueError(msg)
    try:
        node: ast.expr = ast.parse(rest.strip(), mode="eval").body
        args, kwargs = _arguments(node) if isinstance(node, ast.Call) else ((), {})
        names = _dotted_names(node.func if isinstance(node, ast.Call) else node)
    except SyntaxError as error:
        msg = f"block {text!r}: {rest!r} can't be read ({error.msg}); {HOW}"
        raise ValueError(msg) from error
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        msg = f"block {text!r}: {reason}; {HOW}"
        raise ValueError(msg) from error
    return Factory(module, names, args, MappingProxyType(kwargs))


def _dotted_names(node: ast.expr) -> tuple[str, ...]:
    if isinstance(node, ast.Attribute):
        return (*_dotted_names(node.value), node.attr)
    if isinstance(node, ast.Name):
        return (node.id,)
    msg = f"{ast.unparse(node)!r} is no name of a factory"
    raise ValueError(msg)


def _arguments(node: ast.Call) -> tuple[tuple[object, ...], dict[str, object]]:
    kwargs: dict[str, object] = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in kwargs:
            msg = f"{ast.unparse(node)!r} has ** or a name twice"
            raise ValueError(msg)
        kwargs[keyword.arg] = _literal(keyword.value)
    return tuple(map(_literal, node.args)), kwargs


def _literal(node: ast.expr) -> object:
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        msg = f"argument {ast.unparse(node)} is no literal"
        raise ValueError(msg) from error
