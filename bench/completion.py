"""Names in a shell: what Tab offers after `--block ap` where argcomplete is installed.

The entry points carry the mark PYTHON_ARGCOMPLETE_OK, by which argcomplete's completion of `python -m`
knows them; it then runs the program with `_ARGCOMPLETE` set, and the parser answers instead of parsing.
"""

import argparse
import os
from collections.abc import Callable, Iterable
from typing import Any, get_args

from ann.catalogue import BLOCKS, NETWORKS
from ann.spec import Implementation
from bench.analysis import DEVICES
from experiments.catalogue import EXPERIMENTS, TRAININGS
from experiments.variants import GALLERY

Completer = Callable[..., Iterable[str]]


def offer(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end the process, if it is a shell that asks and argcomplete is there."""
    if "_ARGCOMPLETE" not in os.environ:
        return
    try:
        import argcomplete  # optional, and of no use to a run
    except ImportError:
        return
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list of them
        if action.dest in COMPLETERS:
            setattr(action, "completer", COMPLETERS[action.dest])  # noqa: B010 - argcomplete's field
    argcomplete.autocomplete(parser)


def _arms(*names: str) -> Completer:
    def complete(prefix: str, **_: Any) -> Iterable[str]:  # noqa: ANN401
        """Names; after the colon, the ways to compute one."""
        name, colon, _rest = prefix.partition(":")
        if not colon:
            return names
        return [f"{name}:{way}" for way in get_args(Implementation)] if name in names else ()

    return complete


def _experiments(prefix: str, **_: Any) -> Iterable[str]:  # noqa: ANN401
    """Experiments by name, and files of one's own."""
    from argcomplete.completers import FilesCompleter

    return (*EXPERIMENTS, *TRAININGS, *FilesCompleter(["py"], directories=True)(prefix))


COMPLETERS: dict[str, Completer] = {
    "block": _arms(*BLOCKS, *GALLERY),
    "compare": _arms(*BLOCKS, *GALLERY, *NETWORKS),
    "network": _arms(*NETWORKS),
    "predict": lambda **_: tuple(DEVICES),
    "fits": lambda **_: tuple(DEVICES),
    "experiment": _experiments,
}
