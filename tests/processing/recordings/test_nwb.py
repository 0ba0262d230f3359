"""NWB files, written by PyNWB as data sets have them, read with h5py."""

import datetime
import traceback
import warnings
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest
from pynwb.ecephys import LFP, ElectricalSeries

from brainbert.processing.recordings.nwb import open_nwb

# Few of these files name the unit of their positions.
pytestmark = pytest.mark.filterwarnings("ignore:Positions are left out")

RATE = 512.0
SAMPLES = 5000
STORED = np.random.default_rng(0).integers(-2000, 2000, (SAMPLES, 6)).astype(np.int16)


def nwb_file(*, labels: bool = True, columns: dict[str, list] | None = None, x_said: str = "") -> pynwb.NWBFile:
    """Four contacts of an ECoG grid and two of a depth electrode, 3 units apart, of a patient called Jane Smith."""
    file = pynwb.NWBFile(
        session_description="Smith, Jane: day 3",
        identifier="Smith-1234",
        session_start_time=datetime.datetime(2017, 5, 4, tzinfo=datetime.UTC),
        experimenter="Jones, Doctor",
        notes="Smith again",
        subject=pynwb.file.Subject(subject_id="Smith-1234", age="P47Y", description="Jane Smith", sex="F"),
    )
    columns = {**({"label": ["G1", "G2", "G3", "G4", "LID1", "LID2"]} if labels else {}), **(columns or {})}
    for name in columns:
        file.add_electrode_column(name=name, description=f"{name} of Smith")
    device = file.create_device(name="amplifier", description="Amplifier of Smith")
    groups = [
        file.create_electrode_group(name=name, description=said, location="Smith's brain", device=device)
        for name, said in (("GRID", "ECoG grid"), ("LID", "left insular depth"))
    ]
    for i in range(6):
        group, extra = groups[i > 3], {name: values[i] for name, values in columns.items()}
        place = {"x": 3.0 * i, "y": 1.0, "z": 2.0}
        file.add_electrode(**place, location="Smith", filtering="250 Hz lowpass", group=group, **extra)
    for axis in "xyz":
        column = file.electrodes[axis]
        column.fields["description"] = x_said or column.description
    return file


def series(file: pynwb.NWBFile, name: str = "ECoG", *, rows: list[int] | None = None, **given) -> ElectricalSeries:
    rows = list(range(6)) if rows is None else rows
    region = file.create_electrode_table_region(region=rows, description="Smith's electrodes")
    timing = {} if "timestamps" in given else {"rate": RATE}
    return ElectricalSeries(name=name, electrodes=region, **{"data": STORED[:, rows], **timing, **given})


def write(path: Path, file: pynwb.NWBFile, *acquired: ElectricalSeries) -> Path:
    for one in acquired:
        file.add_acquisition(one)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


@pytest.fixture
def plain(tmp_path) -> Path:
    file = nwb_file()
    return write(tmp_path / "a.nwb", file, series(file, conversion=2e-7))


def everything(path: Path, **given) -> np.ndarray:
    signals = open_nwb(path, **given)
    return signals.read(range(len(signals.names)), 0, signals.num_samples)


def test_integers_become_microvolts_by_all_of_the_schemas_factors(tmp_path):
    file, factors = nwb_file(), np.arange(1, 7, dtype=np.float32)
    path = write(tmp_path / "a.nwb", file, series(file, conversion=2e-7, channel_conversion=factors, offset=3e-6))
    np.testing.assert_allclose(everything(path), (STORED * 0.2 * factors + 3).T, rtol=1e-6, atol=1e-9)
    with pynwb.NWBHDF5IO(path, "r") as io:
        volts = io.read().acquisition["ECoG"].get_data_in_units()
    np.testing.assert_allclose(everything(path), volts.T * 1e6, rtol=1e-6, atol=1e-9)


def test_volts_in_single_precision_become_microvolts(tmp_path):
    file, volts = nwb_file(), (STORED * 1e-6).astype(np.float32)
    np.testing.assert_allclose(everything(write(tmp_path / "a.nwb", file, series(file, data=volts))), STORED.T, 1e-6)


def test_another_unit_is_read_when_it_is_known_or_given(plain):
    for said, given, scale in (("microvolts", None, 2e-7), ("counts", "mV", 2e-4), ("volts", "µV", 2e-7)):
        with h5py.File(plain, "a") as file:
            file["acquisition/ECoG/data"].attrs["unit"] = said
        np.testing.assert_allclose(everything(plain, unit=given), STORED.T * scale, rtol=1e-6)
    with h5py.File(plain, "a") as file:
        file["acquisition/ECoG/data"].attrs["unit"] = "counts"
    with pytest.raises(ValueError, match=r"is in 'counts', which is no voltage; .* give unit='µV'"):
        open_nwb(plain)
    with pytest.raises(ValueError, match="unit is 'T'; use one of 'V', 'mV'"):
        open_nwb(plain, unit="T")


@pytest.mark.parametrize("chunks", [None, (700, 2), (64, 6)])
def test_stretches_of_some_contacts_equal_the_whole(tmp_path, monkeypatch, chunks):
    monkeypatch.setattr("brainbert.processing.recordings.nwb.READ_VALUES", 1000)  # several blocks a stretch
    file = nwb_file()
    data = pynwb.H5DataIO(STORED, chunks=chunks, compression="gzip") if chunks else STORED
    path = write(tmp_path / "a.nwb", file, series(file, data=data, conversion=1e-6))
    signals = open_nwb(path)
    for rows in ([0, 1, 2, 3, 4, 5], [4, 1], [3]):
        for start, stop in ((0, 1), (1, 1234), (4990, 5000), (0, 5000)):
            part = signals.read(rows, start, stop)
            assert part.dtype == np.float32
            np.testing.assert_array_equal(part, STORED[start:stop, rows].T)


def test_one_contact_may_be_one_dimensional(tmp_path):
    file = nwb_file()
    path = write(tmp_path / "a.nwb", file, series(file, rows=[4], data=STORED[:, 4], conversion=1e-6))
    signals = open_nwb(path)
    assert signals.names == ("LID1",)
    np.testing.assert_array_equal(signals.read([0], 10, 20), STORED[None, 10:20, 4])


def test_names_types_rate_and_filters_come_from_the_file(plain):
    signals = open_nwb(plain)
    assert signals.names == ("G1", "G2", "G3", "G4", "LID1", "LID2")
    assert signals.types == ("ecog",) * 4 + ("seeg",) * 2
    assert (signals.sampling_rate, signals.num_samples, signals.band_hz) == (512.0, 5000, (0.0, 250.0))
    assert signals.bad == ()


def test_a_rate_in_single_precision_is_the_decimal_number_that_was_meant(plain):
    with h5py.File(plain, "a") as file:
        file["acquisition/ECoG/starting_time"].attrs["rate"] = np.float32(399.61)
    signals = open_nwb(plain)
    assert signals.sampling_rate == 399.61


def test_without_labels_contacts_are_numbered_in_their_group_and_unrecorded_ones_count(tmp_path):
    file = nwb_file(labels=False, columns={"good": [True, False, True, True, True, True]})
    path = write(tmp_path / "a.nwb", file, series(file, rows=[1, 2, 5]))
    signals = open_nwb(path)
    assert signals.names == ("GRID2", "GRID3", "LID2")
    assert signals.bad == ("GRID2",)


def test_nothing_of_the_patient_leaves_the_reader(plain, capsys):
    signals = open_nwb(plain, position_unit="mm")
    said = repr({name: getattr(signals, name) for name in vars(signals) if not name.startswith("_")})
    for word in ("Smith", "Jane", "1234", "Jones", "2017", "P47Y", "/"):
        assert word not in said + repr(signals)
    assert capsys.readouterr() == ("", "")


def test_positions_need_a_unit_from_the_file_or_from_the_user(tmp_path, plain):
    with pytest.warns(UserWarning, match="does not name their unit .* give position_unit='mm'"):
        signals = open_nwb(plain)
    assert (signals.positions, signals.coordinate_frame) == (None, None)
    signals = open_nwb(plain, position_unit="mm")
    np.testing.assert_array_equal(signals.positions, [[3 * i, 1, 2] for i in range(6)])
    assert signals.coordinate_frame == "unknown"
    file = nwb_file(x_said="coordinate in microns (MNI152NLin2009aSym)")
    path = write(tmp_path / "b.nwb", file, series(file))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        signals = open_nwb(path)
    np.testing.assert_allclose(signals.positions, [[0.003 * i, 0.001, 0.002] for i in range(6)])
    assert signals.coordinate_frame == "MNI152NLin2009aSym"


def timed(tmp_path: Path, timestamps: np.ndarray) -> Path:
    file = nwb_file()
    return write(tmp_path / "a.nwb", file, series(file, timestamps=timestamps))


@pytest.mark.parametrize("start", [0.0, 1.5e9])
@pytest.mark.parametrize("rate", [2048.0, 399.61])
def test_regular_timestamps_give_their_rate(tmp_path, monkeypatch, start, rate):
    monkeypatch.setattr("brainbert.processing.recordings.nwb._BLOCK_TIMESTAMPS", 1000)
    signals = open_nwb(timed(tmp_path, start + np.arange(SAMPLES) / rate))
    assert signals.sampling_rate == pytest.approx(rate, rel=1e-12 if start == 0 else 1e-6)


@pytest.mark.parametrize("at", [999, 1000, 2500])
def test_a_gap_in_the_timestamps_is_refused_with_its_time_from_the_start(tmp_path, monkeypatch, at):
    monkeypatch.setattr("brainbert.processing.recordings.nwb._BLOCK_TIMESTAMPS", 1000)
    times = 7e5 + np.arange(SAMPLES) / 1000
    times[at:] += 100
    with pytest.raises(ValueError, match=rf"from {(at - 1) / 1000:.6f} to {100 + at / 1000:.6f} s after the start"):
        open_nwb(timed(tmp_path, times))


def test_timestamps_that_repeat_are_missing_or_change_their_rate_are_refused(tmp_path):
    times = np.arange(SAMPLES) / 1000
    for wrong in (np.maximum(times, 1.0), np.where(times == 2.0, np.nan, times)):
        with pytest.raises(ValueError, match="there is a gap or a repeat"):
            open_nwb(timed(tmp_path, wrong))


@pytest.mark.parametrize("block", [500, 10_000])
def test_timestamps_whose_rate_changes_are_refused_and_jitter_is_not(tmp_path, monkeypatch, block):
    monkeypatch.setattr("brainbert.processing.recordings.nwb._BLOCK_TIMESTAMPS", block)
    times = np.arange(SAMPLES) / 1000
    with pytest.raises(ValueError, match=r"rate of the timestamps changes by more than 0\.0001, seen from 0\.000000 s"):
        open_nwb(timed(tmp_path, np.where(times < 2.5, times, 2.5 + (times - 2.5) * 1.01)))
    jitter = np.random.default_rng(0).uniform(-2e-4, 2e-4, SAMPLES)
    jitter[[0, -1]] = 0
    signals = open_nwb(timed(tmp_path, times + jitter))
    assert signals.sampling_rate == 1000


def test_several_series_are_refused_unless_one_is_named(tmp_path):
    file = nwb_file()
    low = series(file, "low", data=STORED[:10], conversion=1e-6)
    file.create_processing_module(name="ecephys", description="d").add(LFP(electrical_series=low))
    path = write(tmp_path / "a.nwb", file, series(file, "raw"))
    listed = r"name one with series=...: 'raw' of shape \(5000, 6\), 'ecephys/LFP/low' of shape \(10, 6\)"
    with pytest.raises(ValueError, match=rf"'a\.nwb' has 2 ElectricalSeries; {listed}"):
        open_nwb(path)
    with pytest.raises(ValueError, match="has 0 ElectricalSeries called 'high'; name one"):
        open_nwb(path, series="high")
    for name in ("low", "ecephys/LFP/low"):
        np.testing.assert_array_equal(everything(path, series=name), STORED[:10].T)


def test_an_electrode_that_is_listed_twice_is_refused(tmp_path):
    file = nwb_file()
    path = write(tmp_path / "a.nwb", file, series(file, rows=[0, 1, 1]))
    with pytest.raises(ValueError, match=r"lists an electrode more than once, .*; write the file anew with each"):
        open_nwb(path)


def test_text_for_positions_leaves_them_out_and_the_signal_in(plain):
    with h5py.File(plain, "a") as file:
        table = file["general/extracellular_ephys/electrodes"]
        del table["x"]
        table["x"] = ["n/a"] * 6
    with pytest.warns(UserWarning, match="columns x, y and z hold something else than numbers"):
        signals = open_nwb(plain)
    assert signals.positions is None
    assert signals.read([0], 0, 10).shape == (1, 10)


def test_a_transposed_series_is_refused(plain):
    with h5py.File(plain, "a") as file:
        del file["acquisition/ECoG/data"]
        file["acquisition/ECoG/data"] = STORED.T
    with pytest.raises(ValueError, match=r"shape \(6, 5000\) for 6 electrodes; .* \(these are transposed\)"):
        open_nwb(plain)


def other_file(folder: Path) -> Path:
    """Another patient's file, with the same content."""
    folder.mkdir()
    file = nwb_file()
    return write(folder / "secret.nwb", file, series(file))


def link_the_series(file: h5py.File, other: Path) -> None:
    del file["acquisition/ECoG"]
    file["acquisition/ECoG"] = h5py.ExternalLink(other, "/acquisition/ECoG")


def link_something_else(file: h5py.File, other: Path) -> None:
    file["general/devices/more"] = h5py.ExternalLink(other, "/general/subject")


def store_the_data_elsewhere(file: h5py.File, other: Path) -> None:
    del file["acquisition/ECoG/data"]
    file.create_dataset("acquisition/ECoG/data", (100, 6), "i2", external=[(other, 0, 1200)])


def make_the_data_virtual(file: h5py.File, other: Path) -> None:
    del file["acquisition/ECoG/data"]
    layout = h5py.VirtualLayout((SAMPLES, 6), "i2")
    layout[:] = h5py.VirtualSource(other, "acquisition/ECoG/data", (SAMPLES, 6))
    file.create_virtual_dataset("acquisition/ECoG/data", layout)


@pytest.mark.parametrize(
    "change", [link_the_series, link_something_else, store_the_data_elsewhere, make_the_data_virtual]
)
def test_a_file_that_leads_to_another_file_is_refused(plain, tmp_path, change):
    with h5py.File(plain, "a") as file:
        change(file, other_file(tmp_path / "other_patient"))
    with pytest.raises(
        ValueError, match=r"'a\.nwb' has .* that leads to another file, which is not followed"
    ) as caught:
        open_nwb(plain)
    assert "other_patient" not in "".join(traceback.format_exception(caught.value))


def test_a_reference_to_what_is_no_part_of_the_file_is_refused(plain):
    with h5py.File(plain, "a") as file:
        hidden = file.create_group("hidden")
        hidden["itself"] = hidden  # by this link it stays in the file when nothing else leads there
        file["acquisition/ECoG/electrodes"].attrs["table"] = hidden.ref
        del file["hidden"]
    with pytest.raises(ValueError, match="A reference in the file leads to something that is no part of it"):
        open_nwb(plain)


def test_links_inside_the_file_are_followed(plain):
    with h5py.File(plain, "a") as file:
        file.move("acquisition/ECoG/data", "general/data")
        file["acquisition/ECoG/data"] = h5py.SoftLink("/general/data")
    np.testing.assert_allclose(everything(plain), STORED.T * 0.2, rtol=1e-6)


def test_definitions_of_an_extension_are_not_needed(plain):
    with h5py.File(plain, "a") as file:
        file["general/subject"].attrs["namespace"] = "ndx-unheard-of"
        del file["specifications"]
    with pytest.raises(Exception, match="ndx-unheard-of"), pynwb.NWBHDF5IO(plain, "r") as io:
        io.read()
    assert everything(plain).shape == (6, SAMPLES)


@pytest.mark.parametrize("content", ["text", "cut", "hdf5", "other version"])
def test_a_broken_or_foreign_file_is_refused_without_its_folder(tmp_path, plain, content):
    path = tmp_path / "Jane Doe 1970" / "x.nwb"
    path.parent.mkdir()
    if content == "hdf5":
        h5py.File(path, "w").close()
    elif content == "other version":
        with h5py.File(path, "w") as file:
            file.attrs["nwb_version"] = "NWB-1.0.6"
    else:
        path.write_bytes(b"nothing of the kind" * 50 if content == "text" else plain.read_bytes()[:50_000])
    said = {"hdf5": "is HDF5 but not NWB", "other version": r"has NWB version NWB-1\.0\.6; only NWB 2 is read here"}
    with pytest.raises(ValueError, match=rf"'x\.nwb' {said.get(content, 'cannot be read as NWB')}") as caught:
        open_nwb(path)
    assert "Doe" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(FileNotFoundError, match=r"no file 'y\.nwb'"):
        open_nwb(path.with_name("y.nwb"))
