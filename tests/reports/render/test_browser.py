"""The page in a browser: sorting, filtering, saving, pointing, on a phone, and for those who hear it."""

import html as entities
import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reports.model.table import Column, Interval, Table
from reports.render import html

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


def dumped(page, tmp_path, script, *arguments):
    """The page after a script of the test has run in it; what it returns stands in <pre id=said>."""
    wrapped = POLICY.sub("", page).replace(
        "</body>",
        f"<script>{script}</script><script>run().then(found => {{ const said = document.createElement('pre');"
        "said.id = 'said'; said.textContent = JSON.stringify(found); document.body.append(said); })"
        ".catch(error => { document.body.append('failed: ' + error); });</script></body>",
    )
    path = tmp_path / "wrapped.html"
    path.write_text(wrapped, encoding="utf-8")
    done = browse(path, tmp_path, "--virtual-time-budget=20000", *arguments, "--dump-dom")
    found = re.search(r'<pre id="said">(.*?)</pre>', done, re.DOTALL)
    assert found, done[-500:]
    return json.loads(entities.unescape(found[1]))


def browse(path, tmp_path, *arguments):
    start = (
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
    )
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    line = [*start, profile, "--window-size=1280,1000", *arguments, path.as_uri()]
    return subprocess.run(line, capture_output=True, text=True, timeout=240, check=True).stdout


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
SORTED = Table(
    "t",
    "T",
    (Column("name", align="left"), Column("n", "MiB", 1)),
    (("b", 10.0), ("a", 9.0), ("c", None), ("d", 100.0)),
)
CLICKS = """
async function run() {
  const column = () => [...document.querySelectorAll("tbody tr")].map((row) => row.cells[0].textContent);
  const heading = document.querySelectorAll("thead th")[1];
  const seen = [[heading.ariaSort, column()]];
  for (let at = 0; at < 3; at += 1) {
    heading.querySelector("button").click();
    seen.push([heading.ariaSort, column()]);
  }
  return seen;
}"""


@needs_browser
def test_a_heading_sorts_up_and_down_and_back(tmp_path):
    assert dumped(html.report_page([SORTED]), tmp_path, CLICKS) == [
        ["none", ["b", "a", "c", "d"]],
        ["ascending", ["a", "b", "d", "c"]],
        ["descending", ["d", "b", "a", "c"]],
        ["none", ["b", "a", "c", "d"]],
    ]


@needs_browser
def test_the_script_runs_under_the_page_s_own_policy(tmp_path):
    (tmp_path / "index.html").write_text(html.report_page([SORTED]), encoding="utf-8")
    assert '<html lang="en" class="sortable">' in browse(
        tmp_path / "index.html", tmp_path, "--dump-dom"
    )


TOOLS = """
async function run() {
  const rows = () => [...document.querySelectorAll("tbody tr:not([hidden]) th")].map((cell) => cell.textContent);
  const input = document.querySelector("input[type=search]");
  input.value = "b 250";
  input.dispatchEvent(new Event("input"));
  const filtered = [rows(), document.querySelector("output").value];
  const cell = document.querySelector("[data-v]");
  cell.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
  const blobs = [];
  URL.createObjectURL = (blob) => { blobs.push(blob); return "#"; };
  document.querySelector(".save").click();
  return { filtered, hover: cell.title, csv: await blobs[0].text() };
}"""
TOOLED = Table(
    "t",
    "T",
    (Column("name", align="left"), Column("time", "ms", 1, 1e-3, "seconds")),
    tuple(
        (name, Interval(at / 8, at / 16, at))
        for at, name in enumerate(("a1", "b1", "b2", "=b2", "c", "d", "e", "f"))
    ),
)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    return dumped(html.report_page([TOOLED]), tmp_path_factory.mktemp("tools"), TOOLS)


@needs_browser
def test_the_filter_keeps_rows_that_hold_all_words(told):
    assert told["filtered"] == [["b2"], "1 of 8 rows"]


@needs_browser
def test_a_pointer_on_a_number_shows_it_whole_in_its_base_unit(told):
    assert told["hover"] == "0 [0, 0] seconds"


@needs_browser
def test_a_table_is_saved_with_whole_numbers_and_without_formulas(told):
    lines = told["csv"].splitlines()
    assert lines[0] == '"name","time ms, in seconds"'
    assert lines[2] == '"b1","0.125 [0.0625, 1]"'
    assert lines[4].startswith('"\'=b2"')


POINTED = """
async function run() {
  const point = document.querySelector(".drawing use title, .drawing title").parentElement;
  point.scrollIntoView();
  const box = point.getBoundingClientRect();
  const at = { bubbles: true, clientX: box.left + 1, clientY: box.top + 1 };
  point.dispatchEvent(new PointerEvent("pointermove", at));
  const tip = document.getElementById("tip");
  return [tip.hidden, tip.textContent];
}"""


@needs_browser
def test_a_point_of_a_figure_says_its_numbers(made, tmp_path):
    hidden, text = dumped(made[0], tmp_path, POINTED)
    assert not hidden
    assert text.startswith("Table 1, NB 96x96, operations: 58 of 58 GFLOPs")


WIDTHS = """
async function run() {
  const frame = document.createElement("iframe");
  frame.style.width = "390px";
  frame.srcdoc = document.documentElement.outerHTML.replace(/<script>[^]*?<\\/script>/g, "");
  document.body.append(frame);
  await new Promise((done) => frame.addEventListener("load", done));
  const page = frame.contentDocument.documentElement;
  return [page.clientWidth, page.scrollWidth];
}"""


@needs_browser
def test_on_a_phone_only_tables_scroll_sideways(made, tmp_path):
    shown, needed = dumped(made[0], tmp_path, WIDTHS)
    assert needed <= shown <= 390


def axe():
    """The file of axe-core that a Python package brings, if one is installed."""
    for package in ("axe_playwright_python", "axe_core_python"):
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            path = Path(found.origin).parent / "axe.min.js"
            if path.is_file():
                return path
    return None


@needs_browser
@pytest.mark.slow
@pytest.mark.skipif(axe() is None, reason="axe-core is not installed: pip install axe-core-python")
@pytest.mark.parametrize("scheme", [0, 1], ids=["dark", "light"])
def test_axe_finds_no_violation(made, tmp_path, scheme):
    script = axe().read_text(encoding="utf-8").replace("</script", "<\\/script")
    run = "const run = async () => (await axe.run()).violations.map((one) => [one.id, one.nodes[0].html]);"
    blink = f"--blink-settings=preferredColorScheme={scheme}"
    assert dumped(made[0], tmp_path, f"{script}\n{run}", blink) == []
    assert dumped(made[1], tmp_path, f"{script}\n{run}", blink) == []
