"""NWB files through the functions that read every format, and grids from file to conditioned stream."""

import datetime
import json
import shutil
import warnings
from pathlib import Path

import h5py
import numpy as np
import pynwb
import pytest
from pynwb.ecephys import LFP, ElectricalSeries

from brainbert.processing.recordings import (
    Recording,
    condition,
    condition_stream,
    identify_recording,
    laplacian,
    mark_bad,
    open_recording,
    read_recording,
)

pytestmark = pytest.mark.filterwarnings("ignore:Positions are left out", "ignore:The linked table")

RATE = 512.0
# G1 G2 G3 G4
# G5 G6 G7 G8
# G9 G10 G11 G12
GRID = tuple(f"G{number}" for number in range(1, 13))
CONTACTS = (*GRID, "LA1", "LA2", "LA3", "LA4")
PLACES = np.array([[10.0 * (i % 4), 10.0 * (i // 4), 0] for i in range(12)] + [[3.5 * i, 50, 0] for i in range(4)])


def write_nwb(
    path: Path, *acquired: tuple[str, np.ndarray], names=CONTACTS, said=("ECoG grid", "depth"), **given
) -> Path:
    """Write series of (samples, contacts) in 0.25 µV for G1 to G12 and LA1 to LA4, of Jane Smith; G7 is bad."""
    file = pynwb.NWBFile(
        session_description="Smith, Jane: day 3",
        identifier="Smith-1234",
        session_start_time=datetime.datetime(2017, 5, 4, tzinfo=datetime.UTC),
        subject=pynwb.file.Subject(subject_id="Smith-1234", description="Jane Smith", age="P47Y"),
    )
    for column in ("label", "bad"):
        file.add_electrode_column(name=column, description=f"{column} of Smith")
    device = file.create_device(name="amplifier", description="Smith's amplifier")
    groups = [
        file.create_electrode_group(name=f"Smith-{i}", description=text, location="Smith", device=device)
        for i, text in enumerate(said)
    ]
    for name, (x, y, z) in zip(names, PLACES, strict=True):
        group = groups[not name.startswith("G")]
        file.add_electrode(x=x, y=y, z=z, location="Smith", group=group, label=name, bad=name == "G7")
    for i, (name, data) in enumerate(acquired):
        region = file.create_electrode_table_region(region=list(range(16)), description="Smith's")
        one = ElectricalSeries(name=name, data=data, electrodes=region, conversion=0.25e-6, rate=RATE, **given)
        if i:
            file.create_processing_module(name=f"p{i}", description="d").add(LFP(electrical_series=one))
        else:
            file.add_acquisition(one)
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


@pytest.fixture(scope="session")
def stored() -> np.ndarray:
    """(samples, contacts) int16, ten seconds of brown noise, 50 µV."""
    noise = np.random.default_rng(0).standard_normal((5120, 16)).cumsum(axis=0)
    noise -= np.linspace(0, 1, 5120)[:, None] * noise[-1]
    return np.round(200 * noise / noise.std(axis=0)).astype(np.int16)


@pytest.fixture(scope="session")
def nwb(tmp_path_factory, stored) -> Path:
    return write_nwb(tmp_path_factory.mktemp("Smith_Jane_2017") / "a.nwb", ("ECoG", stored))


@pytest.fixture(scope="session")
def two_series(tmp_path_factory, stored) -> Path:
    path = tmp_path_factory.mktemp("two") / "b.nwb"
    return write_nwb(path, ("raw", stored), ("clean", stored[:1000] // 2))


def test_an_nwb_file_is_read_as_any_other(nwb, stored):
    recording = read_recording(nwb, position_unit="mm")
    assert recording.contacts == CONTACTS
    assert recording.types == ("ecog",) * 12 + ("seeg",) * 4
    assert recording.bad == {"G7": "bad in the file"}
    assert (recording.sampling_rate, recording.coordinate_frame) == (RATE, "unknown")
    np.testing.assert_array_equal(recording.data, stored.T * np.float32(0.25))
    np.testing.assert_array_equal(recording.positions, PLACES)
    assert recording.id == recording.subject == identify_recording(nwb)
    assert recording.history[0]["format"] == "NWB"
    assert recording.history[0]["types"] == "file"


def test_an_open_nwb_file_is_read_by_stretch_and_conditioned_as_the_whole(nwb, stored):
    stream = open_recording(nwb)
    np.testing.assert_array_equal(stream.read(1000, 1500), stored[1000:1500].T * np.float32(0.25))
    settings = {"line_frequency_hz": 60, "grids": {"G": (3, 4)}}
    whole = condition(read_recording(nwb), **settings)
    conditioned = condition_stream(stream, **settings, progress=False)
    assert conditioned.history == whole.history
    found, expected = conditioned.read(7000, 9000), whole.data[:, 7000:9000]
    np.testing.assert_allclose(found, expected, atol=1e-6 * np.sqrt(np.mean(whole.data**2)))


def test_contacts_and_unit_mean_what_they_mean_elsewhere(nwb, stored):
    recording = open_recording(nwb, contacts={"LA2": "dbs", "G3": "ecog"}, unit="mV").load()
    assert (recording.contacts, recording.types) == (("G3", "LA2"), ("ecog", "dbs"))
    np.testing.assert_allclose(recording.data, stored[:, [2, 13]].T * 0.25e-3, rtol=1e-6)
    assert open_recording(nwb, contacts=["LA2"]).types == ("seeg",)
    with pytest.raises(ValueError, match="0 channels are called 'G13'; names in the file that are near: G3, G1, G12"):
        open_recording(nwb, contacts=["G13"])


def test_nothing_of_the_patient_is_in_the_recording(nwb):
    recording = open_recording(nwb, position_unit="mm")
    said = json.dumps([dict(entry) for entry in recording.history]) + repr(recording)
    said += repr((recording.id, recording.subject, recording.session, recording.bad, recording.coordinate_frame))
    for word in ("Smith", "Jane", "1234", "2017", "P47Y", "/"):
        assert word not in said


def test_untyped_contacts_beside_typed_ones_are_kept_by_name_and_said(tmp_path, stored, capsys):
    names = (*GRID, "LA1", "LA2", "ECG", "F3")
    path = write_nwb(tmp_path / "a.nwb", ("ECoG", stored), names=names, said=("ECoG grid", "left anterior temporal"))
    recording = open_recording(path)
    assert recording.contacts == (*GRID, "LA1", "LA2")
    assert recording.types == ("ecog",) * 12 + ("seeg",) * 2
    assert (recording.history[0]["types"], recording.history[0]["channels_left_out"]) == ("file and names", 2)
    assert capsys.readouterr().err == (
        "The file types 12 of 16 channels as intracranial. Kept by name as sEEG (2): LA1, LA2. Left out (2): ECG, F3. "
        "Give contacts=[...] to choose yourself.\n"
    )


def test_each_of_several_series_is_a_recording_of_its_own(two_series, nwb):
    ids = [identify_recording(two_series, series=name) for name in ("raw", "clean", "p1/LFP/clean")]
    assert ids[0] != ids[1] == ids[2]
    recordings = [open_recording(two_series, series=name) for name in ("raw", "clean")]
    assert [recording.id for recording in recordings] == ids[:2]
    assert [recording.num_samples for recording in recordings] == [5120, 1000]
    assert [recording.history[0]["series"] for recording in recordings] == ["1 of 2", "2 of 2"]
    assert identify_recording(nwb, series="ECoG") == identify_recording(nwb)
    for reader in (identify_recording, open_recording):
        with pytest.raises(ValueError, match=r"'b\.nwb' has 2 ElectricalSeries; name one with series="):
            reader(two_series)


def test_series_and_position_unit_are_refused_for_other_formats(files):
    for given in ({"series": "ECoG"}, {"position_unit": "mm"}):
        with pytest.raises(ValueError, match=r"series and position_unit are for NWB files and 'a\.edf' is none"):
            open_recording(files["EDF"], **given)
    with pytest.raises(ValueError, match=r"'a\.edf' is none; leave them out"):
        identify_recording(files["EDF"], series="ECoG")


def test_hdf5_is_read_when_it_is_nwb(nwb, tmp_path):
    shutil.copy(nwb, tmp_path / "a.h5")
    assert open_recording(tmp_path / "a.h5").id == identify_recording(nwb)
    h5py.File(tmp_path / "other.h5", "w").close()
    for reader in (identify_recording, read_recording):
        with pytest.raises(ValueError, match=r"'other\.h5' is HDF5 but not NWB, .*; export it as NWB or EDF"):
            reader(tmp_path / "other.h5")


def test_nwb_in_a_bids_data_set_is_refused_with_what_to_do(files, nwb, tmp_path):
    folder = tmp_path / "bids" / "sub-01" / "ieeg"
    folder.mkdir(parents=True)
    shutil.copy(nwb, folder / "sub-01_task-rest_ieeg.nwb")
    (tmp_path / "bids" / "dataset_description.json").write_text('{"Name": "n", "BIDSVersion": "1.9.0"}')
    for reader in (read_recording, identify_recording):
        with pytest.raises(ValueError, match=r"'sub-01_task-rest_ieeg\.nwb' is NWB in a BIDS .*; give the \.nwb file"):
            reader(tmp_path / "bids", subject="01")


def numbered(**fields) -> Recording:
    """Contact k, counted from 0, has the value k² at its one sample."""
    data = np.arange(16, dtype=np.float32)[:, None] ** 2
    given = {"types": ("ecog",) * 12 + ("seeg",) * 4, "positions": PLACES, "id": "r", "subject": "s", **fields}
    return Recording(data=data, sampling_rate=RATE, contacts=CONTACTS, **given)


@pytest.mark.parametrize("grids", [{"G": (3, 4)}, "positions"])
def test_a_laplacian_on_a_grid_and_a_shaft_by_hand(grids):
    recording = numbered()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = laplacian(recording, grids=grids)
        inside = laplacian(recording, grids=grids, edges="interior")
    assert result.contacts == (*GRID, "LA2", "LA3")
    # G1 - (G2 + G5) / 2, G2 - (G1 + G3 + G6) / 3, G6 - (G2 + G5 + G7 + G10) / 4, LA2 - (LA1 + LA3) / 2
    expected = [0 - (1 + 16) / 2, 1 - (0 + 4 + 25) / 3, 25 - (1 + 16 + 36 + 81) / 4, 169 - (144 + 196) / 2]
    np.testing.assert_allclose(result.data[[0, 1, 5, 12], 0], expected, rtol=1e-6)
    assert inside.contacts == ("G6", "G7", "LA2", "LA3")
    shapes = "positions" if grids == "positions" else {"G": [3, 4]}
    edge = dict.fromkeys((name for name in GRID if name not in ("G6", "G7")), "fewer than four neighbours on its grid")
    assert json.loads(json.dumps(inside.history[-1])) == {
        "step": "laplacian",
        "ends": "drop",
        "grids": shapes,
        "edges": "interior",
        "dropped": {**edge, "LA1": "no neighbour on both sides", "LA4": "no neighbour on both sides"},
    }


def test_a_bad_contact_of_a_grid_is_no_neighbour_and_keeps_its_reason():
    result = laplacian(mark_bad(numbered(), {"G2": "flat", "G5": "noisy"}), grids={"G": (3, 4)}, ends="one-sided")
    few = "fewer than two neighbours on its grid"  # G1 has none, G9 has G10
    dropped = {"G1": few, "G2": "flat", "G5": "noisy", "G9": few}
    assert result.history[-1]["dropped"] == dropped
    assert result.data[result.contacts.index("G6"), 0] == 25 - (36 + 81) / 2


def test_a_grid_whose_shape_is_not_given_is_warned_about_by_its_positions():
    with pytest.warns(UserWarning, match=r"\['G'\] look like grids .*; give their shapes, grids=.* \(--grid G=8x8\)"):
        laplacian(numbered())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        laplacian(numbered(positions=None))  # twelve contacts may be a strip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"reference": "bipolar", "grids": "positions"}, "grids and edges are for the Laplacian and reference is 'bip"),
        ({"edges": "interior"}, "edges is 'interior' and no grids are given; give grids="),
        ({"grids": {"H": (3, 4)}}, "No contacts are called 'H' and a number; give the shapes of G, LA"),
        ({"grids": {"G": (3, 3)}}, "Contact 'G10' is not on a grid of 3 × 3"),
    ],
)
def test_what_cannot_be_done_with_grids_is_refused_in_a_stream_before_it_is_read(make_recording, given, said):
    recording = make_recording(CONTACTS)
    unread = recording.with_source(lambda start, stop: pytest.fail("the signal was read"))
    with pytest.raises(ValueError, match=said):
        condition_stream(unread, line_frequency_hz=60, progress=False, **given)
    with pytest.raises(ValueError, match=said):
        condition(recording, line_frequency_hz=60, **given)
