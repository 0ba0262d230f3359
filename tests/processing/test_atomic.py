import pytest

from brainbert.processing.atomic import only_writer, remove_parts, written_whole


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


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "table.txt"
    with written_whole(path) as first:
        first.write_text("whole of the first")
        with written_whole(path) as second:
            second.write_text("whole of the second")
        assert path.read_text() == "whole of the second"
    assert path.read_text() == "whole of the first"


def test_what_a_killed_process_left_can_be_removed(tmp_path):
    (tmp_path / ".model.12345678.part").mkdir()
    (tmp_path / ".model.12345678.part" / "half.bin").write_text("half")
    (tmp_path / "mine.part").write_text("mine")
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["mine.part"]


def test_a_folder_has_one_writer_at_a_time(tmp_path):
    with only_writer(tmp_path / "run"), pytest.raises(ValueError, match="Another process is writing to"):
        only_writer(tmp_path / "run").__enter__()
    with only_writer(tmp_path / "run"):
        pass


def test_an_existing_folder_is_not_replaced(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.bin").write_text("mine")
    with pytest.raises(OSError, match="model"), written_whole(tmp_path / "model") as temporary:
        temporary.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "mine.bin"]
