"""The digest of code: what changes it, and what does not."""

import ast
import textwrap

import pytest

from bench.records import code

BLOCKS = '''
"""Blocks."""
from mine.layers import width

def make(channels):
    """Make one."""
    # with care
    if channels < 1:
        msg = "no channels"
        raise ValueError(msg)
    return width(channels)
'''


@pytest.fixture(autouse=True)
def _fresh():
    forget()
    yield
    forget()


def forget():
    for known in (code._digest, code._file, code._read, code._versions):
        known.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Somebody's package `mine`; give it files, get the digest of `mine.blocks`."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine").mkdir()

    def write(**files):
        for name, text in files.items():
            (tmp_path / "mine" / f"{name}.py").write_text(textwrap.dedent(text))
        forget()
        return code.digest(["mine.blocks"])

    write(__init__="", layers="def width(channels): return channels\n", blocks=BLOCKS)
    return write


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Make one", "Make a block"),
        ("# with care", "# with the greatest care"),
        ("no channels", "it has no channels"),
        ('"""Blocks."""', '"""Blocks."""\nimport math\n\n'),
    ],
    ids=["docstring", "comment", "message", "imports and lines"],
)
def test_wording_and_place_do_not_count(package, text, other):
    assert package(blocks=BLOCKS.replace(text, other)) == package(blocks=BLOCKS)


def test_what_is_done_counts(package):
    assert package(blocks=BLOCKS.replace("< 1", "< 2")) != package(blocks=BLOCKS)


def test_another_file_of_the_package_counts(package):
    before = package()
    assert package(layers="def width(channels): return 2 * channels\n") != before


def test_an_import_inside_a_function_is_followed(package):
    text = "def make():\n    from mine import late\n    return late.ONE\n"
    assert package(blocks=text, late="ONE = 1\n") != package(blocks=text, late="ONE = 2\n")


def test_a_relative_import_is_followed(package):
    text = "from .layers import width\n"
    before = package(blocks=text)
    assert package(layers="def width(channels): return 0\n") != before


def test_a_neighbour_that_is_no_part_of_the_package_is_followed(package, tmp_path):
    text = "import beside\n"
    (tmp_path / "beside.py").write_text("ONE = 1\n")
    before = package(blocks=text)
    (tmp_path / "beside.py").write_text("ONE = 2\n")
    assert package() != before


def test_a_move_changes_nothing(package):
    before = package()
    text = BLOCKS.replace("mine.layers", "mine.widths")
    assert package(blocks=text, widths="def width(channels): return channels\n") == before


def test_through_a_door_a_name_leads_to_its_own_module_alone(package, tmp_path):
    (tmp_path / "mine" / "room").mkdir()
    files = {
        "room/__init__": '"""A room."""\nfrom mine.room.a import one\nfrom mine.room.b import two\n',
        "room/a": "one = 1\n",
        "room/b": "two = 2\n",
        "blocks": "from mine.room import one\n",
    }
    before = package(**files)
    assert package(**{"room/b": "two = 3\n"}) == before
    assert package(**{"room/a": "one = 3\n"}) != before


def test_packages_that_import_each_other_are_followed(package, tmp_path):
    (tmp_path / "mine" / "room").mkdir()
    files = {
        "__init__": "from mine.room import two\nfrom mine.layers import width\n",
        "room/__init__": "from mine import width\nfrom mine.room.b import two\n",
        "room/b": "two = 2\n",
        "blocks": "from mine import two, width\n",
    }
    before = package(**files)
    assert package(layers="def width(channels): return 0\n") != before


def test_a_package_of_an_interpreter_below_counts_by_its_version(package, tmp_path, monkeypatch):
    place = tmp_path / "elsewhere" / "site-packages"
    (place / "below_of_tests").mkdir(parents=True)
    (place / "below_of_tests" / "__init__.py").write_text("ONE = 1\n")
    monkeypatch.syspath_prepend(place)
    before = package(blocks="import below_of_tests\n")
    (place / "below_of_tests" / "__init__.py").write_text("ONE = 2\n")
    assert package() == before


def test_data_that_a_module_may_read_count(package, tmp_path):
    before = package(blocks="NAMES = open(__file__.replace('blocks.py', 'names.csv')).read()\n")
    (tmp_path / "mine" / "names.csv").write_text("one\n")
    assert package() != before


def test_a_file_that_is_no_python_counts_as_it_is(package):
    assert package(blocks="def (\n") != package(blocks="def )\n")


@pytest.fixture
def library(tmp_path, monkeypatch):
    """An installed package `lib_of_tests`, which may use `helper-of-tests`; call it to install a version of either."""
    place = tmp_path / "site"
    monkeypatch.syspath_prepend(place)
    monkeypatch.setattr(code, "LIBRARY", (place,))

    def install(name, version, *, needs=""):
        (place / name).mkdir(parents=True, exist_ok=True)
        (place / name / "__init__.py").touch()
        for old in place.glob(f"{name}-*"):
            (old / "METADATA").unlink()
            old.rmdir()
        info = place / f"{name}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        (info / "METADATA").write_text("\n".join([*lines, *filter(None, [needs])]) + "\n")

    install("lib_of_tests", "1", needs="Requires-Dist: helper_of_tests>=1; extra == 'fast'")
    return install


def test_the_version_of_an_imported_package_counts(package, library):
    text = "import lib_of_tests.layers\n"
    before = package(blocks=text)
    library("lib_of_tests", "2")
    assert package() != before


def test_what_an_imported_package_uses_where_it_is_installed_counts(package, library):
    before = package(blocks="import lib_of_tests\n")
    library("helper_of_tests", "1")
    assert package() != before


def test_code_that_is_not_imported_does_not_count(package, library):
    before = package(blocks="ONE = 1\n")
    library("lib_of_tests", "2")
    assert package(layers="def width(channels): return 0\n") == before


def test_nothing_is_imported(package):
    package(__init__="raise RuntimeError\n", blocks="raise RuntimeError\n")


def test_threads_parse_one_at_a_time(tmp_path, monkeypatch):
    parse, locked = ast.parse, []
    monkeypatch.setattr(
        ast, "parse", lambda text: (locked.append(code._PARSING.locked()), parse(text))[1]
    )
    (tmp_path / "module.py").write_text("x = 1")
    code._read(tmp_path / "module.py", "module")
    assert locked == [True]
    assert not code._PARSING.locked()
