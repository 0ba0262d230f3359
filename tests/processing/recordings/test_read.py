"""Reading: the same microvolts from every format, and a refusal for what is not what it says."""

import json
import shutil
import warnings
from pathlib import Path
from types import SimpleNamespace

import mne
import numpy as np
import pytest
from mne_bids import BIDSPath, write_raw_bids

from brainbert.processing.recordings import identify_recording, read_recording
from brainbert.processing.recordings.formats import read_channels

SHAFTS = ("LA1", "LA2", "LA3", "LA4", "A'1", "A'2", "A'4")


def read(files: dict[str, Path], name: str, **arguments):
    return read_recording(files[name], **({"subject": "01"} if name == "BIDS" else {}), **arguments)


# EDF has 16 bits over 800 µV; BrainVision is written with 0.1 µV steps as 32-bit floats; FIF as float32 volts.
@pytest.mark.parametrize(
    ("name", "resolution_uv"), [("EDF", 0.0123), ("BrainVision", 1e-4), ("FIF", 1e-4), ("BIDS", 1e-4)]
)
def test_every_format_gives_the_same_microvolts_and_names(files, microvolts, name, resolution_uv):
    recording = read(files, name)
    assert recording.contacts == SHAFTS
    assert recording.types == ("seeg",) * 7
    assert recording.sampling_rate == 512.0
    assert recording.data.dtype == np.float32
    assert recording.data.shape == microvolts.shape
    np.testing.assert_allclose(recording.data, microvolts, atol=resolution_uv)


@pytest.mark.parametrize("name", ["FIF", "BIDS"])
def test_bad_contacts_of_the_file_are_honoured(files, name):
    assert read(files, name).bad == {"LA4": "bad in the file"}


@pytest.mark.parametrize(("name", "frame"), [("FIF", "unknown"), ("BIDS", None)])
def test_positions_are_millimetres_in_the_frame_the_file_names(files, name, frame):
    # MNE-Python writes any frame to FIF as "head", without the fiducials that would define one.
    if name == "BIDS":
        system = next(files["BIDS"].rglob("*coordsystem.json"))
        frame = json.loads(system.read_text())["iEEGCoordinateSystem"]
    recording = read(files, name)
    assert recording.coordinate_frame == frame
    np.testing.assert_allclose(recording.positions[0], [3.5, 0, 20], atol=1e-4)
    np.testing.assert_allclose(recording.positions[6], [14, -10, 20], atol=1e-4)


@pytest.mark.parametrize("name", ["EDF", "BrainVision"])
def test_a_file_without_positions_has_none(files, name):
    assert read(files, name).positions is None
    assert read(files, name).coordinate_frame is None


def test_what_was_guessed_is_printed(files, capsys):
    recording = read(files, "EDF")
    said = capsys.readouterr().err
    assert "Kept by name as sEEG (7): LA1, LA2" in said
    assert "Left out (1): ECG" in said
    assert recording.history[0]["types"] == "guessed from names"


def test_contacts_can_be_chosen_and_typed(files):
    recording = read_recording(files["EDF"], contacts={"A'4": "ecog", "LA2": "dbs"})
    assert recording.contacts == ("LA2", "A'4")
    assert recording.types == ("dbs", "ecog")


def test_an_unknown_contact_is_refused(files):
    with pytest.raises(ValueError, match=r"0 channels are called 'LA9'; names in the file that are near: LA"):
        read_recording(files["EDF"], contacts=["LA9"])


@pytest.mark.parametrize("contacts", ["LA1", []])
def test_contacts_that_are_no_list_are_refused(files, contacts):
    with pytest.raises(ValueError, match="give a list of names, or a mapping of name to type"):
        read_recording(files["EDF"], contacts=contacts)


def test_two_channels_of_one_name_are_refused(tmp_path, microvolts):
    edfio = pytest.importorskip("edfio")
    signals = [edfio.EdfSignal(microvolts[0], 512, label=name, physical_dimension="uV") for name in ("A1", "A1", "A2")]
    edfio.Edf(signals).write(tmp_path / "twice.edf")
    with pytest.raises(ValueError, match=r"'twice\.edf' has several channels called A1; rename them in the file"):
        read_recording(tmp_path / "twice.edf", contacts=["A2", "A1-0"])


def test_a_flat_recording_is_read_and_has_no_band(tmp_path):
    raw = mne.io.RawArray(np.zeros((2, 5120)), mne.create_info(["LA1", "LA2"], 512.0, "seeg"), verbose="ERROR")
    raw.save(tmp_path / "x_raw.fif", verbose="ERROR")
    assert read_recording(tmp_path / "x_raw.fif").band_hz is None


def test_a_wrong_contact_type_is_refused(files):
    with pytest.raises(ValueError, match=r"'eeg'.*use 'seeg', 'ecog' or 'dbs'"):
        read_recording(files["EDF"], contacts={"LA2": "eeg"})


def test_scalp_recordings_are_refused(tmp_path, microvolts):
    names = ("Fp1", "F3", "C3", "P3", "O1", "T3", "A1")
    raw = mne.io.RawArray(microvolts * 1e-6, mne.create_info(list(names), 512.0, "eeg"), verbose="ERROR")
    mne.export.export_raw(tmp_path / "scalp.edf", raw, verbose="ERROR")
    with pytest.raises(ValueError, match=r"None of the 7 channels is a depth.*contacts=\["):
        read_recording(tmp_path / "scalp.edf")


def test_an_untyped_fif_is_not_guessed(tmp_path, microvolts):
    raw = mne.io.RawArray(microvolts * 1e-6, mne.create_info(list(SHAFTS), 512.0, "eeg"), verbose="ERROR")
    raw.save(tmp_path / "x_raw.fif", verbose="ERROR")
    with pytest.raises(ValueError, match=r"contact by type .*contacts="):
        read_recording(tmp_path / "x_raw.fif")


def rewrite_edf_units(source: Path, target: Path, unit: str) -> Path:
    content = bytearray(source.read_bytes())
    count = int(content[252:256])
    for i in range(count):
        start = 256 + 96 * count + 8 * i
        content[start : start + 8] = unit.encode("latin-1").ljust(8)
    target.write_bytes(content)
    return target


def test_an_edf_without_a_unit_is_refused_and_can_be_told(files, tmp_path, microvolts):
    path = rewrite_edf_units(files["EDF"], tmp_path / "no_unit.edf", "")
    with pytest.raises(ValueError, match=r"7 contacts have a unit that is no voltage .*unit='µV'"):
        read_recording(path)
    np.testing.assert_allclose(read_recording(path, unit="µV").data, microvolts, atol=0.0123)


def test_a_wrong_unit_in_the_header_is_warned_about_and_can_be_corrected(files, tmp_path, microvolts):
    path = rewrite_edf_units(files["EDF"], tmp_path / "volts.edf", "V")
    with pytest.warns(UserWarning, match=r"standard deviation is 5e\+07 µV, outside 0.5 to 5000 µV: check the unit"):
        read_recording(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(read_recording(path, unit="uV").data, microvolts, atol=0.0123)


def test_an_unknown_unit_is_refused(files):
    with pytest.raises(ValueError, match="unit is 'furlong'; use 'V'"):
        read_recording(files["EDF"], unit="furlong")


def test_a_faster_channel_beside_the_contacts_does_not_resample_them(tmp_path, microvolts):
    edfio = pytest.importorskip("edfio")
    rng = np.random.default_rng(0)
    signals = [
        edfio.EdfSignal(row, 512, label=name, physical_dimension="uV", physical_range=(-400, 400))
        for name, row in zip(SHAFTS, microvolts, strict=True)
    ]
    fast = edfio.EdfSignal(
        rng.standard_normal(20480), 2048, label="DC1", physical_dimension="uV", prefiltering="LP:30Hz"
    )
    edfio.Edf([fast, *signals]).write(tmp_path / "mixed.edf")
    recording = read_recording(tmp_path / "mixed.edf")
    assert recording.sampling_rate == 512.0
    np.testing.assert_allclose(recording.data, microvolts, atol=0.0123)
    assert recording.band_hz[1] > 200


def test_contacts_of_different_rates_are_refused(tmp_path):
    edfio = pytest.importorskip("edfio")
    rng = np.random.default_rng(0)
    signals = [
        edfio.EdfSignal(rng.standard_normal(2 * rate), rate, label=name, physical_dimension="uV")
        for name, rate in (("LA1", 512), ("LA2", 512), ("LA3", 1024))
    ]
    edfio.Edf(signals).write(tmp_path / "mixed.edf")
    with pytest.raises(ValueError, match=r"different sampling rates \(512, 1024 Hz\); read those of one rate"):
        read_recording(tmp_path / "mixed.edf")


def test_a_filter_in_the_header_bounds_the_band(tmp_path, microvolts):
    edfio = pytest.importorskip("edfio")
    signals = [
        edfio.EdfSignal(row, 512, label=name, physical_dimension="uV", prefiltering="HP:1Hz LP:120Hz")
        for name, row in zip(SHAFTS, microvolts, strict=True)
    ]
    edfio.Edf(signals).write(tmp_path / "filtered.edf")
    assert read_recording(tmp_path / "filtered.edf").band_hz == (1.0, 120.0)


def test_types_in_edf_labels_are_used(tmp_path, microvolts):
    info = mne.create_info([*SHAFTS, "Fp1"], 512.0, ["seeg"] * 6 + ["ecog", "eeg"])
    raw = mne.io.RawArray(np.vstack([microvolts, microvolts[:1]]) * 1e-6, info, verbose="ERROR")
    mne.export.export_raw(tmp_path / "typed.edf", raw, add_ch_type=True, verbose="ERROR")
    recording = read_recording(tmp_path / "typed.edf")
    assert recording.contacts == SHAFTS
    assert recording.types == ("seeg",) * 6 + ("ecog",)
    np.testing.assert_allclose(recording.data, microvolts, atol=0.02)


def test_bdf_is_read(tmp_path, microvolts):
    edfio = pytest.importorskip("edfio")
    signals = [
        edfio.BdfSignal(row, 512, label=f"POL {name}-Ref", physical_dimension="uV", physical_range=(-400, 400))
        for name, row in zip(SHAFTS, microvolts, strict=True)
    ]
    edfio.Bdf(signals).write(tmp_path / "x.bdf")
    recording = read_recording(tmp_path / "x.bdf")
    assert recording.contacts == SHAFTS
    np.testing.assert_allclose(recording.data, microvolts, atol=1e-4)  # 24 bits over 800 µV


def test_a_discontinuous_edf_is_warned_about(files, tmp_path):
    content = bytearray(files["EDF"].read_bytes())
    content[192:197] = b"EDF+D"
    (tmp_path / "gaps.edf").write_bytes(content)
    with pytest.warns(UserWarning, match=r"marked as discontinuous: .* export each stretch as a file of its own"):
        read_recording(tmp_path / "gaps.edf")


def test_a_header_in_latin_1_is_read(copy_brainvision, tmp_path, microvolts):
    header = copy_brainvision(tmp_path)
    text = header.read_text(encoding="utf-8").replace("Codepage=UTF-8\n", "")
    header.write_bytes(text.encode("latin-1"))
    np.testing.assert_allclose(read_recording(header).data, microvolts, atol=1e-4)


def test_a_header_that_names_no_data_is_refused(copy_brainvision, tmp_path):
    header = copy_brainvision(tmp_path)
    header.write_text(header.read_text(encoding="utf-8").replace("DataFile=b.eeg", ""), encoding="utf-8")
    with pytest.raises(ValueError, match="names 0 data files; a BrainVision header has one DataFile entry"):
        read_recording(header)


def test_a_header_that_disagrees_with_the_reader_is_refused(files):
    with pytest.raises(ValueError, match="has 8 channels by its header and 1 by MNE-Python; export it anew"):
        read_channels(files["EDF"], SimpleNamespace(ch_names=["LA1"]))


def test_a_split_fif_is_refused(tmp_path, microvolts):
    info = mne.create_info(list(SHAFTS), 512.0, "seeg")
    raw = mne.io.RawArray(np.tile(microvolts, 20) * 1e-6, info, verbose="ERROR")
    raw.save(tmp_path / "long_raw.fif", split_size="2MB", verbose="ERROR")
    with pytest.raises(ValueError, match=r"'long_raw\.fif' is a split FIF file.*join the parts"):
        read_recording(tmp_path / "long_raw.fif")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file 'nothing\.edf'"):
        read_recording(tmp_path / "nothing.edf")


def test_another_format_is_refused(tmp_path):
    (tmp_path / "x.mat").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"'x\.mat' is not a format that is read here; use EDF"):
        read_recording(tmp_path / "x.mat")


def test_half_of_a_brainvision_recording_is_refused(files):
    with pytest.raises(ValueError, match=r"part of a BrainVision recording; give its \.vhdr file"):
        read_recording(files["BrainVision"].with_suffix(".eeg"))


def test_gaps_of_the_file_are_read_as_they_are(tmp_path, microvolts):
    data = np.tile(microvolts, 4) * 1e-6
    data[:, 5120:6000] = np.nan
    raw = mne.io.RawArray(data, mne.create_info(list(SHAFTS), 512.0, "seeg"), verbose="ERROR")
    raw.save(tmp_path / "gap_raw.fif", verbose="ERROR")
    recording = read_recording(tmp_path / "gap_raw.fif")
    assert np.isnan(recording.data[:, 5120:6000]).all()
    assert recording.band_hz is not None


def test_entities_need_a_data_set(files):
    for reader in (read_recording, identify_recording):
        with pytest.raises(ValueError, match="pick a recording of a BIDS data set; give the data set's root"):
            reader(files["EDF"], task="rest")


def test_a_folder_without_subjects_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no sub-\* folders and is not the root of a BIDS data set"):
        read_recording(tmp_path, subject="01")


@pytest.mark.parametrize("subject", [None, "99"])
def test_a_missing_subject_is_refused_with_those_there_are(files, subject):
    with pytest.raises(ValueError, match="the data set 'bids' has subject='01'"):
        read_recording(files["BIDS"], subject=subject)


def test_a_missing_task_is_refused_with_those_there_are(files):
    with pytest.raises(
        ValueError, match="has subject='01', task='sleep'; there are: subject='01', task='rest', run='01'"
    ):
        read_recording(files["BIDS"], subject="01", task="sleep")


def test_several_matching_recordings_are_refused_and_runs_are_numbers(files, tmp_path, microvolts):
    root = tmp_path / "two"
    shutil.copytree(files["BIDS"], root)
    raw = mne.io.RawArray(microvolts[:2] * 1e-6, mne.create_info(["LA1", "LA2"], 512.0, "seeg"), verbose="ERROR")
    raw.info["line_freq"] = 50
    second = BIDSPath(root=root, subject="01", task="rest", run="02", datatype="ieeg")
    write_raw_bids(raw, second, format="BrainVision", allow_preload=True, overwrite=True, verbose="ERROR")
    with pytest.raises(ValueError, match=r"2 recordings have subject='01'; give .*run='01'; .*run='02'"):
        read_recording(root, subject="01")
    assert read_recording(root, subject="1", run=2).contacts == ("LA1", "LA2")


def test_positions_without_a_unit_are_left_out(files, tmp_path):
    root = tmp_path / "bids"
    shutil.copytree(files["BIDS"], root)
    system = next(root.rglob("*coordsystem.json"))
    system.write_text(json.dumps({**json.loads(system.read_text()), "iEEGCoordinateUnits": "n/a"}))
    with pytest.warns(UserWarning, match="Positions are left out: .* unit 'n/a'"):
        recording = read_recording(root, subject="01")
    assert recording.positions is None


def test_a_coordinate_system_called_other_is_told_apart_by_its_space(files, tmp_path):
    root = tmp_path / "bids"
    shutil.copytree(files["BIDS"], root)
    system = next(root.rglob("*coordsystem.json"))
    system.write_text(json.dumps({**json.loads(system.read_text()), "iEEGCoordinateSystem": "Other"}))
    frame = read_recording(root, subject="01").coordinate_frame
    assert frame == f"Other (space-{system.name.split('space-')[1].split('_')[0]})"


@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_an_edf_that_is_cut_off_is_refused(files, tmp_path, kept):
    content = files["EDF"].read_bytes()
    (tmp_path / "half.edf").write_bytes(content[: int(kept * len(content))])
    with pytest.raises(
        ValueError, match=r"'half\.edf' is cut off: its header promises \d+ data records and \d+ are there"
    ):
        read_recording(tmp_path / "half.edf")
