"""The reference of commands, from their parsers: no option can be missing or have another default."""

import argparse
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

HEAD = """\
# Commands

Every program with all of its options, made from the programs themselves. `--help` prints the same.
Run them in the environment that `uv sync` makes, or with `uv run` in front. Where the package is installed, `ann-bench`
runs them as well, for example `ann-bench efficiency` ([how](../installing.md)).
They end with the same few [exit statuses](../exit_statuses.md).
"""


def page(root: Path) -> str:
    """Write the page."""
    parts = [HEAD]
    for parser, document in parsers(root):
        parts += _program(parser, document)
    return "\n".join(parts)


def parsers(root: Path) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Each program's parser, and what the program says of itself: all functions of commands that make parsers."""
    listed = (root / "bench" / "__main__.py").read_text(encoding="utf-8")
    commands = sorted(
        (root / "bench").glob("*.py"), key=lambda path: (listed.find(path.stem), path)
    )
    for path in (*commands, root / "reports" / "__main__.py"):
        names = re.findall(r"^def (\w*parser)\(\)", path.read_text(encoding="utf-8"), re.MULTILINE)
        module = ".".join(path.relative_to(root).with_suffix("").parts)
        for name in names:
            program = importlib.import_module(module)
            parser = getattr(program, name)()
            is_main = name.lstrip("_") == "parser"
            yield parser, inspect.getdoc(program) or "" if is_main else parser.description or ""


def _program(parser: argparse.ArgumentParser, document: str) -> Iterator[str]:
    name = parser.prog.removeprefix("python -m ")
    anchor = name.replace(".", "-").replace(" ", "-")
    yield f"## {name} {{ #{anchor} }}\n"
    yield f"{document.strip()}\n"
    yield f"```text\n{_usage(parser)}\n```\n"
    for group in parser._action_groups:  # noqa: SLF001 - argparse has no public way
        shown = [
            action
            for action in group._group_actions  # noqa: SLF001
            if not isinstance(action, argparse._HelpAction)  # noqa: SLF001
        ]
        if not shown:
            continue
        if group.title not in {"options", "positional arguments"}:
            yield f"**{str(group.title).capitalize()}**\n"
        for action in shown:
            yield _option(parser, action, anchor)


def _usage(parser: argparse.ArgumentParser) -> str:
    """What has to be given; the rest stands below, option by option."""
    needed = [
        action
        for action in parser._actions  # noqa: SLF001
        if action.required or not action.option_strings
    ]
    texts = [" ".join([*action.option_strings[:1], _given(parser, action)]) for action in needed]
    return " ".join([parser.prog, *texts, "[options]"])


def _given(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices:
        return "NAME"
    return parser._get_formatter()._format_args(action, action.dest.upper())  # noqa: SLF001


def _option(parser: argparse.ArgumentParser, action: argparse.Action, anchor: str) -> str:
    choices = [str(choice) for choice in action.choices or ()]
    names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    given = _given(parser, action) if action.option_strings else ""
    text = parser._get_formatter()._expand_help(action) if action.help else ""  # noqa: SLF001
    allowed = f"One of {', '.join(f'`{choice}`' for choice in choices)}." if choices else ""
    slug = names.rpartition(" ")[2].lstrip("-")
    texts = " ".join(filter(None, [_sentence(text), allowed]))
    return f"`{' '.join(filter(None, [names, given]))}`{{ #{anchor}-{slug} }}\n:   {texts or 'Required.'}\n"


def _sentence(text: str) -> str:
    """With a capital, a full stop, and nothing that Markdown would take for its own."""
    text = re.sub(r"([*_<\[\]|])", r"\\\1", text.strip())
    text = re.sub(r"(?<![\w`-])(--[a-z][a-z-]*)", r"`\1`", text)
    if not text or text.endswith("."):
        return text[:1].upper() + text[1:]
    return f"{text[:1].upper()}{text[1:]}."
