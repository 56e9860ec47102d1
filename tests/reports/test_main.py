"""The command line: `python -m reports`."""

import itertools
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records.files import append_line
from reports import __main__ as command

ROOT = Path(command.__file__).parent.parent


@pytest.fixture
def folder(make, tmp_path):
    path = tmp_path / "records"
    for record in make.table1():
        append_line(path / "table1.jsonl", record)
    return path


def fresh(*arguments, code=None):
    """Run in a new interpreter."""
    start = ["-c", code] if code else ["-m", "reports"]
    environment = {**os.environ, "COLUMNS": "120"}
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_format_is_written(folder, tmp_path):
    out = tmp_path / "deep" / "out"
    assert command.main([str(folder), "--out", str(out)]) == 0
    names = {path.name for path in out.iterdir()}
    assert {"index.html", "audit.md", "audit.tex", "audit.csv", "memory.svg"} <= names
    assert {"table1-predicted.md", "table1-measured.tex", "table7.csv"} <= names
    assert not [name for name in names if name.startswith(".")]


def test_two_runs_write_the_same_bytes(folder, tmp_path):
    for name in ("one", "two"):
        command.main([str(folder), "--out", str(tmp_path / name)])
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_rendering_needs_no_torch(folder, tmp_path):
    code = (
        "import sys; from reports.__main__ import main; main(sys.argv[1:]);"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    done = fresh(folder, "--out", tmp_path / "out", code=code)
    assert done.stderr == "False\n"
    assert "Audit of the published efficiency numbers" in done.stdout


def test_help_answers_within_a_second():
    fresh("--help")
    before = os.times()
    done = fresh("--help")
    after = os.times()
    assert done.returncode == 0
    assert sum(after[2:4]) - sum(before[2:4]) < 1  # of the processes that were started


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom reports.__main__ import main\ntry:\n main(['--help'])\nexcept SystemExit: pass\n"
        "print({'pandas', 'matplotlib', 'pydantic', 'rich', 'jinja2'} & set(sys.modules), file=sys.stderr)"
    )
    assert fresh(code=code).stderr == "set()\n"


def test_without_arguments_it_says_what_there_is(capsys):
    assert command.main([]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("table1", "zoo_dnl", "audit", "--format"))


def test_one_format_alone_goes_to_standard_output(folder, capsys):
    assert command.main([str(folder), "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("where,number,verdict,printed,ours,unit")


def refused(capsys, *arguments):
    status = command.main([*map(str, arguments)])
    said = capsys.readouterr()
    assert (status, said.out) == (2, "")
    assert said.err.count("\n") == 1
    return said.err


def test_a_missing_folder_is_one_line(capsys, tmp_path):
    assert "give a .jsonl file or a folder" in refused(capsys, tmp_path / "none")


def test_an_empty_folder_is_one_line(capsys, tmp_path):
    assert "holds no records" in refused(capsys, tmp_path)


def test_a_bad_record_is_one_line_with_its_place_and_writes_nothing(capsys, folder, tmp_path):
    (folder / "zz.jsonl").write_text('{"schema_version": 1}\n')
    assert "zz.jsonl:1" in refused(capsys, folder, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_one_line(capsys, folder, tmp_path):
    (tmp_path / "file").write_text("kept")
    assert "give a folder" in refused(capsys, folder, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_an_output_folder_that_may_not_be_written_is_one_line(
    capsys, folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    said = refused(capsys, folder, "--out", tmp_path / "out")
    assert "out' is not writable; give another folder" in said


def test_a_page_without_a_folder_is_one_line(capsys, folder):
    assert "add --out DIR" in refused(capsys, folder, "--format", "html")


def test_an_unknown_format_is_one_line(capsys, folder):
    with pytest.raises(SystemExit) as left:
        command.main([str(folder), "--format", "pdf"])
    said = capsys.readouterr().err
    assert left.value.code == 2
    assert said.count("\n") == 1
    assert "'terminal', 'markdown', 'latex', 'csv', 'html'" in said or "terminal" in said


def test_a_failed_write_leaves_the_old_file_whole(folder, tmp_path, monkeypatch):
    command.main([str(folder), "--out", str(tmp_path / "out"), "--format", "csv"])
    before = (tmp_path / "out" / "audit.csv").read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert command.main([str(folder), "--out", str(tmp_path / "out"), "--format", "csv"]) == 2
    assert (tmp_path / "out" / "audit.csv").read_bytes() == before
    assert not [path for path in (tmp_path / "out").iterdir() if path.suffix == ".tmp"]


def test_an_interrupted_write_leaves_the_old_file_whole(folder, tmp_path, monkeypatch):
    call = [str(folder), "--out", str(tmp_path / "out"), "--format", "csv"]
    command.main(call)
    before = (tmp_path / "out" / "audit.csv").read_bytes()

    def interrupted(descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.main(call)
    assert (tmp_path / "out" / "audit.csv").read_bytes() == before
    assert not [path for path in (tmp_path / "out").iterdir() if path.suffix == ".tmp"]


def test_a_full_disk_is_one_line_that_names_the_file(capsys, folder, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        status = command.main([str(folder), "--out", str(tmp_path / "out")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().err
    assert (status, said.count("\n")) == (2, 1)
    assert "could not be written (File too large); make room" in said
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_a_hundred_thousand_records_take_less_than_ten_seconds_of_processor_time(tmp_path):
    kept = ROOT / "reports" / "reference" / "intel-xeon-2-cores"
    names = ("efficiency", "table1", "fig2", "table2", "crossover")
    lines = [
        json.loads(line)
        for name in names
        for line in (kept / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    (tmp_path / "records").mkdir()
    with (tmp_path / "records" / "all.jsonl").open("w", encoding="utf-8") as file:
        for at, record in enumerate(itertools.islice(itertools.cycle(lines), 100_000)):
            times = at // len(lines)
            changed = {"cell": f"{record['cell']}-{times}", "created_at": f"{times:06d}"}
            # A quarter of the runs are of seeds of their own, and so have rows of their own.
            seed = {} if times % 4 else {"seed": times}
            whole = record | changed | {"axes": record["axes"] | seed}
            file.write(json.dumps(whole) + "\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = fresh(tmp_path / "records", "--out", tmp_path / "out")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "index.html").exists()
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10
