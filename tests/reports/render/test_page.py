"""The page with answers, sources and raw records: whole, and safe whatever records say."""

import dataclasses
import html as entities
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from bench.records import comparison
from bench.records.files import append_line
from bench.records.record import Document
from reports import __main__ as command
from reports import overview, provenance
from reports.audit import audit, claims
from reports.gate import comparisons
from reports.model import Figure, frame
from reports.model.table import Column, Interval, Number, Table
from reports.render import html, records_page

KEPT = Path(__file__).parents[3] / "reports" / "reference" / "intel-xeon-2-cores"

SOME = Table("t", "T", (Column("n"),), ((1,),))
HOSTILE = (
    "<script>document.title='run'</script>",
    '"><img src=x onerror=document.title="run">',
    "</script></style></title><svg onload=alert(1)>",
    "javascript:alert(1)",
    "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "]]>&lt;&#x3c;b&#62;",
)


class Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


def parsed(page):
    reader = Reader()
    reader.feed(page)
    return reader


def written(records, folder):
    for record in records:
        append_line(folder / "records" / "all.jsonl", record)
    assert command.main([str(folder / "records"), "--out", str(folder), "--format", "html"]) == 0
    return (folder / "index.html").read_text(), (folder / html.RAW).read_text()


def hostile(record, text):
    """The record with the text in every field that takes any."""
    changed = {
        "cell": text,
        "subject": text,
        "command": text,
        "created_at": text,
        "implementation": text,
        "axes": {**record.axes, text: text},
        "document": Document(title=text, table=text, row=text, device=text, note=text),
    }
    if record.environment:
        names = ("device_name", "os", "python", "torch", "cuda", "commit", "code")
        environment = {
            **dict.fromkeys(names, text),
            "packages": {text: text},
            "flags": {text: text},
        }
        changed["environment"] = record.environment.model_copy(update=environment)
    return record.model_copy(update=changed)


def test_a_comparison_by_turns_is_an_answer():
    kept = comparison.read_comparisons(KEPT)
    (part,) = overview.overview_sections(frame.build_frame(()), kept)
    assert part.sentences == tuple(f"{comparisons.comparison_sentence(one)}." for one in kept)


def test_hostile_records_gain_no_element_no_attribute_and_no_address(make, tmp_path):
    text = " ".join(HOSTILE)
    safe = written([hostile(one, "harmless") for one in make.table1()], tmp_path / "safe")
    found = written([hostile(one, text) for one in make.table1()], tmp_path / "found")
    for before, after in zip(map(parsed, safe), map(parsed, found), strict=True):
        assert [tag for tag, _ in after.tags] == [tag for tag, _ in before.tags]
        assert [list(a) for _, a in after.tags] == [list(a) for _, a in before.tags]
        links = [v for _, a in after.tags for k, v in a.items() if k.endswith(("href", "src"))]
        assert all(link.startswith(("#", f"{html.RAW}#", "index.html")) for link in links)
    assert text in "".join(parsed(found[0]).text)


def test_hostile_experiments_and_sizes_reach_the_page_as_text(make, tmp_path):
    text = " ".join(HOSTILE)
    records = [one.model_copy(update={"experiment": text, "size": text}) for one in make.table6()]
    page, _ = written([*records, *make.table1()], tmp_path)
    found = parsed(page)
    assert [attributes for tag, attributes in found.tags if tag == "script"] == [{}]
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert not [
        name for _, attributes in found.tags for name in attributes if name.startswith("on")
    ]


def test_the_policy_allows_the_one_script_and_no_address(made):
    policy = next(a["content"] for t, a in parsed(made[0]).tags if a.get("http-equiv"))
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert "http" not in policy


def test_every_link_to_a_raw_record_finds_it(made):
    page, records, _ = made
    anchors = {a["id"] for _, a in parsed(records).tags if "id" in a}
    links = [a["href"] for t, a in parsed(page).tags if t == "a" and html.RAW in a["href"]]
    assert len(links) > 20
    assert {link.partition("#")[2] for link in links} <= anchors


def test_a_raw_record_is_shown_as_it_was_written(make):
    record = make.table1()[0]
    table = Table("t", "T", (Column("n"),), ((1,),), origins=((record,),))
    records, names = records_page.record_anchors([table])
    line = re.search(r"<pre>(.*)</pre>", records_page.raw_page(records, names))[1]
    assert json.loads(entities.unescape(line)) == record.model_dump(
        mode="json", exclude_defaults=True
    )


def test_records_of_one_cell_have_names_of_their_own(make):
    one = make.table1()[0]
    both = (one, one.model_copy(update={"created_at": "later"}))
    _, names = records_page.record_anchors(
        [Table("t", "T", (Column("n"),), ((1,),), origins=(both,))]
    )
    assert len(set(names.values())) == 2


def test_a_row_of_many_records_says_how_many_more(make):
    many = tuple(make.record("table1", {"block": "nb"}, source="measured") for _ in range(9))
    table = Table("t", "T", (Column("n"),), ((1,),), origins=(many,))
    page = html.report_page([table], addresses=records_page.record_anchors([table])[1])
    assert "and 5 more" in page


def test_a_number_brings_itself_whole_and_its_base_unit():
    column = Column("time", "ms", 1, 1e-3, "seconds")
    rows = ((0.0123456789,), (Interval(0.5, 0.25, 0.75),), (Number(7.25, 0),))
    tags = parsed(html.report_page([Table("t", "T", (column,), rows)])).tags
    numbers = [a["data-v"] for _, a in tags if "data-v" in a]
    assert numbers == ["0.0123456789", "0.5 [0.25, 0.75]", "7.25"]
    assert [a["data-b"] for _, a in tags if "data-b" in a] == ["seconds"]


def test_the_best_is_marked_for_the_eye_and_the_ear_and_explained():
    table = Table("t", "T", (Column("n", best="min"),), ((1,), (2,)))
    page = html.report_page([table])
    assert [a["aria-label"] for t, a in parsed(page).tags if a.get("class") == "star"] == ["best"]
    assert "\u2605 marks the best of its column" in "".join(parsed(page).text)


def test_a_table_without_a_best_explains_no_mark():
    assert "marks the best" not in html.report_page([Table("t", "T", (Column("n"),), ((1,), (2,)))])


def test_long_tables_keep_their_heading_and_short_ones_need_not():
    long, short = (Table("t", "T", (Column("n"),), ((1,),) * rows) for rows in (html.LONG + 1, 3))
    assert 'class="scroll long"' in html.report_page([long])
    assert 'class="scroll long"' not in html.report_page([short])
    assert re.search(r"\.scroll\.long thead th \{ position: sticky", html.report_page([long]))


def test_the_page_begins_with_figures_then_has_answers_then_tables(made):
    text = made[0].partition("<main>")[2]
    first = text.index('<section id="')
    assert text.startswith('<section id="figure-audit-figure"', first)
    places = [
        text.index(part) for part in ("<svg", "<h2>Answers", "<h2>More figures", "<h2>Tables")
    ]
    assert places == sorted(places)


def test_the_answers_follow_from_the_records(make):
    built = frame.build_frame(make.table1())
    kinds = [audit.judge_claim(claim).kind for claim in claims.published_claims(built)]
    count = kinds.count("paper's protocol only")
    assert count > 0
    (published,) = overview.overview_sections(built)
    assert f"{count} reproduced by the paper's own procedure" in published.sentences[0]
    said = f"{count} of {len(kinds)} published efficiency numbers are reproduced by the paper's own procedure"
    assert any(one.startswith(said) for one in published.details)


def test_without_records_nothing_is_said():
    assert overview.overview_sections(frame.build_frame(())) == ()


def test_trainings_are_counted_by_what_they_say_of_the_text(make):
    (part,) = overview.overview_sections(frame.build_frame(make.table6()))
    assert part.sentences[0].startswith("Trainings (scenes, quick, 3 seeds) support ")
    assert part.sentences[0].endswith(" of the 18 comparisons that the text makes of Table 6.")


def test_environments_differ_in_more_than_their_load(make):
    busy = make.CPU.model_copy(update={"load_average": 7.0})
    records = [
        make.record("table1", {"block": str(at)}, source="measured", environment=environment)
        for at, environment in enumerate((make.CPU, busy, make.GPU))
    ]
    rows = provenance.environment_table(records).rows
    assert [(row[0], row[-1]) for row in rows] == [
        ("cpu: Example CPU", 2),
        ("cuda: Example GPU", 1),
    ]


def test_commands_are_those_of_the_records_or_measure_the_same_again(make):
    said = make.record("table1", {"block": "a"}, source="measured", command="python -m bench.x")
    unsaid = make.record("crossover", {"block": "b"}, source="measured")
    rows = provenance.command_table([said, said, unsaid]).rows
    assert rows[0] == ("python -m bench.x", "table1", 2)
    assert "python -m bench.ablations --experiment crossover" in rows[1][0]


def test_the_page_names_the_machine_and_the_command(made):
    text = "".join(parsed(made[0]).text)
    assert "python -m bench.efficiency --size 96x96" in text
    assert "Python 3.12.3, torch 2.15.0" in text


def test_the_page_says_first_what_it_is_about_and_where_it_was_measured(made):
    summary = made[0].partition("<h1>")[2].partition("<nav")[0]
    assert "What context blocks for semantic segmentation cost" in summary
    assert re.search(r"\d+ records, measured on Example CPU\.", summary)


def test_a_summary_stands_above_the_figures():
    page = html.report_page([SOME], summary=("3 of 7 records are there.",))
    assert page.index("3 of 7 records are there.") < page.index("<main>")


def test_a_note_of_several_tables_stands_once_ahead_of_them():
    table = Table("t", "T", (Column("n"),), ((1,),), notes=("shared by all",))
    tables = [dataclasses.replace(table, name=f"t{at}") for at in range(html.SHARED)]
    found = parsed(html.report_page(tables))
    assert "".join(found.text).count("shared by all") == 1
    links = [attributes.get("href") for _, attributes in found.tags]
    assert links.count("#note-1") == html.SHARED


def test_the_numbers_of_a_figure_that_are_a_table_of_the_page_are_a_link():
    figure = Figure("f", "F", "<svg></svg>", "words", SOME)
    page = html.report_page([SOME], [figure])
    assert '<a href="#t">The numbers</a>' in page
    assert page.count("<table>") == 1
    assert html.report_page([], [figure]).count("<table>") == 1


def test_figures_that_lead_stand_first():
    figures = [
        Figure(f"f{lead}", "F", "<svg></svg>", "words", SOME, lead=lead) for lead in (0, 2, 1)
    ]
    page = html.report_page([SOME], figures)
    order = [
        re.search("figure-f1", page),
        re.search("figure-f2", page),
        re.search("<h2>More figures", page),
    ]
    assert [place.start() for place in order] == sorted(place.start() for place in order)
