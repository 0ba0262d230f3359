import pytest

from brainbert.processing.atomic import written_whole


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("old")
    with written_whole(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), written_whole(path) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".model.part").mkdir()
    (tmp_path / ".model.part" / "half.bin").write_text("half")
    with written_whole(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "whole.bin").write_text("whole")
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "whole.bin"]


def test_an_existing_folder_is_not_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.bin").write_text("mine")
    with pytest.raises(OSError, match="model"), written_whole(tmp_path / "model") as temporary:
        temporary.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "mine.bin"]
