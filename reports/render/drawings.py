"""Drawings as the page holds them: the same to look at, less than half as long, and no identifier twice on one page."""

import re

# All that is changed stands inside of tags, so that no word of a drawing is taken for one.
TAG = re.compile(r"<[^>]*>")
STYLED = re.compile(r' style="([^"]*)"')
# Of these the numbers are places.
PLACES = re.compile(r' (?:d|x|y|transform|points)="[^"]*"')
UNTURNED = re.compile(r' transform="rotate\(-?0 [^"]*"')
NUMBER = re.compile(r"-?\d+\.\d+")
REFERENCE = re.compile(r'(href="#|url\(#)([^")]+)')
IDENTIFIER = re.compile(r' id="([^"]*)"')
LEFT_OUT = re.compile(
    r"<metadata>.*?</metadata>|<defs>\s*<style [^>]*>.*?</style>\s*</defs>|\s+(?=<)", re.DOTALL
)


class Drawings:
    """The drawings of one page, which have their styles in common."""

    def __init__(self) -> None:
        self._classes: dict[str, str] = {}
        self._count = 0

    @property
    def styles(self) -> str:
        """What the page's style sheet has to say for all of them."""
        return "\n".join(f".{name}{{{style}}}" for style, name in self._classes.items())

    def shorten(self, svg: str) -> str:
        """Write a drawing for the page: short numbers, classes in the place of styles, names of its own."""
        self._count += 1
        text = LEFT_OUT.sub("", svg)
        used = {name for tag in TAG.findall(text) for _, name in REFERENCE.findall(tag)}
        names = {name: f"d{self._count}-{at}" for at, name in enumerate(sorted(used))}

        def shortened(found: re.Match[str]) -> str:
            tag = PLACES.sub(_shortened_places, UNTURNED.sub("", found[0]))
            tag = IDENTIFIER.sub(lambda each: _identified(names.get(each[1])), tag)
            tag = REFERENCE.sub(lambda each: f"{each[1]}{names[each[2]]}", tag)
            return STYLED.sub(self._classed, tag)

        return TAG.sub(shortened, text)

    def _classed(self, style: re.Match[str]) -> str:
        name = self._classes.setdefault(style[1], f"d{len(self._classes)}")
        return f' class="{name}"'


def _identified(name: str | None) -> str:
    return f' id="{name}"' if name else ""


def _shortened_places(places: re.Match[str]) -> str:
    words = NUMBER.sub(_rounded, places[0]).split()
    return f" {' '.join(words)}".replace(' "', '"')


def _rounded(number: re.Match[str]) -> str:
    text = f"{float(number[0]):.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
