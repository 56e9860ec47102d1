"""What a module returned: its leaves by their paths, whatever they are wrapped in."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

# What has attributes and is no result of a call.
_CLOSED = (type, nn.Module, ModuleType, FunctionType, BuiltinFunctionType, MethodType)


def tensor_leaves(outputs: object) -> dict[str, Tensor]:
    """All tensors in what a module returned, by their paths: `` of a single one, `['out']`, `[1][0]`, `.logits`.

    They may lie in whatever torch's pytree knows (tuples, lists, dicts, named tuples, and what libraries have
    registered, such as the outputs of transformers), in other mappings and sequences, in dataclasses, and in the
    attributes of any object but a module. A container's tensor that is there twice is there by both paths.
    Nothing is detached, copied or run: real, fake and meta tensors are alike.
    """
    return {path: leaf for path, leaf in leaves(outputs).items() if isinstance(leaf, Tensor)}


def leaves(outputs: object) -> dict[str, object]:
    """All that lies in what a module returned and has no parts, by its path: tensors, numbers, texts, None.

    Of an object that is no container and no dataclass the tensors alone are meant.
    """
    return dict(_walk(outputs, "", (), entered=set()))


def structure(outputs: object) -> str:
    """How what a module returned is built, in words: containers, keys, texts and None; `*` is a tensor or number."""
    return _outline(outputs, ())


def random_factors(output: Tensor) -> Tensor:
    """Random numbers from which a backward pass starts, which all formats hold, the same on every device."""
    drawn = torch.Generator().manual_seed(0)
    return torch.randint(-3, 4, output.shape, generator=drawn).to(output)


def _outline(item: object, above: tuple[int, ...]) -> str:
    if isinstance(item, Tensor | bool | int | float | complex):
        return "*"
    if item is None or isinstance(item, str):
        return repr(item)
    parts = None if id(item) in above else _parts_of_value(item)
    if parts is None:
        return type(item).__name__
    inside = (*above, id(item))
    listed = ", ".join(f"{key}: {_outline(part, inside)}" for key, part in parts)
    return f"{type(item).__name__}({listed})"


def _walk(
    item: object, path: str, above: tuple[int, ...], *, entered: set[int]
) -> Iterator[tuple[str, object]]:
    if isinstance(item, Tensor):
        yield path, item
        return
    if id(item) in above:  # it holds itself
        return
    inside = (*above, id(item))
    parts = _parts_of_value(item)
    if parts is not None:
        for key, part in parts:
            yield from _walk(part, path + key, inside, entered=entered)
        return
    is_closed = isinstance(item, _CLOSED) or id(item) in entered
    attributes = {} if is_closed else _attributes(item)
    entered.add(id(item))  # once, as objects may hold each other in many ways
    tensors: list[tuple[str, object]] = [
        (key, leaf)
        for name, value in attributes.items()
        for key, leaf in _walk(value, f"{path}.{name}", inside, entered=entered)
        if isinstance(leaf, Tensor)
    ]
    yield from tensors or [(path, item)]


def _parts_of_value(item: object) -> list[tuple[str, object]] | None:
    """Parts of a container by their keys; None of what is none."""
    if isinstance(item, str | bytes | bytearray | range):
        return None
    if isinstance(item, Mapping):
        return [(f"[{key!r}]", part) for key, part in item.items()]
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return [(f".{name}", part) for name, part in zip(item._fields, item, strict=True)]
    if isinstance(item, Sequence):
        return [(f"[{at}]", part) for at, part in enumerate(item)]
    if dataclasses.is_dataclass(item) and not isinstance(item, type | nn.Module):
        fields = [field.name for field in dataclasses.fields(item)]
        return [(f".{name}", getattr(item, name)) for name in fields if hasattr(item, name)]
    return _registered_parts(item)


def _registered_parts(item: object) -> list[tuple[str, object]] | None:
    """Parts of what torch's pytree knows; None of what it does not."""

    def is_leaf(part: object) -> bool:
        return part is not item

    try:
        keyed, _ = pytree.tree_flatten_with_path(item, is_leaf=is_leaf)
    except ValueError:  # its parts have no names
        parts = pytree.tree_leaves(item, is_leaf=is_leaf)
        return [(f"[{at}]", part) for at, part in enumerate(parts)]
    is_unknown = len(keyed) == 1 and not keyed[0][0]
    return None if is_unknown else [(pytree.keystr(key), part) for key, part in keyed]


def _attributes(item: object) -> dict[str, object]:
    """Those of the object and its slots, in their order."""
    slots = [
        name
        for each in type(item).__mro__
        for name in _field_names(vars(each).get("__slots__", ()))
        if name not in ("__dict__", "__weakref__") and hasattr(item, name)
    ]
    return {**{name: getattr(item, name) for name in slots}, **getattr(item, "__dict__", {})}


def _field_names(slots: object) -> tuple[str, ...]:
    return (slots,) if isinstance(slots, str) else tuple(slots)  # type: ignore[arg-type]  # names
