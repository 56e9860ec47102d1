"""Factories as they are written: names, literals as arguments, and nothing that is run."""

import pytest

from experiments import variants
from experiments.factories import read_factory
from experiments.select import arm_cell, block_cell
from experiments.spec import Cell, OwnModule, Size


@pytest.mark.parametrize(
    ("text", "names", "args", "kwargs"),
    [
        ("a.b:make", ("make",), (), {}),
        ("a:Outer.inner", ("Outer", "inner"), (), {}),
        ("a:make()", ("make",), (), {}),
        ("a:Halo(64, block_size=8)", ("Halo",), (64,), {"block_size": 8}),
        (
            "a:make(-1, (2, 3), name='x:y)', deep={'k': [None, True]})",
            ("make",),
            (-1, (2, 3)),
            None,
        ),
    ],
)
def test_a_factory_is_a_name_with_literals(text, names, args, kwargs):
    factory = read_factory(text)
    assert (factory.names, factory.args) == (names, args)
    assert dict(factory.kwargs) == (
        {"name": "x:y)", "deep": {"k": [None, True]}} if kwargs is None else kwargs
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:make(__import__('os').system('true'))", "argument __import__.* is no literal"),
        ("a:make(size)", "argument size is no literal"),
        ("a:make(*[1])", "is no literal"),
        ("a:make(**{'b': 1})", "has \\*\\* or a name twice"),
        ("a:make(64", r"can't be read \('\(' was never closed\)"),
        ("a:make(1)(2)", "is no name of a factory"),
        ("a:[1]", "is no name of a factory"),
        ("a:", "can't be read"),
        ("a b:make", "'a b' is no name of a module"),
        ("a:make(" + "(" * 5000, "a:make"),
    ],
)
def test_anything_else_is_refused_and_said(text, message):
    with pytest.raises(ValueError, match=message):
        read_factory(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b:make(8):fast", ("a.b:make(8)", "fast")),
        ("a.b:make(name=':fast')", ("a.b:make(name=':fast')", "plain")),
        ("a.b:make(name='x)y:z'):compiled", ("a.b:make(name='x)y:z')", "compiled")),
        ("a:Outer.inner:sdpa", ("a:Outer.inner", "sdpa")),
    ],
)
def test_an_implementation_stands_behind_the_arguments(text, expected):
    assert variants.parse(text) == expected
    assert variants.write(*expected) == text


def test_a_slip_in_an_implementation_behind_arguments_is_told_the_nearest():
    with pytest.raises(ValueError, match="unknown implementation 'fats'; did you mean 'fast'"):
        variants.parse("a.b:make(8):fats")


def cell(**changes):
    subject = OwnModule(factory="a:b", **changes)
    return Cell(experiment="x", axes={}, subject=subject, size=Size(width=4, height=3))


def test_an_own_block_of_one_map_has_the_id_that_it_always_had():
    assert cell().id == "226383dd83ff"
    assert len({cell().id, cell(layout="nlc").id, cell(inputs=2).id}) == 3


SETTINGS = {"channels": 8, "key_channels": 4, "batch": 1, "dtype": "float32", "mode": "eval"}


def test_a_layout_is_of_own_blocks_and_an_axis():
    size, more = Size(width=4, height=3), {"layout": "nlc", "inputs": 2}
    own = block_cell("a:b", size, protocol="strict", **SETTINGS, **more)
    named = block_cell("apnb", size, protocol="strict", **SETTINGS, **more)
    assert (own.subject.layout, own.subject.inputs) == ("nlc", 2)
    assert own.axes.items() >= more.items()
    assert named == block_cell("apnb", size, protocol="strict", **SETTINGS)
    assert arm_cell("a:b", size, experiment="x", **SETTINGS, **more).axes.items() >= more.items()
