"""What README, CONTRIBUTING and docs/ tell people to type is what the programs take; what is quick is run."""

import importlib
import itertools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from bench import __main__ as door
from bench import efficiency
from bench.run import environment_of, predicted_record
from experiments.training import usual_evaluation

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
PROGRAMS = ("ann-bench", "python", "uv", "uvx", "nox", "pip", "torchrun", "git", "source", "eval")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")
SESSIONS = {"ablations", "efficiency", "gate", "reference"}


def blocks(text):
    """Code by its language: fenced, or indented and then a shell's."""
    fenced = re.findall(r"^```(\w*)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"(?:^|\n\n)((?: {4}[^\n]*\n|\n(?= {4}))+)", rest)
    return [*fenced, *(("", re.sub(r"^ {4}", "", code, flags=re.MULTILINE)) for code in indented)]


def commands(text):
    """What is typed: lines of shell code that begin with a program, and such code within a sentence."""
    shell = [code for language, code in blocks(text) if language in ("", "sh")]
    lines = [line for code in shell for line in code.replace("\\\n", " ").splitlines()]
    fenced = r"^```.*?^```"
    prose = re.sub(fenced, "", text, flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`([^`\n]+)`", prose)
    lines += re.findall(r"run: (uvx [^\n]+)", text)
    found = [shlex.split(part, comments=True) for line in lines for part in line.split("&& ")
             if part.split(" ")[0] in PROGRAMS]  # fmt: skip
    return [words for words in found if len(words) > 1]


COMMANDS = sorted({(page.name, *words) for page in PAGES for words in commands(page.read_text())})


def parser_of(module):
    if module == "reports":
        return importlib.import_module("reports.__main__")._parser()
    return importlib.import_module(module).parser()


def check_module(module, arguments):
    """Parse arguments of a module as it would itself; an option that it does not have ends the test."""
    if module in ("bench", "pytest", "http.server"):
        paths = [word for word in arguments if word.startswith("tests/")]
        assert all((ROOT / path).exists() for path in paths)
        return
    regress = importlib.import_module("bench.regress")
    if module == "bench.regress" and arguments[:1] == ["history"]:
        regress.history_parser().parse_args(arguments[1:])
        return
    parser = parser_of(module)
    if arguments:
        parser.parse_args(arguments)


def check_command(words):
    """Parse what stands behind the installed command, up to a pipe."""
    name, *arguments = words
    if name != "COMMAND":
        arguments = list(itertools.takewhile(lambda word: word != "|", arguments))
        parser = door.parser_of(name)
        if arguments:
            parser.parse_args(arguments)


def check_nox(words):
    names = words[words.index("-s") + 1 :]
    names, _, arguments = (names, "", []) if "--" not in names else split(names)
    for name in names:
        assert f"def {name}(session" in NOXFILE
    if arguments and names[0] in SESSIONS:
        module = "bench.regress" if names[0] == "gate" else f"bench.{names[0]}"
        check_module(module, arguments)


def split(words):
    at = words.index("--")
    return words[:at], "--", words[at + 1 :]


def check(words):
    if words[:2] == ["uv", "run"]:
        words = words[2:]
    groups = [group for word, group in itertools.pairwise(words) if word == "--group"]
    assert set(groups) <= set(PROJECT["dependency-groups"])
    if "ann-bench" in words:
        check_command(words[words.index("ann-bench") + 1 :])
    elif "nox" in words and "-s" in words:
        check_nox(words)
    elif "-m" in words and words[0] in ("python", "torchrun"):
        at = words.index("-m")
        check_module(words[at + 1], words[at + 2 :])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_is_one_that_the_programs_take(command):
    status = 0
    try:
        check(list(command[1:]))
    except SystemExit as error:  # with 0 after --help
        status = error.code
    assert not status, f"{shlex.join(command[1:])} ends with status {status}"


def test_an_option_that_does_not_exist_is_found():
    with pytest.raises(SystemExit):
        check(shlex.split("uvx nox -s ablations -- --no-such-option"))


def test_a_session_that_does_not_exist_is_found():
    with pytest.raises(AssertionError):
        check(shlex.split("uvx nox -s no-such-session"))


@pytest.mark.parametrize(
    ("page", "fewest"),
    [
        ("README.md", 10),
        ("results.md", 12),
        ("reproduce.md", 12),
        ("own_block.md", 8),
        ("gate.md", 6),
    ],
)
def test_the_commands_of_a_page_are_found(page, fewest):
    assert sum(command[0] == page for command in COMMANDS) >= fewest


def files_of(page):
    """The files that a page tells people to write."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    found = re.findall(r'^```python title="([^"]+)"\n(.*?)^```', text, re.MULTILINE | re.DOTALL)
    return dict(found)


def write(page, folder):
    for name, code in files_of(page).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code, encoding="utf-8")


def run(line, folder, **options):
    """Run a documented command in a folder, some options replaced by smaller ones, others added."""
    page, command, *small = line
    assert (page, *shlex.split(command)) in COMMANDS, "the page has another command now"
    words = shlex.split(command)
    for option, value in zip(small[::2], small[1::2], strict=True):
        at = words.index(option) if option in words else len(words)
        words[at : at + 2] = [option, value]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words[1:]], cwd=folder, env=environment, capture_output=True,
                          text=True, check=False, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


EFFICIENCY = "python -m bench.efficiency --block"
OWN = "my_package.blocks:make_block"
SMALL_MAP = ("--size", "16x16", "--channels", "16", "--key-channels", "4")


def test_the_own_block_is_counted_without_running(tmp_path):
    write("own_block.md", tmp_path)
    line = f"{EFFICIENCY} {OWN} --size 256x128 --device meta --format markdown"
    assert OWN.replace("_", r"\_") in run(("own_block.md", line), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "command", "small", "expected"),
    [
        ("own_block.md", f"{EFFICIENCY} apnb {OWN} --size 96x96",
         (*SMALL_MAP, "--budget", "1"), f"{OWN}"),
        ("own_block.md", f"{EFFICIENCY} {OWN} --size 96x96 --mode train",
         (*SMALL_MAP, "--budget", "1"), f"{OWN}"),
        ("own_block.md", f"{EFFICIENCY} {OWN} --size 96x96 --dtype bfloat16",
         (*SMALL_MAP, "--budget", "1"), f"{OWN}"),
        ("own_block.md", f"{EFFICIENCY} apnb --size 256x128 --predict h200", (), "H200 SXM"),
        ("own_ablation.md", "python -m bench.ablations --experiment my_anchors.py --out results/anchors",
         ("--device", "meta"), "my anchors: counts and predictions"),
        ("reproduce.md", "python -m bench.ablations --table 1 --device meta", (), "Table 1"),
        ("index.md", "python -m bench", (), "bench.efficiency"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("python") else "",
)  # fmt: skip
def test_a_command_that_is_quick_at_a_small_size_runs(page, command, small, expected, tmp_path):
    if page.startswith("own"):
        write(page, tmp_path)
    out = run((page, command, *small), tmp_path)
    pages = [path.read_text(encoding="utf-8") for path in tmp_path.glob("results/*/report/*.md")]
    assert expected in " ".join((out, *pages)).replace("\\_", "_")


@pytest.mark.slow
def test_the_documented_training_trains(tmp_path):
    write("own_ablation.md", tmp_path)
    file = tmp_path / "my_temperature.py"
    trained = "replace(c, training=replace(c.training, iterations=2))"
    short = f"cells=tuple({trained} if hasattr(c, 'training') else c for c in "
    file.write_text(file.read_text().replace("cells=tuple(cells", f"{short}cells", 1))
    command = "python -m bench.ablations --experiment my_temperature.py --seeds 3 --out results/temperature"
    run(("own_ablation.md", command, "--seeds", "1"), tmp_path)
    tables = tmp_path.glob("results/temperature/report/my-temperature-*.md")
    assert any("| temperature" in table.read_text(encoding="utf-8") for table in tables)


def test_the_block_of_the_readme_is_predicted_as_it_says(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = [code for _, code in blocks(readme) if "class Pooled" in code]
    tmp_path.joinpath("my_blocks.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    asked = "--size 64x64 --channels 512 --block apnb --block my_blocks:make --device meta"
    for cell in efficiency.cells(efficiency.parser().parse_args(asked.split())):
        measures = predicted_record(cell, environment_of("meta", cell)).measures
        numbers = (
            f"{measures.counts.parameters / 1e6:.2f}",
            f"{measures.counts.macs / 1e9:.2f}",
            f"{measures.counts.flops / 1e9:.2f}",
            f"{measures.predicted.increment_bytes / 2**20:.1f}",
        )
        shown = r"\s+".join(map(re.escape, (cell.name, "64x64", "512", *numbers)))
        assert re.search(shown, readme), (cell.name, numbers)


def test_the_library_snippet_of_the_readme_runs(tmp_path, monkeypatch):
    import torch

    from ann import build, checkpoints

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = [code for _, code in blocks(readme) if code.startswith("from ann import")]
    name = re.search(r'"([^"]+\.pth)"', code)[1]
    net = build.network("mmseg/ann-r50", num_classes=19)
    torch.save({"state_dict": checkpoints.to_layout(net, "mmseg")}, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    made = {"images": torch.zeros(1, 3, 48, 64)}
    with torch.no_grad():
        exec(compile(code, "README.md", "exec"), made)
    assert made["logits"].shape == (1, 19, 48, 64)
    assert made["block"](torch.zeros(1, 2048, 8, 8)).shape[-2:] == (8, 8)


def test_each_row_of_the_surprises_is_held_by_something_that_is_there():
    page = (ROOT / "docs" / "surprises.md").read_text(encoding="utf-8")
    held = re.findall(r"^- (\d+): (`.+`)$", page, re.MULTILINE)
    rows = [int(row) for row in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    assert [int(row) for row, _ in held] == rows == [*range(1, len(rows) + 1)]
    assert 0 < len(rows) <= 45
    for place in re.findall(r"`([\w/]+\.(?:py|sh)(?:::\w+)?)`", page):
        name, _, test = place.partition("::")
        assert not test or f"def {test}(" in (ROOT / name).read_text(encoding="utf-8"), place
        assert (ROOT / name).is_file(), place


def test_the_protocols_of_sources_are_those_by_which_checkpoints_are_evaluated():
    text = (ROOT / "docs/reproduce.md").read_text(encoding="utf-8")
    table = text.partition("| source (`--network`)")[2].partition("\n\n")[0].splitlines()
    sets = [re.findall(r"`([^`]+)`", cell) for cell in table[0].split("|")[1:-1]]
    for row in table[2:]:
        sources, *protocols = (re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[1:-1])
        for names, (protocol,) in zip(sets, protocols, strict=True):
            full = [names[0] + name if name.startswith("-") else name for name in names]
            full = [name.replace("-59-60", "-60") for name in full]
            for source, name in itertools.product(sources, full):
                found = usual_evaluation(source.removesuffix("/..."), name)
                assert (source, name, found) == (source, name, protocol)


def test_the_site_is_built_and_fetches_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("material", reason="needs `uv sync --group docs`")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, env=quiet, check=True, capture_output=True)
    pages = "".join(page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html"))
    assert not re.findall(r'<(?:link|script|img)[^>]+(?:src|href)="?https?:', pages)
