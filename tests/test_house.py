"""The house: no circles, rooms entered by their doors, folders to be read at a glance, one name for one thing."""

import ast
import graphlib
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ann", "bench", "experiments", "reports")
# Entered module by module: the library, what users write experiments with, the commands.
OPEN = ("ann", "experiments", "bench", "reports")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
}
ROOMS = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def imported(tree):
    """Modules of ours that a module imports, also inside its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from inner or {node.module} & MODULES.keys()


def defined(tree):
    """Names that a module defines at its top level."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def texts(tree):
    """Texts in a module, those within others too."""
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    yield from (value for value in constants if isinstance(value, str))


@cache
def read():
    """Imports of each module, its names and texts; no tree is kept, for the collector to walk in all other tests."""
    trees = ((name, ast.parse(path.read_bytes())) for name, path in MODULES.items())
    return {
        name: (set(imported(tree)) - {name}, set(defined(tree)), set(texts(tree)))
        for name, tree in trees
    }


def pairs():
    return {(name, other) for name, (others, *_) in read().items() for other in others}


def room(name):
    return name if name in ROOMS else name.rpartition(".")[0]


def test_there_are_no_circles():
    tuple(
        graphlib.TopologicalSorter(
            {name: others for name, (others, *_) in read().items()}
        ).static_order()
    )


def test_rooms_are_entered_by_their_doors():
    inside = {(name, other) for name, other in pairs() if room(other) in (room(name), *OPEN)}
    library = {pair for pair in pairs() if pair[1].startswith(("ann.", "experiments."))}
    assert {pair for pair in pairs() if pair[1] not in ROOMS} - inside - library == set()


def test_reports_are_entered_by_commands_alone_and_by_their_door():
    entered = [pair for pair in pairs() if pair[0][:5] == "bench" and pair[1][:7] == "reports"]
    assert {(room(name), other) for name, other in entered} <= {("bench", "reports")}


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES.values()}))
def test_no_folder_has_more_than_twelve_files(folder):
    assert len(list(folder.glob("*.py"))) <= 12


# The same part in each: of an experiment, a chapter of the report, a program, a probe, a door.
PARTS = set(
    "EXPERIMENT CHAPTER PROGRAM main make parser probe FORMULAS COUNTS __getattr__ _MODULES".split()
)


def test_a_name_stands_for_one_thing():
    names = Counter(name for _, own, _ in read().values() for name in own - PARTS)
    shared = {name: count for name, count in names.items() if count > 1}
    assert sum(shared.values()) <= 0.12 * names.total(), shared


# Of the gate in files for other tools.
TOOL = "bench.regress"


def test_modules_are_named_by_where_they_stand():
    """In a wheel the suite has another name, and there imports alone are told."""
    ours = rf"(?:{'|'.join(PACKAGES[1:])})\.[a-z_.]+"
    wanted = re.compile(rf"{ours}(?::\w*)?|.*\b(?:from|import) {ours}.*")
    named = [
        (name, text)
        for name, (*_, texts) in read().items()
        for text in texts
        if wanted.fullmatch(text) and not text.startswith(TOOL)
    ]
    assert named == []
    assert wanted.fullmatch("bench.run.process:measure_cells")
