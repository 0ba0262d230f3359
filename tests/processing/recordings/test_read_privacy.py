"""What the reader lets nobody see and what it does not follow: ids instead of names, no folders, no links out."""

import json
import os
import shutil
import sys
import traceback
from pathlib import Path

import numpy as np
import pytest

from brainbert.processing.recordings import identify_recording, read_recording
from brainbert.processing.recordings.formats import refusing_broken

SHAFTS = ("LA1", "LA2", "LA3", "LA4", "A'1", "A'2", "A'4")


def read(files: dict[str, Path], name: str, **arguments):
    return read_recording(files[name], **({"subject": "01"} if name == "BIDS" else {}), **arguments)


@pytest.mark.parametrize("name", ["EDF", "BrainVision", "FIF", "BIDS"])
def test_nothing_of_the_patient_leaves_the_reader(files, name):
    recording = read(files, name)
    said = json.dumps([dict(entry) for entry in recording.history])
    said += repr((recording.id, recording.subject, recording.session, recording.bad, recording.coordinate_frame))
    for word in ("Smith", "Jane", "1234", "Jones", "2017", "/", "\\"):
        assert word not in said


def test_ids_are_hashes_of_the_content_wherever_the_file_lies(files, tmp_path):
    first = read(files, "EDF")
    shutil.copy(files["EDF"], tmp_path / "other name.edf")
    second = read_recording(tmp_path / "other name.edf")
    assert first.id == second.id == first.subject
    assert len(first.id) == 10
    assert int(first.id, 16) >= 0


@pytest.mark.parametrize("name", ["EDF", "BrainVision", "FIF", "BIDS"])
def test_the_id_can_be_had_without_reading(files, name):
    entities = {"subject": "01"} if name == "BIDS" else {}
    assert identify_recording(files[name], **entities) == read(files, name).id


def test_an_id_of_a_header_without_its_data_is_refused(files, tmp_path):
    shutil.copy(files["BrainVision"], tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'b\.vhdr' names 'b\.eeg', which is not beside it"):
        identify_recording(tmp_path / "b.vhdr")


def test_names_given_by_the_user_are_kept(files):
    recording = read_recording(files["FIF"], subject="p7", session="day2", recording_id="p7-a")
    assert (recording.id, recording.subject, recording.session) == ("p7-a", "p7", "day2")
    assert read(files, "BIDS", keep_labels=True).subject == "01"
    assert read(files, "BIDS").subject != "01"


@pytest.mark.parametrize("key", ["DataFile", "MarkerFile", "datafile"])
@pytest.mark.parametrize("target", ["../secret.eeg", "/etc/passwd", "C:\\secret.eeg", "sub/b.eeg", "\n ../secret.eeg"])
def test_a_brainvision_header_that_points_elsewhere_is_refused(copy_brainvision, tmp_path, key, target):
    header = copy_brainvision(tmp_path)
    wanted = key.lower()
    lines = [
        f"{key}={target}" if line.lower().startswith(wanted + "=") else line
        for line in header.read_text(encoding="utf-8").splitlines()
    ]
    header.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match="only a bare file name beside the header is followed"):
        read_recording(header)


def test_data_that_the_header_did_not_name_are_refused(files, monkeypatch):
    # As if MNE-Python understood a header differently than our check.
    monkeypatch.setattr(sys.modules[read_recording.__module__], "check_references", lambda path, **_: [path])
    with pytest.raises(ValueError, match=r"'b\.vhdr' leads to a file other than its own data"):
        read_recording(files["BrainVision"])


@pytest.mark.parametrize("name", ["x.edf", "x.vhdr", "x_raw.fif"])
def test_a_broken_file_is_refused_without_its_folder(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind" * 50)
    with pytest.raises(ValueError, match=name) as caught:
        read_recording(tmp_path / name)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["x.edf", "x.bdf", "x.vhdr", "x_raw.fif"])
@pytest.mark.parametrize("folder", ["Jane_Doe_1970", "Jane Doe 1970"])
def test_no_traceback_of_a_broken_file_names_its_folder(tmp_path, name, folder):
    (tmp_path / folder).mkdir()
    path = tmp_path / folder / name
    path.write_bytes(b"nothing of the kind" * 50)
    if name == "x.vhdr":
        path.write_text("[Common Infos]\nDataFile=x.eeg\n")
    with pytest.raises((ValueError, FileNotFoundError), match="x") as caught:
        read_recording(path)
    said = "".join(traceback.format_exception(caught.value))
    assert "Doe" not in said
    assert "1970" not in said


def test_no_traceback_names_a_folder_that_a_library_error_names(tmp_path):
    path = tmp_path / "Jane Doe 1970" / "bids" / "sub-01" / "x.edf"
    said = r"cannot be read as EDF \(OSError: 'scans\.tsv' is missing in its folder\)"
    with pytest.raises(ValueError, match=said) as caught, refusing_broken(path, "EDF"):
        raise OSError(f"'{path.parents[1] / 'scans.tsv'}' is missing in {path.parents[2]}")
    assert "Doe" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("part", ["channels.tsv", "coordsystem.json", "dataset_description.json"])
def test_no_traceback_of_a_broken_sidecar_names_its_folder(files, tmp_path, part):
    root = tmp_path / "Jane Doe 1970" / "bids"
    shutil.copytree(files["BIDS"], root)
    next(root.rglob(f"*{part}")).write_bytes(b"{\xff\xfe")
    # MNE-BIDS passes over a broken channels.tsv; then no channel is typed.
    said = "None of the 8 channels" if part == "channels.tsv" else "cannot be read as"
    with pytest.raises(ValueError, match=said) as caught:
        read_recording(root, subject="01")
    assert "Doe" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("part", ["b.eeg", "b.vmrk"])
def test_a_link_beside_the_header_that_leads_out_of_its_folder_is_refused(copy_brainvision, tmp_path, part):
    mine, other = tmp_path / "mine", tmp_path / "other_patient"
    mine.mkdir()
    other.mkdir()
    header = copy_brainvision(mine)
    (mine / part).rename(other / "secret")
    (mine / part).symlink_to(Path("..") / "other_patient" / "secret")
    for reader in (read_recording, identify_recording):
        with pytest.raises(ValueError, match=f"'{part}' is a symbolic link that leads out of its folder") as caught:
            reader(header)
        assert "other_patient" not in str(caught.value)


def test_a_link_inside_the_folder_and_a_header_given_as_a_link_are_read(copy_brainvision, files, tmp_path, microvolts):
    header = copy_brainvision(tmp_path)
    (tmp_path / "b.eeg").rename(tmp_path / "really.dat")
    (tmp_path / "b.eeg").symlink_to("really.dat")
    np.testing.assert_allclose(read_recording(header).data, microvolts, atol=1e-4)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.edf").symlink_to(files["EDF"])  # the user names this file, not another file
    assert read_recording(tmp_path / "elsewhere" / "a.edf").contacts == SHAFTS


def linked(root: Path, part: str, target: Path) -> None:
    """Move a file of a data set to `target` and leave a relative link."""
    path = next(root.rglob(part))
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    path.symlink_to(os.path.relpath(target, path.parent))


@pytest.mark.parametrize("part", ["*_ieeg.eeg", "*_ieeg.vhdr", "*_channels.tsv", "*_electrodes.tsv"])
def test_links_of_a_data_set_stay_inside_its_root(files, tmp_path, part):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for root in (inside, outside):
        shutil.copytree(files["BIDS"], root)
    linked(outside, part, tmp_path / "other" / "secret")
    for reader in (read_recording, identify_recording):
        with pytest.raises(ValueError, match="is a symbolic link that leads out of its folder or data set"):
            reader(outside, subject="01")
    if part != "*_ieeg.vhdr":  # git-annex links large files; text stays in git
        linked(inside, part, inside / ".git" / "annex" / "objects" / "SHA256--0")
        assert read_recording(inside, subject="01").contacts == SHAFTS


@pytest.mark.parametrize("part", ["channels.tsv", "electrodes.tsv", "coordsystem.json"])
def test_the_id_changes_with_the_sidecars_that_are_read(files, tmp_path, part):
    root = tmp_path / "bids"
    shutil.copytree(files["BIDS"], root)
    before = identify_recording(root, subject="01")
    sidecar = next(root.rglob(f"*{part}"))
    text = sidecar.read_text(encoding="utf-8-sig")
    changed = {"channels.tsv": ("good", "bad"), "electrodes.tsv": ("0.02", "0.03"), "coordsystem.json": ("{", "{ ")}
    sidecar.write_text(text.replace(*changed[part], 1), encoding="utf-8")
    assert sidecar.read_text(encoding="utf-8") != text
    after = identify_recording(root, subject="01")
    assert before == read(files, "BIDS").id
    assert after == read_recording(root, subject="01").id != before
