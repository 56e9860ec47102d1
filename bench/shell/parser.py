"""Parsers whose errors are one line that names the nearest of what is allowed."""

import argparse
from typing import Any, NoReturn

from ann.spec import unknown


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, with the nearest name, and exit status 2."""

    def parse_args(self, *given: Any, **options: Any) -> Any:  # noqa: ANN401
        """Parse; an option or argument that is not known ends the program as any other error."""
        namespace, left = self.parse_known_args(*given, **options)
        if left:
            self.error(self._not_known(left))
        return namespace

    def _not_known(self, left: list[str]) -> str:
        """Say which argument nobody asked for; of an option, the nearest and all."""
        name = next((each for each in left if each.startswith("-")), "").partition("=")[0]
        if not name:
            return f"unexpected argument {left[0]!r}; leave it out, or name the option that it is for, see --help"
        return unknown("option", name, self._option_string_actions)

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401
        if action.choices is not None and value not in action.choices:
            what = action.dest.replace("_", " ")
            raise argparse.ArgumentError(action, unknown(what, str(value), [*action.choices]))

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and nothing else."""
        self.exit(2, f"{self.prog}: error: {message}\n")
