"""Reasons of failures: the exception, its text, and the line of somebody's own code that it came from."""

import sys

import pytest

from ann.spec import Size
from bench.records import error_failure, one_line

OWN = """
import json

def empty():
    assert 1 > 2

def ends():
    raise SystemExit(7)

def text():
    raise ValueError("wrong")

def beyond():
    json.loads("")

def several():
    raise RuntimeError("Error(s) in loading state_dict for Scaled:\\n\\tMissing key(s)\\nmore")

def scripted():
    raise RuntimeError("The following operation failed in the TorchScript interpreter.\\nTraceback\\nRuntimeError: no")
"""


@pytest.fixture
def raised(tmp_path, monkeypatch):
    """The error that a function of somebody's own raises."""
    (tmp_path / "raising.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    import raising

    def error(name):
        with pytest.raises(BaseException) as caught:
            getattr(raising, name)()
        # Without this test's own frame, as in a process of ours.
        return caught.value.with_traceback(caught.value.__traceback__.tb_next)

    yield error
    del sys.modules["raising"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("empty", "AssertionError (no text) (raising.py, line 5)"),
        ("ends", "SystemExit: 7 (raising.py, line 8)"),
        ("text", "ValueError: wrong (raising.py, line 11)"),
        (
            "beyond",
            "JSONDecodeError: Expecting value: line 1 column 1 (char 0) (raising.py, line 14)",
        ),
        (
            "several",
            "RuntimeError: Error(s) in loading state_dict for Scaled: Missing key(s) (raising.py, line 17)",
        ),
        ("scripted", "RuntimeError: RuntimeError: no (raising.py, line 20)"),
    ],
)
def test_a_reason_has_the_exception_its_text_and_the_line(raised, name, reason):
    assert one_line(raised(name)) == reason
    assert error_failure(raised(name)).reason == reason


def test_a_value_error_of_this_suite_says_what_to_do_and_nothing_else():
    with pytest.raises(ValueError, match="is not WIDTHxHEIGHT") as caught:
        Size.parse("3")
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)
    assert one_line(error) == "size '3' is not WIDTHxHEIGHT; write for example 256x128"


def test_of_a_library_that_was_called_both_lines_are_said(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "a_library.py").write_text("def call():\n    1 / 0\n")
    (tmp_path / "calling.py").write_text("import a_library\ndef block():\n    a_library.call()\n")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    import calling

    with pytest.raises(ZeroDivisionError) as caught:
        calling.block()
    assert one_line(caught.value).endswith("(calling.py, line 3, in a_library.py, line 2)")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("Expected more than 1 value per channel when training, got input size", "pass --batch 2"),
        (
            "Pair.forward() missing 1 required positional argument: 'low'",
            "--inputs 2 gives it 2 maps",
        ),
        (
            "f.forward() missing 2 required positional arguments: 'k' and 'v'",
            "--inputs 3 gives it 3 maps",
        ),
    ],
)
def test_errors_of_torch_that_an_option_mends_name_it(text, advice):
    assert advice in one_line(TypeError(text))
