"""Somebody's own factory: found by name, and given what it asks for."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from ann.spec import Size
from bench.workloads import find_factory, prepare_call
from experiments.spec import OwnModule

SIZE = Size(width=6, height=5)
PACKAGE = {
    "__init__.py": "from torch import nn\nclass Known(nn.Identity):\n    class Inner(nn.Identity): ...\n",
    "halo.py": "from torch import nn\nclass Halo(nn.Identity): ...\n",
    "ends.py": "raise SystemExit(3)\n",
}


@pytest.fixture
def given(monkeypatch):
    """What a factory is called with, as it is written."""

    def call(factory, text="make"):
        monkeypatch.setitem(sys.modules, "theirs", SimpleNamespace(make=factory))
        subject = OwnModule(factory=f"theirs:{text}", channels=64, key_channels=32)
        return str(prepare_call(subject, SIZE))

    return call


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (lambda channels, key_channels: ..., "make(channels=64, key_channels=32)"),
        (lambda in_channels, rd_channels=None: ..., "make(in_channels=64)"),
        (lambda heads=4, dim=512: ..., "make(dim=64)"),
        (lambda dim=-1: ..., "make()"),
        (lambda in_planes, dim: ..., None),
        (lambda C: ..., "make(C=64)"),
        (lambda c=1.0: ..., "make()"),
        (lambda d_model, channels=3: ..., "make(d_model=64)"),
        (lambda channels, height, width: ..., "make(channels=64, height=5, width=6)"),
        (lambda dim, width: ..., "make(dim=64, width=6)"),
        (lambda dim, width=2: ..., "make(dim=64)"),
        (lambda **options: ..., "make(channels=64, key_channels=32)"),
        (lambda: ..., "make()"),
    ],
)
def test_a_factory_gets_the_channels_by_its_own_name_for_them(given, factory, expected):
    if expected is None:
        with pytest.raises(ValueError, match="make needs dim beside in_planes=64"):
            given(factory)
    else:
        assert given(factory) == expected


@pytest.mark.parametrize(
    ("factory", "text", "expected"),
    [
        (lambda dim, heads=4: ..., "make(dim=32)", "make(dim=32)"),
        (lambda dim, heads=4: ..., "make(32, 2)", "make(32, 2)"),
        (lambda dim, heads=4: ..., "make(heads=2)", "make(heads=2, dim=64)"),
        (lambda dim, height=1: ..., "make(height=9)", "make(height=9, dim=64)"),
        (lambda **options: ..., "make(dim=32)", "make(dim=32)"),
        (
            lambda **options: ...,
            "make(heads=2, key_channels=8)",
            "make(heads=2, key_channels=8, channels=64)",
        ),
    ],
)
def test_what_is_written_wins(given, factory, text, expected):
    assert given(factory, text) == expected


def test_a_class_that_hands_its_arguments_on_is_asked_for_its_bases_names(given):
    class Base(nn.Module):
        def __init__(self, dim, depth=1): ...

    class Handing(Base):
        def __init__(self, **options): ...

    assert given(Handing) == "make(dim=64)"


def test_what_is_missing_is_named_with_what_to_write(given):
    message = "make needs out_channels, kernel_size beside in_channels=64; write --block"
    with pytest.raises(ValueError, match=message) as caught:
        given(nn.Conv2d, "make(stride=2)")
    assert "'theirs:make(stride=2, out_channels=..., kernel_size=...)'" in str(caught.value)


@pytest.mark.parametrize(
    ("factory", "text", "message"),
    [
        (nn.functional.scaled_dot_product_attention, "make", "is built in and has no signature"),
        (nn.functional.softmax, "make", "make takes tensors, so it is no factory"),
        (lambda dim: ..., "make(dims=3)", "unexpected keyword argument 'dims'; make takes dim"),
        (lambda dim: ..., "make(1, 2)", "too many positional arguments"),
        (nn.Identity(), "make(3)", "make is a module already"),
        (3, "make", "it is a int; name a class or a function that returns a torch.nn.Module"),
        (torch.nn, "make", "theirs.make is a module of Python"),
    ],
)
def test_what_is_no_factory_or_takes_no_such_argument_is_said(given, factory, text, message):
    with pytest.raises(ValueError, match=message):
        given(factory, text)


def test_a_module_that_stands_ready_is_a_block(given):
    assert given(nn.Identity()) == "make()"


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "kept_blocks"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield "kept_blocks"
    for name in [name for name in sys.modules if name.startswith("kept_blocks")]:
        del sys.modules[name]


def test_a_class_in_a_class_is_found(package):
    assert find_factory(f"{package}:Known.Inner(3)").__qualname__ == "Known.Inner"


def test_what_a_package_does_not_hand_on_is_found_in_its_modules(package):
    assert find_factory(f"{package}:Halo").__module__ == "kept_blocks.halo"


def test_a_wrong_name_is_told_the_nearest_alone(package):
    with pytest.raises(ValueError, match="has no callable 'Hallo'; did you mean 'Halo'\\?$"):
        find_factory(f"{package}:Hallo")
    with pytest.raises(ValueError, match="torch has no callable 'arrange'") as caught:
        find_factory("torch:arrange")
    assert len(str(caught.value)) < 150


def test_a_module_that_ends_the_process_does_not(package):
    with pytest.raises(ValueError, match="importing 'kept_blocks.ends' raises SystemExit: 3"):
        find_factory(f"{package}.ends:make")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import json\nnope\n",
            r"raises NameError: name 'nope' is not defined \(.*x\.py, line 2\)",
        ),
        ("def block(:\n", r"raises SyntaxError: .*x\.py, line 1\)"),
        ("from json import nope\n", r"raises ImportError: .*x\.py, line 1\)"),
    ],
)
def test_a_module_that_cannot_be_imported_says_why_and_where(text, said, tmp_path, monkeypatch):
    name = f"own_{len(text)}_x"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=f"importing '{name}' {said}; mend it there"):
        find_factory(f"{name}:block")


def test_what_a_module_lacks_is_to_be_installed(tmp_path, monkeypatch):
    (tmp_path / "lacking.py").write_text("import json\nimport none_such.layers\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = (
        r"block 'lacking:make': 'lacking' is there, and 'none_such', which it imports, is not "
        r"\(.*lacking\.py, line 2\); install it beside, as by pip install or uvx --with none_such$"
    )
    with pytest.raises(ValueError, match=said):
        find_factory("lacking:make")


def test_what_a_package_lacks_of_itself_is_to_be_mended(tmp_path, monkeypatch):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "__init__.py").write_text("from half._version import version\n")
    monkeypatch.syspath_prepend(tmp_path)
    said = r"raises ModuleNotFoundError: No module named 'half\._version' \(.*__init__\.py, line 1\); mend it"
    with pytest.raises(ValueError, match=said):
        find_factory("half:make")
