# PYTHON_ARGCOMPLETE_OK
"""The command `ann-bench`, or `python -m bench` in a clone: lists the programs and starts one."""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from ann.spec import unknown
from bench import COMMAND, called, installed_from

if TYPE_CHECKING:
    from bench.records import Environment


class Program(NamedTuple):
    """A program: what it is for, how it is called for that, its module, and options that it has anyway."""

    text: str
    example: str
    module: str = ""  # if empty, one of this package with the program's name
    given: tuple[str, ...] = ()
    extra: str = "bench"  # what it needs beside the wheel's own requirements


PROGRAMS = {
    "efficiency": Program(
        "measure blocks, by name or your own, against the paper's Table 1",
        "--size 256x128",
        extra="",
    ),
    "gallery": Program(
        "measure the context blocks that people choose among today",
        "--device meta",
        "efficiency",
        ("--gallery",),
        extra="",
    ),
    "ablations": Program("run every experiment of the paper and render the report", ""),
    "regress": Program(
        "whether a change made it worse: exact gates, then time by turns", "--base main"
    ),
    "reference": Program(
        "what to run on a new device, in order of worth, within a time; --look first", "--out DIR"
    ),
    "validate": Program("how far estimated GPU times are from kernels that others timed", "DIR"),
    "report": Program(
        "render tables, figures and the page from records alone",
        "DIR --out DIR2",
        "reports",
        extra="reports",
    ),
    "env": Program("print the machine, versions and switches that records carry", "", extra=""),
    "completion": Program(
        "print what makes a shell complete names: bash, zsh or fish", "bash", extra=""
    ),
}
HERE = ("env", "completion")
COMPARING = ("efficiency", "--compare A B", "run two arms by turns and say which is faster")


def overview() -> str:
    """What there is, a line each."""
    lines = [(name, program.example, program.text) for name, program in PROGRAMS.items()]
    lines.insert(1, COMPARING)
    calls = [(f"{_called(name)} {example}".strip(), text) for name, example, text in lines]
    width = max(len(call) for call, _ in calls)
    return "".join(f"{call:{width}}   {text}\n" for call, text in calls) + "\nEach has --help.\n"


def _called(name: str) -> str:
    """How a program is started; in a clone those of this file have no module of their own."""
    usual = called(name)
    if usual.startswith(COMMAND) or name not in (*HERE, "gallery"):
        return usual
    return f"python -m bench {name}"


def start() -> NoReturn:
    """Run `ann-bench`; modules of the folder in which it is called are found, as with `python -m`."""
    if not sys.flags.safe_path:
        # In a clone its own names come first: a project's would stand in for them.
        sys.path.insert(0 if __package__ != "bench" else len(sys.path), os.getcwd())  # noqa: PTH109
    if "_ARGCOMPLETE" in os.environ:
        complete(os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])])
    raise SystemExit(main())


def main(arguments: Sequence[str] | None = None) -> int:
    """Start a program, or say which there are; return the exit status."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("--help", "-h"):
        sys.stdout.write(overview())
        return 0
    if name == "--version":
        sys.stdout.write(f"{COMMAND} {metadata.version(COMMAND)}\n")
        return 0
    if name not in PROGRAMS:
        return _refuse(COMMAND, unknown("command", name, PROGRAMS))
    lacking = sorted(set(lacking_packages(PROGRAMS[name].extra)))
    if lacking:
        return _refuse(_called(name), what_to_install(PROGRAMS[name].extra, lacking))
    from bench import shell

    program = PROGRAMS[name]
    if arguments is None:
        sys.argv[1:] = rest  # the program's own, also where it says how to call it again
    run = {"env": show_environment, "completion": show_completion}.get(name)
    run = run or load(name).main
    return shell.guarded(_called(name), lambda _: run([*program.given, *rest]))


def load(name: str) -> Any:  # noqa: ANN401 - a module
    """Import a program."""
    if name == "report":
        import reports

        return importlib.import_module(f"{reports.__name__}.__main__")
    return importlib.import_module(f".{PROGRAMS[name].module or name}", __package__)


def _refuse(program: str, message: str) -> int:
    sys.stderr.write(f"{program}: error: {message}\n")
    return 2


def lacking_packages(extra: str) -> Iterator[str]:
    """Packages of an extra that are not installed; none where the suite runs without being installed itself."""
    if not extra:
        return
    try:
        needs = metadata.requires(COMMAND) or ()
    except metadata.PackageNotFoundError:
        return
    for need in needs:
        if not re.search(rf"extra == ['\"]{extra}['\"]", need):
            continue
        name, inner = re.findall(r"^([\w.-]+)(?:\[([\w,-]+)\])?", need)[0]
        if name == COMMAND:
            for other in inner.split(","):
                yield from lacking_packages(other)
            continue
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            yield name


def what_to_install(extra: str, lacking: Sequence[str]) -> str:
    """Say it in a line."""
    origin, _ = installed_from()
    what = f"{COMMAND}[{extra}]{f' @ {origin}' if origin else ''}"
    return f"{', '.join(lacking)} not installed; pip install {what!r} (or uvx --from {what!r} {COMMAND})"


def environment_parser() -> argparse.ArgumentParser:
    """Describe the command line of `env`."""
    from bench import cli

    about = (
        f"\n{PROGRAMS['env'].text.capitalize()}; no name of a host or a user and no path is in it."
    )
    texts = {"--device": "of which device", "--json": "as records have it"}
    settings: cli.Options = {
        "--device": {"choices": cli.COMPUTING},
        "--json": {"action": "store_true"},
    }
    return cli.Parser(_called("env"), about, texts, settings)


def show_environment(arguments: Sequence[str]) -> int:
    """Print the environment of this machine."""
    options = environment_parser().parse_args(arguments)
    from bench import run

    device: Any = run.resolve_device(options.device)
    environment = run.describe(device)
    if options.json:
        sys.stdout.write(environment.model_dump_json(exclude_none=True, indent=2) + "\n")
        return 0
    for name, value in environment_lines(environment):
        sys.stdout.write(f"{name + ':':20} {value}\n")
    return 0


def environment_lines(environment: "Environment") -> Iterator[tuple[str, str]]:
    """An environment in words, a line each."""
    for name, value in environment.model_dump(exclude_none=True).items():
        if name == "memory_bytes":
            yield "memory", f"{value / 2**30:.1f} GiB"
        elif isinstance(value, dict):
            yield name, ", ".join(f"{key} {each}" for key, each in value.items())
        else:
            yield name.replace("_", " "), str(value)


SHELLS = ("bash", "zsh", "fish")


def completion_parser() -> argparse.ArgumentParser:
    """Describe the command line of `completion`."""
    from bench import cli

    about = (
        "\nPrint what makes a shell complete names after Tab. For bash and zsh: "
        f'eval "$({COMMAND} completion bash)"; for fish: {COMMAND} completion fish | source.'
    )
    settings: cli.Options = {"shell": {"choices": SHELLS}}
    parser = cli.Parser(_called("completion"), about, {"shell": "which shell"}, settings)
    parser.example = SHELLS[0]
    return parser


def show_completion(arguments: Sequence[str]) -> int:
    """Print a shell's code."""
    shell = completion_parser().parse_args(arguments).shell
    from argcomplete import shellcode

    sys.stdout.write(shellcode([COMMAND], shell=shell))
    return 0


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a program."""
    own = {"env": environment_parser, "completion": completion_parser}
    if name in own:
        return own[name]()
    module = load(name)
    parser: argparse.ArgumentParser = (
        module._parser() if name == "report" else module.parser()  # noqa: SLF001
    )
    return parser


def complete(line: str) -> None:
    """Offer a shell the programs, or what the one that is named takes."""
    from bench import completion

    words = line.split()[1:]
    done = words if line.endswith(" ") else words[:-1]
    if done and done[0] in PROGRAMS:
        os.environ["_ARGCOMPLETE"] = "2"  # the program's name is two words
        completion.offer(parser_of(done[0]))
        return
    parser = argparse.ArgumentParser(COMMAND)
    parser.add_argument("command", choices=tuple(PROGRAMS))
    completion.offer(parser)


if __name__ == "__main__":
    raise SystemExit(main())
