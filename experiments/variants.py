"""Arms: what is compared, written `NAME` or `NAME:IMPLEMENTATION`, e.g. `apnb:fast`."""

import difflib
from typing import get_args

from ann.catalogue import BLOCKS, NETWORKS
from ann.spec import Implementation

IMPLEMENTATIONS: tuple[Implementation, ...] = get_args(Implementation)


def parse(text: str) -> tuple[str, Implementation]:
    """Read an arm: a name, and how it is computed (`plain` where nothing is said).

    A name is one of the catalogue or somebody's own `package.module:factory`, which may be followed by
    `:IMPLEMENTATION` as well. ValueError names the nearest and all that are allowed.
    """
    name, colon, rest = text.partition(":")
    if name in BLOCKS or name in NETWORKS:
        return name, (_implementation(rest, of=text) if colon else "plain")
    # Without a dot, a block's name with a slip rather than a package that holds a factory.
    is_slip = "." not in name and rest in IMPLEMENTATIONS
    if not colon or (is_slip and difflib.get_close_matches(name, BLOCKS, n=1)):
        raise ValueError(unknown("block", name, tuple(BLOCKS)))
    factory, second_colon, implementation = rest.partition(":")
    return f"{name}:{factory}", (
        _implementation(implementation, of=text) if second_colon else "plain"
    )


def write(name: str, implementation: str) -> str:
    """The arm as `parse` reads it; a name that says its implementation already, as axes do, stays."""
    bare = name.removesuffix(f":{implementation}")
    is_arm = bare != name and (":" in bare or bare in BLOCKS or bare in NETWORKS)
    return name if is_arm or implementation == "plain" else f"{name}:{implementation}"


def unknown(what: str, given: str, allowed: tuple[str, ...]) -> str:
    """The message about a name that is not known: the nearest, and all that are allowed."""
    near = difflib.get_close_matches(given, allowed, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown {what} {given!r}; {hint}allowed are {', '.join(allowed)}"


def _implementation(text: str, *, of: str) -> Implementation:
    if text in IMPLEMENTATIONS:
        return text
    raise ValueError(f"arm {of!r}: " + unknown("implementation", text, IMPLEMENTATIONS))
