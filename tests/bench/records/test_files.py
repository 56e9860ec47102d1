"""Files that are written whole or not at all."""

import resource

import pytest

from bench.records import write_whole


def limited(size):
    """Set the largest file of this process; return what puts the limit back."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_takes_the_place_of_the_one_before_and_its_folder_is_made(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_whole(path, b"first")
    with path.open("rb") as reader:
        write_whole(path, b"second")
        assert reader.read() == b"first"
    assert path.read_bytes() == b"second"
    assert [item.name for item in path.parent.iterdir()] == ["a.json"]


def test_a_full_disk_leaves_the_earlier_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, b"first")
    restore = limited(100)
    try:
        with pytest.raises(
            OSError, match=r"a\.json: could not be written \(File too large\); make"
        ):
            write_whole(path, b"x" * 1000)
    finally:
        restore()
    assert path.read_bytes() == b"first"
    assert [item.name for item in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_a_file_is_named_with_the_words_of_the_caller(tmp_path):
    (tmp_path / "folder").write_bytes(b"")
    with pytest.raises(
        OSError, match=r"folder.a\.json: no room \(Not a directory|File exists\); stop"
    ):
        write_whole(tmp_path / "folder" / "a.json", b"", failure="no room ({}); stop")
