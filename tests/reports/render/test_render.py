"""What comes from records is shown as it is, in every format."""

import csv as standard_csv
import io
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from rich.console import Console

from reports import report
from reports.model import frame, plain, text_column
from reports.model.table import Column, Interval, Mark, Table
from reports.render import TerminalTable, csv, html, latex, markdown

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    "[red]x[/red]",
    r"\input{/etc/passwd}",
    "50% & $x_1$ #1 {y} ~ ^",
    "two\nlines",
    "\x1b[31mred",
    "![i](http://example.org/i.png)",
    "=HYPERLINK(1)",
    "**bold** `code` _it_",
    '"><img src=x>',
    "caf\u00e9 \u2603",
)


def table_of(text):
    columns = (Column(text, align="left"), Column("n", text))
    return Table("t", text, columns, ((text, 1.0), (text, Mark(text, text))), text, (text,))


def shown(table, width=400):
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor"
    )
    console.print(TerminalTable(table))
    return console.file.getvalue()


@pytest.mark.parametrize("text", HOSTILE)
def test_the_terminal_shows_the_text_and_obeys_nothing(text):
    said = re.sub(r"\x1b\[[0-9;]*m", "", shown(table_of(text)))
    assert plain(text) in said
    assert "\x1b[31m" not in shown(table_of(text))


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = _Reader()
    reader.feed(page)
    return reader


@pytest.mark.parametrize("text", HOSTILE)
def test_the_page_shows_the_text_and_gains_no_element(text):
    safe, found = (
        read(html.report_page([table], title=table.title))
        for table in (table_of("harmless"), table_of(text))
    )
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in safe.tags]
    assert plain(text) in found.text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_markdown_row_keeps_its_cells(text):
    lines = markdown.to_markdown(table_of(text)).splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3, 3]


@pytest.mark.parametrize("character", list("|*_`<[#$&~\\"))
def test_markdown_escapes(character):
    assert markdown.escape_markdown(f"a{character}b") == f"a\\{character}b"


@pytest.mark.parametrize("text", HOSTILE)
def test_latex_gains_no_command(text):
    commands = re.compile(r"\\[a-zA-Z]+")
    allowed = {
        *commands.findall(latex.to_latex(table_of("harmless"))),
        *(
            r"\textbackslash",
            r"\textasciitilde",
            r"\textasciicircum",
            r"\textless",
            r"\textgreater",
        ),
        *(r"\textbar", r"\textquotedbl", r"\textquotesingle", r"\textasciigrave"),
    }
    assert set(commands.findall(latex.to_latex(table_of(text)))) <= allowed


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("50% & $x_1$", r"50\% \& \$x\_1\$"),
        (r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("caf\u00e9", "caf\u00e9"),
        ("\u2603", "{[}U+2603{]}"),
        ("96\u00d796", r"96\ensuremath{\times}96"),
        ("[b]", "{[}b{]}"),
    ],
)
def test_latex_escapes(text, escaped):
    assert latex.escape_latex(text) == escaped


def test_latex_braces_and_environments_are_balanced():
    text = latex.to_latex(table_of(HOSTILE[4]))
    bare = re.sub(r"\\[{}\\]", "", text)
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{")
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{"))


@pytest.mark.parametrize("text", HOSTILE)
def test_csv_reads_back(text):
    rows = list(standard_csv.reader(io.StringIO(csv.to_csv(table_of(text)))))
    assert {len(row) for row in rows} == {3}
    assert rows[1][0].lstrip("'") == plain(text)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1"])
def test_csv_holds_no_formula(text):
    assert csv.guard_formula(text).startswith("'")


def test_csv_writes_raw_numbers_and_both_ends():
    column = Column("time", "ms", 1, 1e-3, "seconds")
    table = Table("t", "T", (column,), ((Interval(0.01234567, 0.012, 0.013),), (Mark("lost"),)))
    lines = csv.to_csv(table).splitlines()
    assert lines == [
        "time_seconds,time_seconds_low,time_seconds_high,missing",
        "0.01234567,0.012,0.013,",
        ",,,time_seconds: lost",
    ]


def test_a_table_too_wide_goes_on_below_beside_its_names():
    columns = (Column("name", align="left"), *(Column(f"number{at}") for at in range(9)))
    table = Table("t", "T", columns, (("row", *range(9)),))
    said = re.sub(r"\x1b\[[0-9;]*m", "", shown(table, width=40))
    assert max(map(len, said.splitlines())) <= 40
    assert said.count("row") > 1
    assert all(f"number{at}" in said for at in range(9))


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("afnb+apnb@256x128,", "wanted"),
        ("somebody.package.module:Block(channels=2048)" * 3, "wanted"),
        ("several words " * 12, "wanted"),
        ("apnb 9x7", "ConvolutionBackward0" * 8),
    ],
)
@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_verdict_stays_whole_beside_whatever_text(cell, why, width):
    columns = (*map(text_column, ("verdict", "cell", "quantity")), Column("base"))
    table = Table(
        name="t",
        title="T",
        columns=(*columns, text_column("why", wide=True)),
        rows=(("ACCEPTED", cell, "operators", "aten.bmm 2, aten.convolution 3 " * 4, why),),
    )
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown(table, width=width)).splitlines()
    first = {line.split()[0] for line in lines if line[:1].isalpha()}
    assert first <= {"T", "verdict", "ACCEPTED"}
    assert "ACCEPTED" in first
    assert max(map(len, lines)) <= width


@pytest.fixture(scope="module")
def page(make):
    from reports.audit import audit

    operations = [
        make.operations("nb", {"matmul": 0.5, "softmax": 0.25, "convolution": 0.1, "copy": 0.0001}),
        make.operations("apnb", {"matmul": 0.125, "pooling": 0.25}),
    ]
    built = frame.build_frame([*make.table1(), *operations])
    made = (audit.audit_table(built), *report.report_tables(built))
    return html.report_page(made, report.report_figures(built))


def test_the_page_loads_nothing(page):
    reader = read(page)
    assert not [tag for tag, _ in reader.tags if tag in ("link", "iframe", "img", "object")]
    # The one script is its own and stands in it.
    assert [attributes for tag, attributes in reader.tags if tag == "script"] == [{}]
    for tag, attributes in reader.tags:
        links = [v for k, v in attributes.items() if k in ("src", "href", "xlink:href", "srcset")]
        assert all(link.startswith("#") for link in links), tag
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)


def test_the_page_has_language_title_landmarks_and_one_heading(page):
    tags = read(page).tags
    names = [tag for tag, _ in tags]
    assert ("html", {"lang": "en"}) in tags
    assert all(names.count(tag) == 1 for tag in ("h1", "header", "main", "footer", "nav"))
    # The others are those of points in drawings.
    assert names[: names.index("body")].count("title") == 1


def test_every_table_has_a_caption_and_every_heading_a_scope(page):
    tags = read(page).tags
    names = [tag for tag, _ in tags]
    assert names.count("caption") == names.count("table") > 5
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in tags if tag == "th")


def test_identifiers_are_unique_and_links_lead_somewhere(page):
    tags = read(page).tags
    identifiers = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    links = {v[1:] for _, attributes in tags for k, v in attributes.items() if k.endswith("href")}
    assert links <= set(identifiers)


def test_every_figure_has_its_text_alternative(page):
    figures_of = [a for t, a in read(page).tags if t == "div" and a.get("role") == "img"]
    assert len(figures_of) == 3
    assert all(len(attributes["aria-label"]) > 40 for attributes in figures_of)


def test_the_page_has_a_dark_theme_and_a_viewport(page):
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_whatever_the_records_say(tmp_path):
    every_sign = "".join(map(chr, range(32, 0x180)))
    body = "\n".join(
        latex.to_latex(table_of(text)) for text in (*HOSTILE, every_sign, "a--b ?`c ''")
    )
    preamble = (
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{array,booktabs,graphicx}"
    )
    text = rf"{preamble}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "t.tex").write_text(text, encoding="utf-8")
    command = [
        "pdflatex",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "t.tex",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.skipif(shutil.which("latexmk") is None, reason="latexmk is not installed")
def test_latexmk_compiles_a_report_s_tables(make, tmp_path):
    from reports.audit import audit

    built = frame.build_frame([*make.table1(), *make.table6()])
    made = (audit.audit_table(built), *report.report_tables(built))
    preamble = (
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{array,booktabs,graphicx}"
    )
    inputs = "".join(rf"\input{{{table.name}.tex}}\clearpage" for table in made)
    for table in made:
        (tmp_path / f"{table.name}.tex").write_text(latex.to_latex(table), encoding="utf-8")
    text = rf"{preamble}\begin{{document}}{inputs}\end{{document}}"
    (tmp_path / "report.tex").write_text(text, encoding="utf-8")
    options = ("-norc", "-pdf", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape")
    command = ["latexmk", *options, "report.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "report.pdf").stat().st_size > 0
