"""A page of made-up records, as the command writes it."""

import pytest

from bench.records.files import append_line
from reports import __main__ as command
from reports.render import html


@pytest.fixture(scope="package")
def made(make, tmp_path_factory):
    """The page, that of its raw records, and their folder."""
    folder = tmp_path_factory.mktemp("page")
    records = [*make.table1(), *make.table6()]
    records[0] = records[0].model_copy(
        update={"command": "python -m bench.efficiency --size 96x96"}
    )
    for record in records:
        append_line(folder / "records" / "all.jsonl", record)
    assert command.main([str(folder / "records"), "--out", str(folder), "--format", "html"]) == 0
    return (folder / "index.html").read_text(), (folder / html.RAW).read_text(), folder
