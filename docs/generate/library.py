"""The reference of what is imported by name, from signatures and docstrings; nothing is imported for it."""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

HEAD = """\
# Python interface

What a program may import and rely on; everything else may move. `ann` is the library of blocks and networks, and needs
torch; `experiments` describes what the suite is to measure, and loads without it.

```python
from ann import build, checkpoints

block = build.block("apnb", channels=512, key_channels=256)
```

Names of blocks are the keys of `ann.catalogue.BLOCKS`, names of networks those of `ann.catalogue.NETWORKS`.
"""
PUBLIC: Mapping[str, tuple[str, ...]] = {
    "ann.build": ("block", "network", "block_names", "network_names", "block_spec", "network_spec"),
    "ann.checkpoints": ("load", "read", "to_layout", "Loaded"),
    "ann.fast": ("optimize",),
    "ann.export": ("to_onnx", "Exported"),
    "ann.spec": ("BlockSpec", "NetworkSpec", "Size"),
    "experiments.spec": ("Experiment", "Measurement", "OwnModule"),
    "experiments.training": ("cells", "Setting"),
}
REMARKS = {"Measurement": "Experiments in files of their own call it `Cell`."}
LONGEST = 80
Definition = ast.FunctionDef | ast.ClassDef


def page(root: Path) -> str:
    """Write the page."""
    parts = [HEAD]
    for module, names in PUBLIC.items():
        parts.append(f"## {module}\n")
        for name in names:
            source, node = find(root, module, name)
            parts += _entry(module, name, source, node)
    return "\n".join(parts)


def find(root: Path, module: str, name: str) -> tuple[str, Definition]:
    """The source of the file that defines a name, and the definition; imports of a door are followed."""
    place = root.joinpath(*module.split("."))
    path = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    source = path.read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, Definition) and node.name == name:
            return source, node
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            return find(root, str(node.module), name)
    msg = f"{module} has no {name!r}; take it out of PUBLIC in {__file__}"
    raise ValueError(msg)


def _entry(module: str, name: str, source: str, node: Definition) -> Iterator[str]:
    yield f"### {name} {{ #{module.replace('.', '-')}-{name} }}\n"
    if isinstance(node, ast.FunctionDef):
        yield f"```python\n{signature(node)}\n```\n"
        yield _prose(node)
        return
    yield _prose(node)
    if name in REMARKS:
        yield f"{REMARKS[name]}\n"
    yield f"```python\n{_fields(source, node)}\n```\n"
    for method in node.body:
        if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
            yield f"`{_call(method)}`\n:   {ast.get_docstring(method, clean=True) or ''}\n".replace(
                "\n\n", "\n\n    "
            )


def _call(method: ast.FunctionDef) -> str:
    if any(isinstance(mark, ast.Name) and mark.id == "property" for mark in method.decorator_list):
        return method.name
    arguments = ast.unparse(method.args)
    return f"{method.name}({re.sub(r'^(self|cls)(, )?', '', arguments)})"


def signature(node: ast.FunctionDef) -> str:
    """Of a function, one argument a line where it is long."""
    whole = (
        f"{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}"
        if node.returns
        else node.name
    )
    if len(whole) <= LONGEST:
        return whole
    lines = []
    given = node.args
    usual = [None] * (len(given.args) - len(given.defaults)) + list(given.defaults)
    lines += [_argument(*pair) for pair in zip(given.args, usual, strict=True)]
    if given.kwonlyargs:
        lines.append("*")
        lines += [
            _argument(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)
        ]
    if given.kwarg:
        lines.append(f"**{_argument(given.kwarg, None)}")
    inner = "".join(f"    {line},\n" for line in lines)
    return f"{node.name}(\n{inner}) -> {ast.unparse(node.returns)}" if node.returns else node.name


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    return f"{argument.arg}{kind}{f' = {ast.unparse(default)}' if default else ''}"


def _fields(source: str, node: ast.ClassDef) -> str:
    """The fields of a class and its bases as they stand in the source, with their comments."""
    above = [_fields(source, base) for base in ast.parse(source).body
             if isinstance(base, ast.ClassDef) and base.name in map(ast.unparse, node.bases)]  # fmt: skip
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    behind = [each for each in node.body if each.lineno > fields[-1].end_lineno]  # type: ignore[operator]
    first = node.body[0].end_lineno if ast.get_docstring(node) else node.lineno
    last = min((_begin(each) for each in behind), default=(node.end_lineno or 0) + 1) - 1
    text = "\n".join(source.splitlines()[first:last])
    return "\n".join([*above, inspect.cleandoc(f"\n{text}").strip()])


def _begin(node: ast.stmt) -> int:
    marks = getattr(node, "decorator_list", [])
    return min([node.lineno, *(mark.lineno for mark in marks)])


def _prose(node: Definition) -> str:
    """A docstring in Google's form as Markdown: arguments become a list."""
    text = ast.get_docstring(node, clean=True) or ""
    lines: list[str] = []
    inside = ""
    for line in text.splitlines():
        if head := re.fullmatch(r"(Args|Returns|Raises|Yields):", line):
            inside = {"Args": "Arguments"}.get(head[1], head[1])
            lines += [f"**{inside}**", ""]
        elif inside in {"Arguments", "Raises"} and (item := re.fullmatch(r" {4}(\w+): (.*)", line)):
            lines.append(f"- `{item[1]}`: {item[2]}")
        elif inside:
            lines.append(
                f"  {line.strip()}" if line.strip() and inside != "Returns" else line.strip()
            )
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"
