"""What is on file shows as it always did: kept records, comparisons and outcomes in every form.

In `golden/made-up` every field is set; `gpu` is the kept run of a processor, its readings called those
of a GPU. Drawings are not compared, their data are.
"""

import contextlib
import hashlib
import io
import json
import re
import shutil
from html import unescape
from pathlib import Path

import pytest

from bench.records import outcome, record
from reports.gate import series as history

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "reports" / "published"
INTEL = ROOT / "reports" / "reference" / "intel-xeon-2-cores"
MADE_UP = Path(__file__).parent / "golden" / "made-up"
REPORTED = {"intel": INTEL, "published": PUBLISHED, "made-up": MADE_UP, "gpu": INTEL}
ON_GPU = ("ceilings", "crossover", "fig2", "implementations", "precision", "table1", "table2")
OUTCOMES = {"intel": INTEL / "regression", "made-up": MADE_UP / "regression"}
# Of every experiment that was kept of a machine.
LARGEST_PAGE = 1_000_000
# What makes rich take a file for a terminal, or the other way round.
TERMINAL = ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "LINES")
# The last digits of a sum differ between Python 3.11 and 3.12, and between processors.
LONG = re.compile(r"(?<![\w.])\d+\.\d{6,}(?:e[-+]?\d+)?")
DRAWN = re.compile(r"<svg.*?</svg>|<style>.*?</style>|<script>.*?</script>|'sha256-.*?'", re.DOTALL)


def steady(text):
    """Eleven digits of each number."""
    return LONG.sub(lambda number: format(float(number[0]), ".11g"), text)


def joined(texts):
    """Files below one another, each under its name."""
    return "".join(f"==> {name} <==\n{texts[name].rstrip()}\n\n" for name in sorted(texts))


def words(html):
    """What a page says, a line for each cell."""
    lines = (unescape(line).strip() for line in re.sub(r"<[^>]*>", "\n", html).splitlines())
    return "".join(f"{line}\n" for line in lines if line)


def texts_of(folder, *endings):
    """The files of a folder with these endings, by name."""
    files = (path for path in folder.rglob("*") if path.suffix in endings)
    return {str(path.relative_to(folder)): steady(path.read_text("utf-8")) for path in files}


def printed(show):
    """What goes to standard output, 120 letters wide and without colours."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(said):
        patch.setenv("COLUMNS", "120")
        for name in TERMINAL:
            patch.delenv(name, raising=False)
        show()
    return "".join(f"{line.rstrip()}\n" for line in said.getvalue().splitlines())


def lines_of(name):
    """The kept records of an experiment."""
    return (INTEL / f"{name}.jsonl").read_text("utf-8").splitlines()


def as_on_gpu(line):
    """A record of a processor, its device, clock and memory those of a GPU."""
    data = json.loads(line)
    if data["source"] == "measured":
        where = data["environment"]
        where |= {
            "device": "cuda",
            "device_name": "NVIDIA TITAN Xp",
            "cuda": "13.0",
            "driver": "580.1",
        }
        measures = data.get("measures", {})
        timings = [*measures.get("timings", ())]
        for timing in (*timings, *(one.get("timing", {}) for one in measures.get("ceilings", ()))):
            timing["clock"] = "cuda-events"
        if timings:
            measures["timings"] = [timings[0], timings[0] | {"clock": "cuda-graph"}]
        if "high_water_bytes" in measures.get("memory", {}):
            taken = measures["memory"]["high_water_bytes"]
            measures["memory"] = {"requested_bytes": taken, "allocated_bytes": taken + 4096}
    return f"{json.dumps(data)}\n"


def as_of_day(day, line):
    """A record as of a day of January; slower by a fifth from the seventh on."""
    data = json.loads(line) | {"created_at": f"2026-01-{day:02}T00:00:00+00:00"}
    data.setdefault("environment", {})["commit"] = f"commit{day}"
    for timing in data["measures"].get("timings", ()):
        times = timing["samples_s"]
        timing["samples_s"] = [
            (1.2 if day >= 7 else 1.0) * (1 + day % 3 / 500) * one for one in times
        ]
    return f"{json.dumps(data)}\n"


def write_as_on_gpu(folder):
    for name in ON_GPU:
        text = "".join(map(as_on_gpu, lines_of(name)))
        folder.joinpath(f"{name}.jsonl").write_text(text, "utf-8")


@pytest.fixture(scope="module", params=REPORTED)
def report(request, tmp_path_factory):
    """The name of a folder of records, and that of its report."""
    from reports.__main__ import main

    out = tmp_path_factory.mktemp(request.param)
    records = REPORTED[request.param]
    if request.param == "gpu":
        records = tmp_path_factory.mktemp("records")
        write_as_on_gpu(records)
    said = printed(lambda: main([str(records), "--out", str(out)]))
    out.joinpath("terminal.txt").write_text(said.replace(str(out), "OUT"), "utf-8")
    return request.param, out


def test_the_tables_of_a_report_are_as_kept_in_markdown(kept, report):
    name, out = report
    kept(f"{name}/report.md", joined(texts_of(out, ".md")))


def test_the_answers_and_the_data_of_figures_are_as_kept(kept, report):
    name, out = report
    page = DRAWN.sub("", (out / "index.html").read_text("utf-8"))
    sections = page.partition("<main>")[2].split("<section id=")
    told = [part for part in sections if part.startswith(('"overview"', '"figure-'))]
    kept(f"{name}/answers.txt", words("".join(told)))


def test_every_other_form_of_a_report_is_as_kept(kept, report):
    name, out = report
    texts = texts_of(out, ".tex", ".csv", ".txt", ".html")
    texts["index.html"] = DRAWN.sub("", texts["index.html"])
    lines = [f"{hashlib.sha256(texts[at].encode()).hexdigest()}  {at}\n" for at in sorted(texts)]
    kept(f"{name}/others.sha256", "".join(lines), hint=f"as they are now: {out}")


def test_a_page_is_at_most_a_megabyte(report):
    assert (report[1] / "index.html").stat().st_size <= LARGEST_PAGE


def test_ticks_of_the_figures_of_a_report_are_plain_numbers(report):
    drawings = texts_of(report[1], ".svg")
    assert [name for name, svg in drawings.items() if "mathdefault" in svg or "$" in svg] == []


def test_predicted_times_on_known_devices_are_as_kept(kept):
    from reports.blocks import predictions
    from reports.model import frame
    from reports.render import markdown

    tables = predictions.predicted_time_tables(frame.build_frame(record.read_records(INTEL)))
    kept("intel/predictions.md", joined({one.name: markdown.to_markdown(one) for one in tables}))


@pytest.mark.parametrize("name", OUTCOMES)
def test_an_outcome_is_as_kept_in_every_form(kept, name, tmp_path):
    from reports import show
    from reports.gate import findings as regress
    from reports.gate import other_tools

    found = outcome.read_outcome(OUTCOMES[name])
    regress.write_reports(found, tmp_path)
    (tmp_path / outcome.OUTCOME_FILE).unlink()
    texts = texts_of(tmp_path, ".md", ".xml", ".json") | {
        "terminal.txt": printed(lambda: show(regress.outcome_tables(found))),
        "annotations.txt": other_tools.annotations(found),
        "status.txt": f"{found.status} {regress.headline(found)}",
    }
    kept(f"outcomes/{name}.txt", joined(texts))


def test_a_history_of_runs_is_as_kept(kept, tmp_path):
    from reports.gate import trends

    for day in range(1, 13):
        run = tmp_path / "runs" / f"{day:02}"
        run.mkdir(parents=True)
        texts = [as_of_day(day, line) for line in lines_of("efficiency")]
        run.joinpath("records.jsonl").write_text("".join(texts), "utf-8")
    shutil.copy(MADE_UP / "comparisons.jsonl", tmp_path / "runs")
    series = history.read_series(tmp_path / "runs")
    trends.write_history(series, tmp_path)
    texts = texts_of(tmp_path, ".md") | {"sentence.txt": trends.history_sentence(series)}
    texts["index.html"] = DRAWN.sub("", steady((tmp_path / "index.html").read_text("utf-8")))
    kept("outcomes/history.txt", joined(texts))


def test_what_the_gate_finds_in_two_folders_is_as_kept(kept, tmp_path):
    from bench import regress

    base, head, out = (tmp_path / name for name in ("base", "head", "out"))
    for folder, day in ((base, 1), (head, 8)):
        folder.mkdir()
        for name in ("efficiency", "table1", "table2"):
            texts = [as_of_day(day, line) for line in lines_of(name)]
            folder.joinpath(f"{name}.jsonl").write_text("".join(texts), "utf-8")
    # One block has gone, and others have a parameter more.
    later = (head / "table1.jsonl").read_text("utf-8").splitlines(keepends=True)
    text = "".join(line for line in later if "apnb-concat" not in line)
    (head / "table1.jsonl").write_text(text.replace(": 1575936,", ": 1575937,"), "utf-8")
    regress.main(["--base", str(base), "--head", str(head), "--out", str(out)])
    findings = outcome.read_outcome(out).findings
    lines = [f"{one.model_dump_json(exclude_defaults=True)}\n" for one in findings]
    kept("outcomes/folders.jsonl", steady("".join(lines)))
