"""The reference is made from the code: nothing is missing in it, and it reads as text."""

import importlib
import os
import re
import runpy
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bench.records import Model

ROOT = Path(__file__).resolve().parents[1]
# Models that are part of no file of records.
APART = {"CallsAgreement"}


@cache
def make(name):
    return generator(name).page(ROOT)


def generator(name):
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        return importlib.import_module(f"generate.{name}")
    finally:
        sys.path.remove(str(ROOT / "docs"))


def test_each_program_has_a_section():
    sections = re.findall(r"^## ([\w.]+)", make("commands"), re.MULTILINE)
    programs = [
        path.stem for path in (ROOT / "bench").glob("*.py") if "def parser(" in path.read_text()
    ]
    assert {"reports", *(f"bench.{name}" for name in programs)} <= set(sections)
    assert sections[0] == "bench.efficiency"  # the most used one


def test_each_option_stands_there_with_its_text():
    text = make("commands")
    for parser, _ in generator("commands").parsers(ROOT):
        section = text.partition(f"## {parser.prog.removeprefix('python -m ')} ")[2]
        section = section.partition("\n## ")[0]
        for action in parser._actions[1:]:
            for option in action.option_strings:
                assert re.search(rf"^`{option}[ `].*\n:   .", section, re.MULTILINE), (
                    parser.prog,
                    option,
                )


def test_no_default_of_nothing_is_told():
    assert not re.findall(r"default: ?(?:|\[\]|None)\)", make("commands"))


def test_each_field_of_a_record_has_a_meaning():
    meanings = generator("records").field_meanings
    without = [f"{model.__name__}.{name}" for model in known_models()
               for name, text in meanings(model).items() if not text.strip()]  # fmt: skip
    assert without == []


def known_models():
    """All of `bench.records`, written or not."""
    waiting = list(Model.__subclasses__())
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        if model.__module__.startswith("bench.records"):
            yield model


def test_each_model_that_is_written_has_a_section():
    sections = set(re.findall(r"^## (\w+)", make("records"), re.MULTILINE))
    assert {model.__name__ for model in known_models()} - APART == sections


def test_units_are_told_by_names():
    text = make("records")
    assert (
        "`samples_s`{ #timing-samples_s } &nbsp; <small>list of number, in seconds</small>" in text
    )
    assert (
        "`peak_bytes`{ #predictedmemory-peak_bytes } &nbsp; <small>integer, in bytes</small>"
        in text
    )


def test_what_users_import_is_there():
    names = runpy.run_path(str(ROOT / "tests" / "test_public.py"))["NAMES"]
    text = make("library")
    for place in names:
        module, _, name = place.partition(":")
        section = text.partition(f"## {module}\n")[2].partition("\n## ")[0]
        assert re.search(rf"^### {name} |`{name}`", section, re.MULTILINE), place


def test_arguments_of_the_library_are_a_list():
    text = make("library")
    assert "- `name`: one of `block_names()`, or a spec." in text
    assert not re.search(r"^(Args|Returns|Raises):", text, re.MULTILINE)


def test_no_name_is_left_that_is_not_there():
    with pytest.raises(ValueError, match="no 'nonsense'"):
        generator("library").find(ROOT, "ann.build", "nonsense")


def test_code_that_links_lead_away_from_is_there():
    text = (ROOT / "docs" / "site_pages.py").read_text(encoding="utf-8")
    files = re.findall(r'"((?:bench|experiments)/[\w/]+\.py)"', text)
    assert len(files) >= 5
    assert all((ROOT / name).is_file() for name in files)


@pytest.mark.slow
def test_the_search_works_in_a_page_that_is_opened_as_a_file(tmp_path):
    pytest.importorskip("material", reason="needs `uv sync --group docs`")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    subprocess.run(
        build,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
        capture_output=True,
    )
    address = f"{(tmp_path / 'reference' / 'records.html').as_uri()}?q=temperature"
    see = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=20000",
        "--dump-dom",
    ]
    done = subprocess.run([*see, address], capture_output=True, text=True, check=True)
    assert re.search(r"\d+ matching documents", done.stdout)
