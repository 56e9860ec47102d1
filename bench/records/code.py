"""Digest of the code behind a record: the modules that a job imports, and versions of the packages that they import."""

import ast
import hashlib
import importlib.util
import re
import sys
import sysconfig
from collections.abc import Collection, Iterable
from contextlib import suppress
from functools import cache
from importlib.machinery import all_suffixes
from pathlib import Path
from threading import Lock
from typing import NamedTuple

PACKAGES = ("site-packages", "dist-packages")
LIBRARY = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")})
# The suite and its library are read wherever they are, so that a wheel's records name the same code as a clone's.
_TOP = Path(__file__).parents[__name__.count(".")]
OWN = (_TOP / "ann", _TOP / __name__.partition(".")[0])
DIGITS = 12
DEFINITION = re.compile(rb"^(?:class|def)\s+([A-Za-z]\w*)", re.MULTILINE)
# Files beside a module count where one of its texts ends so: it may read them.
DATA = (".csv", ".json", ".toml", ".txt", ".yaml")


def digest(roots: Iterable[str], *, skip: Collection[str] = (), ends: Collection[str] = ()) -> str:
    """Twelve digits that change with what modules do, and with what they import.

    Imports are followed, those in functions too, inside the packages of the roots and wherever a
    module is no installed one; of an installed package the version counts, and the versions of what
    it may use itself. Through an `__init__.py` that only imports, a name leads to its own module.
    Docstrings, comments, messages of errors and the place of a module or line do not count.

    Args:
        roots: names of modules; nothing is imported.
        skip: packages that do not count.
        ends: modules that count, and whose imports do not.
    """
    return _digest(tuple(roots), tuple(skip), tuple(ends))


# A module, and the name that is taken from it, empty for the module itself.
Import = tuple[str, str]


@cache
def _digest(roots: tuple[str, ...], skip: tuple[str, ...], ends: tuple[str, ...]) -> str:
    packages = {name.partition(".")[0] for name in roots}
    waiting, followed, parts = list(roots), set[str](), set[str]()
    while waiting:
        name = waiting.pop()
        top = name.partition(".")[0]
        if name in followed or any(f"{name}.".startswith(f"{package}.") for package in skip):
            continue
        followed.add(name)
        path = _file(name)
        if path is None or (top not in packages and _is_installed(path)):
            parts.update(_versions(top))
            continue
        module = _read(path, name)
        parts.add(module.content)
        waiting += map(_provider, module.imports if name not in ends else ())
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:DIGITS]


@cache
def definitions(package: str) -> dict[str, tuple[str, ...]]:
    """Functions and classes that the modules right in a package define, with these modules; nothing is imported."""
    path = _file(package)
    modules: dict[str, tuple[str, ...]] = {}
    if path is None or path.name != "__init__.py":
        return modules
    for file in sorted(path.parent.glob("*.py")):
        if file == path:
            continue
        for name in dict.fromkeys(DEFINITION.findall(file.read_bytes())):
            modules[name.decode()] = (*modules.get(name.decode(), ()), f"{package}.{file.stem}")
    return modules


# CPython 3.11 counts the depth of all threads' trees in one place: a collection that lets another thread parse in the
# middle of a tree ends in a SystemError.
_PARSING = Lock()


class _Module(NamedTuple):
    content: str
    imports: tuple[Import, ...]
    provides: dict[str, Import]  # names that it only hands on


@cache
def _file(name: str) -> Path | None:
    """File of a module, None where it has none; no parent is imported."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):  # of a module without a spec, as `__main__`
        return None
    if spec is None:
        return None
    if not rest:
        return Path(spec.origin) if spec.has_location and spec.origin else None
    for folder in spec.submodule_search_locations or ():
        base = Path(folder, *rest)
        places = (base / "__init__.py", *(Path(f"{base}{end}") for end in all_suffixes()))
        if path := next(filter(Path.is_file, places), None):
            return path
    return None


def _is_installed(path: Path) -> bool:
    if any(path.is_relative_to(folder) for folder in OWN):
        return False
    is_there = any(path.is_relative_to(folder) for folder in LIBRARY)
    return is_there or not set(PACKAGES).isdisjoint(path.parts)


def is_standard(path: Path) -> bool:
    """Whether a file is of Python's standard library."""
    is_there = path.is_relative_to(sysconfig.get_path("stdlib"))
    return is_there and set(PACKAGES).isdisjoint(path.parts)


@cache
def _read(path: Path, name: str) -> _Module:
    source = path.read_bytes()
    try:
        with _PARSING:
            tree = ast.parse(source)
    except (SyntaxError, ValueError):  # compiled, or an import of it says what is wrong
        return _Module(hashlib.sha256(source).hexdigest(), (), {})
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    imports: list[Import] = []
    provides: dict[str, Import] = {}
    texts: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            texts += [node.value] if isinstance(node.value, str) else []
        elif isinstance(node, ast.Import):
            imports += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            taken = {alias: (_absolute(node, package), alias.name) for alias in node.names}
            provides |= {alias.asname or alias.name: pair for alias, pair in taken.items()}
            imports += taken.values()
    is_door = path.name == "__init__.py" and all(map(_is_wording, tree.body))
    endings = {ending for ending in DATA if any(text.endswith(ending) for text in texts)}
    content = hashlib.sha256(ast.dump(_Meaning().visit(tree), annotate_fields=False).encode())
    for file in sorted(path.parent.iterdir()) if endings else ():
        content.update(file.read_bytes() if file.suffix in endings else b"")
    return _Module(content.hexdigest(), tuple(dict.fromkeys(imports)), provides if is_door else {})


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    above = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*above, *filter(None, [node.module])])


def _provider(imported: Import) -> str:
    """Module that an import leads to, through `__init__.py` that only hand on."""
    passed: set[Import] = set()
    while imported not in passed:  # packages may import each other
        passed.add(imported)
        base, name = imported
        if name and _file(f"{base}.{name}") is not None:
            return f"{base}.{name}"
        path = _file(base)
        if path is None or _is_installed(path) or path.name != "__init__.py":
            break
        imported = _read(path, base).provides.get(name, imported)
    return imported[0]


def _is_wording(node: ast.stmt) -> bool:
    """Whether a statement imports, or tells what something is: what a door consists of."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return isinstance(node.value.value, str)
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_message(node: ast.stmt) -> bool:
    targets = node.targets if isinstance(node, ast.Assign) else []
    return [getattr(target, "id", "") for target in targets] == ["msg"]


class _Meaning(ast.NodeTransformer):
    """Leaves out imports, docstrings and the texts of errors, which stand in `msg`."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Filter every list of statements."""
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if isinstance(block, list):
                kept = [each for each in block if not (_is_wording(each) or _is_message(each))]
                setattr(node, field, kept)
        return super().generic_visit(node)


@cache
def _versions(package: str) -> tuple[str, ...]:
    """Versions of an installed package and of what it may use, such as opt_einsum behind torch."""
    if package in sys.stdlib_module_names:
        return ()
    from importlib import metadata  # not for --help

    try:
        names = [metadata.distribution(package).name]
    except metadata.PackageNotFoundError:
        names = list(metadata.packages_distributions().get(package, ()))
    needs = [need for name in names for need in metadata.requires(name) or ()]
    versions = []
    for name in (*names, *(re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs)):
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name.lower()} {metadata.version(name)}")
    return tuple(versions)
