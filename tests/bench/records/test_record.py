import errno
import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records import files, record
from bench.records.record import Measures, Record, Timing


def make(cell="a", **fields):
    return Record(
        source="measured",
        experiment="e",
        cell=cell,
        subject="nb",
        axes={"block": "nb"},
        size="4x4",
        **fields,
    )


def test_what_is_appended_is_read_back(tmp_path):
    path = tmp_path / "new" / "records.jsonl"
    records = (
        make("a"),
        make("b", measures=Measures(timings=(Timing(clock="wall", samples_s=(0.1, 1e-9)),))),
    )
    for item in records:
        files.append_line(path, item)
    assert record.read_records(path) == records


def test_a_folder_is_read_file_by_file_in_the_order_of_names(tmp_path):
    files.append_line(tmp_path / "b.jsonl", make("second"))
    files.append_line(tmp_path / "a" / "x.jsonl", make("first"))
    assert [item.cell for item in record.read_records(tmp_path)] == ["first", "second"]


@given(st.integers(1, 400))
def test_a_line_torn_anywhere_is_passed_over_and_then_cut_off(tmp_path_factory, kept):
    path = tmp_path_factory.mktemp("torn") / "records.jsonl"
    files.append_line(path, make("whole"))
    line = path.read_bytes()[:-1]
    path.write_bytes(line + b"\n" + line[: min(kept, len(line))])
    assert [item.cell for item in record.read_records(path)] == ["whole"]
    files.append_line(path, make("next"))
    assert [item.cell for item in record.read_records(path)] == ["whole", "next"]


def test_a_disk_that_fills_up_in_the_middle_of_a_record_leaves_the_finished_ones(
    tmp_path, monkeypatch
):
    path = tmp_path / "records.jsonl"
    files.append_line(path, make("kept"))
    before, write = path.read_bytes(), os.write

    def fill(file, line):
        if path.stat().st_size > len(before):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, line[:20])

    monkeypatch.setattr(files.os, "write", fill)
    with pytest.raises(
        OSError, match=r"records.jsonl: the record could not be written \(No space left on device\)"
    ):
        files.append_line(path, make("lost"))
    assert path.read_bytes() == before


def test_a_file_that_may_not_grow_is_named_and_keeps_its_records(tmp_path):
    path = tmp_path / "records.jsonl"
    files.append_line(path, make("kept"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 20, limits[1]))
    try:
        with pytest.raises(OSError, match=r"records.jsonl: the record could not be written"):
            files.append_line(path, make("lost"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes().endswith(b"\n")
    files.append_line(path, make("next"))
    assert [item.cell for item in record.read_records(path)] == ["kept", "next"]


def test_an_error_of_the_disk_reaches_the_caller(tmp_path, monkeypatch):
    def refuse(file, line):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(files.os, "write", refuse)
    with pytest.raises(OSError, match="broken"):
        files.append_line(tmp_path / "records.jsonl", make())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", r"records.jsonl:1: source: Field required"),
        ("nonsense", r"records.jsonl:1: the line: Invalid JSON"),
        ('{"source": "guessed"}', r"records.jsonl:1: source: Input should be 'measured'"),
    ],
)
def test_a_line_that_is_no_record_is_named_with_its_fault(tmp_path, line, message):
    path = tmp_path / "records.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(ValueError, match=message):
        record.read_records(path)


def test_an_unknown_key_is_refused(tmp_path):
    text = make().model_dump_json().replace('"cell"', '"sell":1,"cell"')
    with pytest.raises(ValueError, match="sell: Extra inputs are not permitted"):
        files.parse_line(Record, text, where="here")


def test_binary_is_refused_as_no_text(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ValueError, match="not text"):
        record.read_records(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="do not exist; give a .jsonl file or a folder"):
        record.read_records(tmp_path / "none.jsonl")


def test_infinite_numbers_are_refused():
    with pytest.raises(ValueError, match="finite number"):
        Timing(clock="wall", samples_s=(float("inf"),))


@given(st.text())
def test_any_text_is_a_record_or_a_clear_error(text):
    with pytest.raises(ValueError, match=r"^here: "):
        files.parse_line(Record, text, where="here")
