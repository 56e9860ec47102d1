"""Arms as they are written on the command line and in axes."""

import pytest

from experiments import variants


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("apnb", ("apnb", "plain")),
        ("apnb:fast", ("apnb", "fast")),
        ("nb:sdpa-efficient", ("nb", "sdpa-efficient")),
        ("mmseg/ann-r50:fast", ("mmseg/ann-r50", "fast")),
        ("my.blocks:make", ("my.blocks:make", "plain")),
        ("my.blocks:make:compiled", ("my.blocks:make", "compiled")),
        ("blocks:fast", ("blocks:fast", "plain")),
        ("psp", ("ann.gallery:PyramidPooling", "plain")),
        ("aspp:make", ("aspp:make", "plain")),
        ("aspp:make:compiled", ("aspp:make", "compiled")),
        ("psp:compiled", ("ann.gallery:PyramidPooling", "compiled")),
    ],
)
def test_an_arm_is_a_name_and_an_implementation(text, expected):
    assert variants.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apbn", "unknown block 'apbn'; did you mean 'apnb'\\? allowed are nb,"),
        ("apbn:fast", "unknown block 'apbn'; did you mean 'apnb'\\?"),
        ("apnb:fats", "arm 'apnb:fats': unknown implementation 'fats'; did you mean 'fast'\\?"),
        ("apnb:", "unknown implementation ''; allowed are plain, fast, sdpa"),
        (
            "pps",
            "unknown block 'pps'; did you mean 'psp'\\? .*, or package.module:factory of your own",
        ),
        ("pps:fast", "unknown block 'pps'; did you mean 'psp'\\?"),
        ("my.blocks.make", "unknown block 'my.blocks.make'; .* is written my.blocks:make"),
        ("my.blocks:make:quick", "arm 'my.blocks:make:quick': unknown implementation 'quick'"),
    ],
)
def test_a_slip_is_told_the_nearest_and_all_that_are_allowed(text, message):
    with pytest.raises(ValueError, match=message):
        variants.parse(text)


@pytest.mark.parametrize("text", ["nb", "nb:chunked", "my.blocks:make:compiled"])
def test_an_arm_is_written_as_it_is_read(text):
    assert variants.write(*variants.parse(text)) == text


@pytest.mark.parametrize(
    ("name", "implementation", "text"),
    [
        ("nb:sdpa", "sdpa", "nb:sdpa"),
        ("my.blocks:make:fast", "fast", "my.blocks:make:fast"),
        ("blocks:fast", "fast", "blocks:fast:fast"),
    ],
)
def test_an_implementation_is_written_once(name, implementation, text):
    assert variants.write(name, implementation) == text
