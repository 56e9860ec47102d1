"""What a process of one checkout imports where another one is on its path: nothing from there."""

import importlib
import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from bench.workers import Fence, ForeignModuleError, ForkServer, Worker, can_fork

ROOT = Path(__file__).resolve().parents[3]
ANSWER = "tests.bench.workers.answering:import_of_checkout"


@pytest.fixture
def checkouts(tmp_path, monkeypatch):
    """Two checkouts, of which `theirs` alone has some modules; what is imported is forgotten."""
    for root in ("own", "theirs"):
        package = tmp_path / root / "lib" / "fenced_package"
        package.mkdir(parents=True)
        for name in ("fenced_both.py", "lib/fenced_package/__init__.py", "lib/fenced_package/a.py"):
            (tmp_path / root / name).touch()
    for name in ("fenced_new.py", "lib/fenced_package/b.py", "lib/fenced_namespace/c.py"):
        (tmp_path / "theirs" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "theirs" / name).touch()
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield tmp_path / "own", tmp_path / "theirs"
    for name in [name for name in sys.modules if name.startswith("fenced_")]:
        del sys.modules[name]


def fence_of(checkouts):
    own, theirs = map(str, checkouts)
    return Fence(own=own, others=(theirs,))


class Redirecting:
    """A finder as editable installations have: it knows the places of some packages."""

    def __init__(self, places):
        self.places = places

    def find_spec(self, name, path=None, target=None):
        if name not in self.places:
            return PathFinder.find_spec(name, path) if path else None
        place = self.places[name]
        if place.is_file():
            return importlib.util.spec_from_file_location(name, place)
        return importlib.util.spec_from_file_location(
            name, place / "__init__.py", submodule_search_locations=[str(place)]
        )


def by_path_before(theirs):
    sys.path += [str(theirs), str(theirs / "lib")]


def by_finder(theirs):
    places = {name: theirs / f"{name}.py" for name in ("fenced_both", "fenced_new")}
    sys.meta_path.append(
        Redirecting({**places, "fenced_package": theirs / "lib" / "fenced_package"})
    )


@pytest.mark.parametrize("installed", [by_path_before, by_finder])
def test_what_another_checkout_has_is_taken_from_the_own_one_or_not_there(checkouts, installed):
    own, theirs = checkouts
    installed(theirs)
    assert importlib.util.find_spec("fenced_new") is not None
    fence_of(checkouts).put_up()
    for name in ("fenced_new", "fenced_package.b", "fenced_namespace"):
        assert importlib.util.find_spec(name) is None
    for name, file in (
        ("fenced_both", "fenced_both.py"),
        ("fenced_package.a", "lib/fenced_package/a.py"),
    ):
        assert importlib.import_module(name).__file__ == str(own / file)


def test_what_is_put_on_the_path_later_is_beyond_the_fence_too(checkouts):
    own, theirs = checkouts
    fence_of(checkouts).put_up()
    by_path_before(theirs)
    assert importlib.util.find_spec("fenced_new") is None
    assert importlib.util.find_spec("fenced_namespace") is None
    assert importlib.import_module("fenced_both").__file__ == str(own / "fenced_both.py")


def test_of_a_namespace_the_portions_of_the_own_checkout_are_left(checkouts):
    own, theirs = checkouts
    (own / "fenced_namespace").mkdir()
    fence_of(checkouts).put_up()
    sys.path += [str(theirs / "lib"), str(own)]
    assert list(importlib.import_module("fenced_namespace").__path__) == [
        str(own / "fenced_namespace")
    ]


def test_a_file_that_was_loaded_by_its_path_is_found_out(checkouts):
    own, theirs = checkouts
    fence = fence_of(checkouts)
    spec = importlib.util.spec_from_file_location("fenced_new", theirs / "fenced_new.py")
    sys.modules["fenced_new"] = importlib.util.module_from_spec(spec)
    with pytest.raises(ForeignModuleError) as error:
        fence.refuse_loaded()
    assert all(text in str(error.value) for text in ("'fenced_new'", f"{theirs}/", str(own)))


def test_what_is_loaded_here_is_no_other_checkouts(checkouts):
    fence_of(checkouts).refuse_loaded()


def test_a_link_leads_to_where_it_leads(checkouts, tmp_path):
    own, theirs = checkouts
    fence = fence_of(checkouts)
    for name, root in (("a", own), ("b", theirs)):
        (tmp_path / name).symlink_to(root)
    assert fence.other(f"{tmp_path}/a/fenced_both.py") == ""
    assert fence.other(f"{tmp_path}/b/fenced_new.py") == str(theirs)


@pytest.mark.parametrize("mark", ["pyvenv.cfg", "conda-meta"])
def test_an_environment_in_a_checkout_may_be_imported_from(checkouts, mark):
    _, theirs = checkouts
    packages = theirs / ".venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (theirs / ".venv" / mark).touch()
    assert fence_of(checkouts).place(str(packages)) == str(packages)
    assert fence_of(checkouts).place(str(packages / "torch.py")) == str(packages / "torch.py")


def test_a_folder_of_packages_that_is_no_environment_is_its_checkouts(checkouts):
    _, theirs = checkouts
    assert fence_of(checkouts).place(str(theirs / "third" / "site-packages")) == ""


def test_a_checkout_within_another_one_is_itself(checkouts):
    own, theirs = checkouts
    inner = str(theirs / "trees" / "mine")
    assert Fence(own=inner, others=(str(theirs),)).other(f"{inner}/x.py") == ""
    assert Fence(own=str(theirs), others=(inner, str(own))).other(f"{inner}/x.py") == inner


def test_what_is_shared_may_be_imported_from(checkouts):
    _, theirs = checkouts
    fence = Fence(own="/nowhere", others=(str(theirs),), shared=(str(theirs / "bench"),))
    assert fence.other(f"{theirs}/bench/run.py") == ""
    assert fence.other(f"{theirs}/benchmarks/run.py") == str(theirs)


def variables_of(fence, theirs):
    """As with an editable installation: the other checkout is behind all else on the path."""
    path = os.pathsep.join(map(str, (ROOT, theirs)))
    return {**os.environ, "PYTHONPATH": path, **fence.variables}


def asked(checkouts, **how):
    own, theirs = checkouts
    variables = variables_of(fence_of(checkouts), theirs)
    found = []
    for name in ("fenced_new", "fenced_both"):
        with Worker(ANSWER, variables=variables, folder=own, **how) as worker:
            found.append(worker.ask(name, limit_s=60))
    return found


def test_a_process_has_its_fence_from_its_first_import_on(checkouts):
    own, _ = checkouts
    assert asked(checkouts, python=sys.executable) == ["not there", str(own / "fenced_both.py")]


@pytest.mark.skipif(not can_fork(), reason="forks are watched under Linux since 5.3")
def test_a_fork_has_a_fence_of_its_own(checkouts):
    own, theirs = checkouts
    both = Fence(others=tuple(map(str, checkouts)))
    # What the server loads is no side's.
    modules = ("fenced_new", "fenced_both")
    variables = variables_of(both, theirs)
    with ForkServer(modules, python=sys.executable, variables=variables) as server:
        assert asked(checkouts, server=server) == ["not there", str(own / "fenced_both.py")]
