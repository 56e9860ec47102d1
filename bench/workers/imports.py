"""What a process may import where several checkouts of one repository are at hand: from its own alone.

An editable installation puts a checkout on the path of every process, by a line of a `.pth` file or by a finder of its
own; so may an experiment's folder, or a module that changes `sys.path`. Where a process is of one checkout, what is
found in another one is taken from the same place in its own, or is not there. What has come in all the same, as a file
that was loaded by its path, is found out by `Fence.refuse_loaded`.
"""

import json
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Self

VARIABLE = "BENCH_IMPORTS"  # of the environment of a process that has a fence
INSTALLED = ("site-packages", "dist-packages")
ENVIRONMENTS = ("pyvenv.cfg", "conda-meta")  # what is in the folder of an environment


class ForeignModuleError(RuntimeError):
    """A process has loaded a module of another checkout."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fence:
    """Where a process may import from.

    The other checkouts are foreign to it, but for what is shared, and for environments and what is installed in them.
    Without a checkout of its own, nothing stands in for what is foreign.
    """

    own: str = ""  # folder of its checkout
    others: tuple[str, ...] = ()  # folders of other checkouts
    shared: tuple[str, ...] = ()  # files and folders that all may load

    @classmethod
    def of_environment(cls) -> Self:
        """Read the one of this process; one that forbids nothing if it has none."""
        fields = json.loads(os.environ.get(VARIABLE, "{}"))
        return cls(**{name: _tuple(value) for name, value in fields.items()})

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that give it to a process."""
        return {VARIABLE: json.dumps(asdict(self))}

    def other(self, path: str) -> str:
        """The foreign checkout that a path lies in; empty if it may be imported from."""
        return _other(self, path)

    def place(self, path: str) -> str:
        """The path itself, or where a foreign one has its place in the own checkout; empty if it has none."""
        root = self.other(path)
        if not root:
            return path
        moved = Path(self.own, Path(path).resolve().relative_to(root))
        return str(moved) if self.own and moved.exists() and not self.other(str(moved)) else ""

    def put_up(self) -> None:
        """Have this process import from nowhere else, now and later."""
        if not self.others:
            return
        if self.own:  # else a fork will have one, and wants the places
            sys.path[:] = dict.fromkeys(place for path in sys.path if (place := self.place(path)))
        for at, finder in enumerate(sys.meta_path):
            inner = finder.finder if isinstance(finder, FencedFinder) else finder
            sys.meta_path[at] = FencedFinder(inner, self)

    def refuse_loaded(self, modules: Iterable[tuple[str, ModuleType]] | None = None) -> None:
        """Look through all that is loaded.

        Raises:
            ForeignModuleError: a module lies in another checkout; the message has it and both places.
        """
        if not self.others:
            return
        for name, module in list(sys.modules.items() if modules is None else modules):
            for path in _places_of(module):
                if self.other(path):
                    msg = (
                        f"module {name!r} was loaded from {os.path.realpath(path)}, which is not of this revision: "
                        f"that is checked out in {self.own}; import it by its name, from a file that git knows"
                    )
                    raise ForeignModuleError(msg)


class FencedFinder:
    """A finder of `sys.meta_path` without what it finds beyond a fence."""

    def __init__(self, finder: Any, fence: Fence) -> None:  # noqa: ANN401  # classes are finders as well
        self.finder = finder
        self.fence = fence

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self.finder, name)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the finder finds, or its place in the own checkout; None if it has none there."""
        find = getattr(self.finder, "find_spec", None)
        spec = find(name, path, target) if find else None
        return None if spec is None else self._within(spec)

    def _within(self, spec: ModuleSpec) -> ModuleSpec | None:
        given = spec.submodule_search_locations
        kept = (
            None if given is None else [each for path in given if (each := self.fence.place(path))]
        )
        origin = spec.origin if spec.has_location else None
        if origin and self.fence.other(origin):
            moved = self.fence.place(origin)
            return (
                spec_from_file_location(spec.name, moved, submodule_search_locations=kept)
                if moved
                else None
            )
        if given is None or kept == list(given):
            return spec
        if origin:
            spec.submodule_search_locations = kept
            return spec
        if not kept:
            return None
        namespace = ModuleSpec(spec.name, None, is_package=True)
        namespace.submodule_search_locations = kept
        return namespace


@cache
def _other(fence: Fence, path: str) -> str:
    path = os.path.realpath(path)
    roots = [root for root in (fence.own, *fence.others) if root and _is_within(path, root)]
    # A checkout may lie in another one, and an environment in either.
    nearest = max(roots, key=len, default="")
    if nearest in ("", fence.own) or any(_is_within(path, place) for place in fence.shared):
        return ""
    return "" if _is_of_packages(path) else nearest


def _tuple(value: Any) -> Any:  # noqa: ANN401
    return tuple(value) if isinstance(value, list) else value


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _places_of(module: object) -> list[str]:
    """Where a module has come from, a namespace too; nothing for what only looks like one."""
    if not isinstance(module, ModuleType):
        return []
    fields = vars(module)
    spec = fields.get("__spec__")
    origin = spec.origin if isinstance(spec, ModuleSpec) and spec.has_location else None
    found = [fields.get("__file__"), origin]
    with suppress(TypeError, KeyError):  # a namespace whose parent has gone
        found += fields.get("__path__") or ()
    return [path for path in found if isinstance(path, str) and path.startswith(os.sep)]


@cache
def _installed_places() -> tuple[str, ...]:
    """Folders of this interpreter's library, and of what is installed for it."""
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    places = [*(paths[name] for name in names), *site.getsitepackages(), site.getusersitepackages()]
    return tuple(map(os.path.realpath, places))


def _is_of_packages(path: str) -> bool:
    """Whether it lies in an environment's packages or an interpreter's library, as in a `.venv` of the checkout."""
    if any(_is_within(path, place) for place in _installed_places()):
        return True
    # `uv run --with` has an environment beside the one whose packages it adds.
    folders = [each for each in (Path(path), *Path(path).parents) if each.name in INSTALLED]
    return any(
        (above / name).exists()
        for folder in folders
        for above in folder.parents
        for name in ENVIRONMENTS
    )
