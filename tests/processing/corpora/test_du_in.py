"""Du-IN: pickles that are not executed, both layouts, epochs by themselves, and files that are not as published."""

import importlib
import pickle
import shutil
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest

from brainbert.processing.corpora import du_in_files
from brainbert.processing.corpora.du_in import PUBLISHED_CONTACTS, find_layout, find_subjects, open_subject
from brainbert.processing.corpora.du_in_pickles import read_contacts, read_epochs

EXAMPLES = Path(__file__).parents[3] / "examples"
COMMAND = "touch it_ran"
DATASET = "dataset.bipolar.default.unaligned"
TINY = {"subjects": 1, "words": 2, "repeats": 3, "contacts": 3}


@pytest.fixture(scope="module")
def generator():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module("generated_du_in")


@pytest.fixture(scope="module")
def tiny(generator, tmp_path_factory):
    """A subject with three contacts and six epochs in each layout."""
    roots = {layout: tmp_path_factory.mktemp("generated") / layout for layout in ("pickle", "bids")}
    for layout, root in roots.items():
        generator.generate(root, layout=layout, **TINY)
    return roots


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Everything happens in a folder where a command that ran would leave a file."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "it_ran").exists()


@pytest.fixture
def write_runs(tmp_path, generator):
    """Write runs of subject 001: name → contacts and (word, (contacts, 3000) in volts) of each epoch."""

    def write(**runs):
        for name, (contacts, epochs) in runs.items():
            place = tmp_path / "data" / "seeg.he2023xuanwu" / "001" / "word-recitation" / name / DATASET
            place.mkdir(parents=True, exist_ok=True)
            items = [{"name": word, "data_s": samples} for word, samples in epochs]
            (place / "data").write_bytes(generator.pickled(items))
            (place / "info").write_bytes(generator.pickled({"ch_names": list(contacts)}))
        return tmp_path

    return write


def level(microvolts, contacts=1):
    """An epoch that is the same everywhere, in volts."""
    return np.full((contacts, 3000), microvolts * 1e-6)


def refusal(do, *arguments, **settings):
    """The one sentence that refuses something, without folders."""
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        do(*arguments, **settings)
    sentence = str(refused.value)
    assert sentence.isprintable(), sentence
    assert sentence.endswith("."), sentence
    assert len(sentence) < 400, sentence
    assert str(Path.cwd()) not in sentence
    return sentence


def epochs_of(content, contacts=1):
    Path("data").write_bytes(content)
    words, epochs = read_epochs(Path("data"), contacts=contacts, place="the data")
    return words, list(epochs)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["<f8", ">f4", "<i2", "u1"])
def test_arrays_come_back_as_numpy_wrote_them(generator, protocol, kind):
    saved = (np.arange(6000).reshape(2, 3000) % 251).astype(kind)
    items = [{"name": "one", "data_s": saved}, {"name": "two", "data_s": np.asfortranarray(saved)}]
    words, epochs = epochs_of(generator.pickled(items, protocol=protocol), contacts=2)
    assert words == ["one", "two"]
    for epoch in epochs:
        assert epoch.dtype == np.dtype(kind)
        np.testing.assert_array_equal(epoch, saved)


def test_pickles_of_numpy_before_2_and_of_python_before_3_11_come_back(generator):
    content = generator.pickled([{"name": "one", "data_s": np.ones((1, 3000))}], protocol=2)
    assert b"numpy._core.multiarray\n" in content
    content = content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")
    # Python 3.10 gave an object without attributes an empty state.
    content = content.replace(b"DotDict\nq\x01)\x81q\x02", b"DotDict\nq\x01)\x81q\x02}b")
    assert b"}b" in content
    words, (epoch,) = epochs_of(content)
    assert words == ["one"]
    assert epoch.sum() == 3000


def test_names_may_be_text_of_numpy(generator):
    words, _ = epochs_of(generator.pickled([{"name": np.str_("词"), "data_s": np.ones((1, 3000))}]))
    assert words == ["词"]
    Path("info").write_bytes(generator.pickled({"ch_names": [np.str_("TI'2"), "A1"]}))
    assert read_contacts(Path("info"), place="the info") == ["TI'2", "A1"]


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def integer(value):
    return b"\x8a\x0a" + value.to_bytes(10, "little", signed=True)


def dtype(code, order="<"):
    state = b"(K\x03" + text(order) + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    return b"cnumpy\ndtype\n" + text(code) + b"\x89\x88\x87R" + state


def array(*, shape=(1, 3000), code="f8", order="<", content=bytes(24000), fortran=b"\x89", more=b""):
    sizes = b"(" + b"".join(map(integer, shape)) + b"t"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    raw = b"B" + struct.pack("<I", len(content)) + content
    return made + b"(K\x01" + sizes + dtype(code, order) + fortran + raw + b"tb" + more


def item(samples, word=None):
    return b"}" + text("name") + (word or text("one")) + b"s" + text("data_s") + samples + b"s"


SYSTEM = b"cos\nsystem\n" + text(COMMAND) + b"\x85R"
BOMB = b"K\x01\x85q\x00" + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
HOSTILE = {
    "os.system": (SYSTEM, "it names os.system"),
    "os.system for samples": (b"]" + item(SYSTEM) + b"a", "it names os.system"),
    "os.system for a word": (b"]" + item(array(), SYSTEM) + b"a", "it names os.system"),
    "os.system for a shape": (
        b"]" + item(array(more=b"(K\x01" + SYSTEM + dtype("f8") + b"\x89C\x00tb")) + b"a", "it names os.system"
    ),
    "numpy.load": (b"cnumpy\nload\n" + text("x.npy") + b"\x85R", "it names numpy.load"),
    "a call of ndarray": (b"cnumpy\nndarray\nK\x01\x85R", "it calls numpy.ndarray, which is not called here"),
    "a state twice": (b"]" + item(array(more=b"}b")) + b"a", "it sets attributes of a Inert"),
    "references that multiply": (BOMB, "more than 5,000,000 values when its references are followed"),
    "objects": (b"]" + item(array(code="O8")) + b"a", "an array holds 'O8', and only arrays of numbers are read"),
    "records": (b"]" + item(array(code="V8")) + b"a", "an array holds 'V8'"),
    "a strange byte order": (b"]" + item(array(order="f8,O")) + b"a", "an array has the byte order 'f8,O'"),
    "a negative shape": (b"]" + item(array(shape=(-1, -3000))) + b"a", "an array has the shape (-1, -3000)"),
    "an empty shape": (b"]" + item(array(shape=(0, 2**40), content=b"")) + b"a", "an array has the shape (0, "),
    "a huge shape": (b"]" + item(array(shape=(2**30, 2**30))) + b"a", "and float64 has 24,000 bytes"),
    "bytes that are too few": (b"]" + item(array(content=bytes(23999))) + b"a", "has 23,999 bytes"),
    "no array": (b"]" + item(b"K\x07") + b"a", "it has int where an array of NumPy is expected"),
    "an array without content": (
        b"]" + item(b"cnumpy.core.multiarray\n_reconstruct\n)R") + b"a", "it has an array where an array"
    ),
    "a thousand of the same": (
        b"](" + item(array()) + b"q\x01" + b"h\x01" * 999 + b"e", "refers to the same samples more than once"
    ),
    "a length of 4 EB": (b"\x8e" + struct.pack("<Q", 2**62) + b"x", "its pickle is cut off or broken"),
    "a buffer of 4 EB": (b"\x96" + struct.pack("<Q", 2**62) + b"x", "its pickle is cut off or broken"),
    "a word that is no text": (b"]" + item(array(), b"K\x01") + b"a", "the word 1, which is no plain name"),
    "a word with a line": (b"]" + item(array(), text("a\nb")) + b"a", "which is no plain name"),
    "a dictionary": (b"}", "The data is no list of epochs"),
    "nothing": (b"]", "The data is no list of epochs"),
}  # fmt: skip


def test_arrays_made_by_hand_are_read_so_that_hostile_ones_fail_for_their_reason():
    (word,), (epoch,) = epochs_of(b"\x80\x02]" + item(array()) + b"a.")
    assert (word, epoch.shape, epoch.dtype) == ("one", (1, 3000), np.float64)


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_run_nothing_and_end_in_one_sentence(case):
    content, message = HOSTILE[case]
    assert message in refusal(epochs_of, b"\x80\x02" + content + b".")


def test_the_command_in_these_files_works(folder):
    pickle.loads(b"\x80\x02" + HOSTILE["os.system"][0] + b".")
    (folder / "it_ran").unlink()  # FileNotFoundError if it had not run


def test_an_empty_file_is_refused():
    assert refusal(epochs_of, b"") == "The data is empty: download it again."


@pytest.mark.parametrize("names", [["A1", "A1"], [], ["../A1"], [3], "A1", {"A1": 1}])
def test_names_of_contacts_are_different_plain_names(generator, names):
    Path("info").write_bytes(generator.pickled({"ch_names": names}))
    assert "no list of different plain names" in refusal(read_contacts, Path("info"), place="the info")


def test_both_layouts_of_the_same_data_give_the_same_recording(tiny):
    pickled, bids = (open_subject(tiny[layout], "001", sampling_rate=512) for layout in ("pickle", "bids"))
    assert [find_layout(root)[0] for root in tiny.values()] == ["pickle", "bids"]
    assert pickled.recording.contacts == bids.recording.contacts == ("SM8", "SM9", "SM7")
    assert pickled.recording.id == bids.recording.id == pickled.recording.subject == "DuIN-001"
    np.testing.assert_array_equal(pickled.values, bids.values)
    np.testing.assert_array_equal(pickled.onset_s, np.arange(6) * 3.0)
    np.testing.assert_array_equal(bids.onset_s, pickled.onset_s)
    np.testing.assert_array_equal(pickled.recording.load().data, bids.recording.load().data)


def test_each_epoch_is_resampled_by_itself(write_runs):
    # One filter over all would ring for 32 samples of 1000 Hz on either side of each step.
    root = write_runs(run1=(["A1"], [("a", level(10)), ("b", level(-400)), ("a", level(7000))]))
    opened = open_subject(root, "001", sampling_rate=2048)
    assert opened.recording.num_samples == 3 * 6144
    np.testing.assert_array_equal(opened.recording.read(0, 3 * 6144), [np.repeat([10, -400, 7000], 6144)])
    np.testing.assert_array_equal(opened.recording.read(6143, 6145), [[10, -400]])
    assert opened.values.tolist() == ["a", "b", "a"]
    assert opened.onset_s.tolist() == [0.0, 3.0, 6.0]


def test_a_rate_that_does_not_divide_gives_epochs_of_rounded_length(write_runs):
    root = write_runs(run1=(["A1"], [("a", level(1)), ("b", level(2))]))
    opened = open_subject(root, "001", sampling_rate=399.61)
    assert opened.recording.num_samples == 2 * 1199  # 1198.83
    np.testing.assert_allclose(opened.onset_s, [0, 1199 / 399.61])
    np.testing.assert_array_equal(opened.recording.read(1198, 1200), [[1, 2]])


def test_runs_are_joined_in_order_of_their_numbers_at_the_contacts_that_all_have(write_runs):
    rows = np.array([[1e-6], [2e-6], [3e-6]]) * np.ones((1, 3000))
    root = write_runs(
        run10=(["A3", "A1"], [("ten", rows[[2, 0]])]), run2=(["A1", "A2", "A3"], [("two", rows), ("zwei", rows.copy())])
    )
    opened = open_subject(root, "001", sampling_rate=1000)
    assert opened.values.tolist() == ["two", "zwei", "ten"]
    assert opened.recording.contacts == ("A1", "A3")
    assert opened.recording.history[0]["dropped"] == {"A2": "not in every run"}
    np.testing.assert_array_equal(opened.recording.read(5999, 6001), [[1, 1], [3, 3]])


@pytest.mark.parametrize("layout", ["pickle", "bids"])
def test_contacts_are_taken_by_name_in_the_order_asked_for(tiny, layout):
    every = open_subject(tiny[layout], "001", sampling_rate=512).recording.load()
    chosen = open_subject(tiny[layout], "001", sampling_rate=512, contacts=["SM7", "SM8"]).recording
    assert chosen.contacts == ("SM7", "SM8")
    np.testing.assert_array_equal(chosen.load().data, every.data[[2, 0]])
    sentence = refusal(open_subject, tiny[layout], "001", sampling_rate=512, contacts=["SM8", "ZZ1"])
    assert sentence == "Subject 001 has no contact 'ZZ1' in all of 2 runs; there are SM8, SM9, SM7."


def test_a_unit_that_does_not_fit_is_warned_of_and_one_given_is_used(write_runs):
    wave = 50 * np.sin(np.arange(3000) / 10)[None]
    root = write_runs(run1=(["A1"], [("a", wave)]))
    with pytest.warns(UserWarning, match=r"With the unit V .* deviation of a contact is 3\.5\de\+07 µV"):
        open_subject(root, "001", sampling_rate=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = open_subject(root, "001", sampling_rate=1000, unit="uV")
    np.testing.assert_allclose(opened.recording.load().data, wave, rtol=1e-6)
    assert "unit is 'kV'" in refusal(open_subject, root, "001", sampling_rate=1000, unit="kV")


def test_kept_runs_are_the_same_and_are_not_read_again_until_a_file_changes(write_runs, tmp_path, monkeypatch):
    root = write_runs(run1=(["A1"], [("a", level(5)), ("b", level(6))]))
    settings = {"sampling_rate": 512, "cache": tmp_path / "kept"}
    open_subject(root, "001", **settings)
    with monkeypatch.context() as patch:
        patch.setattr(du_in_files, "read_epochs", None)
        again = open_subject(root, "001", **settings)
    np.testing.assert_array_equal(again.recording.load().data, [np.repeat([5, 6], 1536)])
    assert again.values.tolist() == ["a", "b"]
    write_runs(run1=(["A1"], [("c", level(7))]))
    assert open_subject(root, "001", **settings).values.tolist() == ["c"]
    assert sorted(each.suffix for each in (tmp_path / "kept").iterdir()) == [".json", ".json", ".npy", ".npy"]


def test_a_run_without_words_is_left_out_and_said(write_runs):
    root = write_runs(run1=(["A1"], [("a", level(1))]), run2=(["A1"], [("b", level(2))]))
    next(root.glob("**/run2/*/info")).unlink()
    with pytest.warns(UserWarning, match="1 runs of subject 001 have no words and are left out"):
        opened = open_subject(root, "001", sampling_rate=1000)
    assert opened.values.tolist() == ["a"]
    assert opened.left_out == {"run without labels": 1}


def test_what_is_no_number_is_refused(write_runs):
    broken = level(1)
    broken[0, 1000] = np.nan
    root = write_runs(run1=(["A1"], [("a", level(1)), ("b", broken)]))
    sentence = refusal(open_subject, root, "001", sampling_rate=1000)
    assert sentence == "Epoch 2 of run1 of subject 001 holds infinite values or NaN; download it again."


def test_links_that_lead_elsewhere_are_not_followed(write_runs, tmp_path, monkeypatch):
    root = write_runs(run1=(["A1"], [("a", level(1))]))
    data = next(root.glob("**/run1/*/data"))
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    data.rename(outside)
    data.symlink_to(outside)
    assert "symbolic link that leads out" in refusal(open_subject, root, "001", sampling_rate=1000)


def test_positions_of_a_bids_data_set_are_kept(tiny, tmp_path):
    root = shutil.copytree(tiny["bids"], tmp_path / "placed")
    stem = root / "sub-001" / "ieeg" / "sub-001_space-MNI152Lin"
    stem.with_name(f"{stem.name}_electrodes.tsv").write_text(
        "name\tx\ty\tz\tsize\nSM8\t1\t2\t3\t5\nSM9\t4\t5\t6\t5\nSM7\t7\t8\t9\t5\n"
    )
    stem.with_name(f"{stem.name}_coordsystem.json").write_text(
        '{"iEEGCoordinateSystem": "MNI152Lin", "iEEGCoordinateUnits": "mm"}'
    )
    recording = open_subject(root, "001", sampling_rate=512, contacts=["SM7", "SM8"]).recording
    assert recording.coordinate_frame == "MNI152Lin"
    np.testing.assert_array_equal(recording.positions, [[7, 8, 9], [1, 2, 3]])


OF_RUN = "the data of run1 of subject 001"
FAULTY = {
    ("pickle", "malicious-pickle"): "The data of run1 of subject 001 is refused: it names os.system",
    ("pickle", "truncated"): "The data of run1 of subject 001 is refused: its pickle is cut off",
    ("pickle", "missing-key"): f"Epoch 3 of {OF_RUN} has no 'data_s'",
    ("pickle", "wrong-rate"): f"Epoch 3 of {OF_RUN} is (3, 2999)",
    ("pickle", "label-count"): f"Epoch 1 of {OF_RUN} is (3, 3000) and its info names 2 contacts",
    ("pickle", "path-in-name"): f"Epoch 3 of {OF_RUN} has the word '../../word', which is no plain name",
    ("bids", "truncated"): "ieeg.vhdr' has 4500 samples and 'sub-001_task-wordreading_run-1_events.tsv' 3 words",
    ("bids", "missing-key"): "events.tsv' has no column 'value'",
    ("bids", "wrong-rate"): "ieeg.vhdr' has 512 Hz; the epochs of Du-IN have 1000 Hz",
    ("bids", "label-count"): "has 9000 samples and 'sub-001_task-wordreading_run-1_events.tsv' 2 words",
    ("bids", "path-in-name"): "events.tsv' has the word '../../word' in event 3",
}


@pytest.mark.parametrize(("layout", "fault"), FAULTY)
def test_every_fault_ends_in_one_sentence(generator, tiny, tmp_path, layout, fault):
    root = shutil.copytree(tiny[layout], tmp_path / "spoiled")
    generator.spoil(root, fault)
    assert FAULTY[layout, fault] in refusal(open_subject, root, "001", sampling_rate=512)


@pytest.mark.parametrize("layout", ["pickle", "bids"])
def test_a_subject_without_words_is_left_out_with_a_warning(generator, tiny, tmp_path, layout):
    root = shutil.copytree(tiny[layout], tmp_path / "spoiled")
    generator.spoil(root, "extra-subject")
    with pytest.warns(UserWarning, match=r"^Subjects without words are left out: 099\.$"):
        assert find_subjects(root) == ["001"]
    assert "Subject 099 has no run with words" in refusal(open_subject, root, "099", sampling_rate=512)
    assert {fault for _, fault in FAULTY} | set(generator.SURVIVABLE) == set(generator.FAULTS)


def test_what_is_asked_for_is_there(tiny, tmp_path):
    assert refusal(open_subject, tiny["pickle"], "7", sampling_rate=512) == "There is no subject '7'; there are 001."
    assert "There is no subject '../001'" in refusal(open_subject, tiny["bids"], "../001", sampling_rate=512)
    assert "give a positive number of hertz" in refusal(open_subject, tiny["bids"], "001", sampling_rate=0)
    assert "give the root of Du-IN as published" in refusal(find_subjects, tmp_path)


def test_events_that_do_not_lie_back_to_back_are_refused(tiny, tmp_path):
    root = shutil.copytree(tiny["bids"], tmp_path / "moved")
    events = next(root.glob("**/*run-1_events.tsv"))
    events.write_text(events.read_text().replace("3.0\t3.0\t3000", "3.1\t3.0\t3100"))
    assert "has its event 2 at 3.1 s and sample 3100" in refusal(open_subject, root, "001", sampling_rate=512)


def test_ten_contacts_are_published_of_each_of_twelve_people():
    assert list(PUBLISHED_CONTACTS) == [f"{number:03}" for number in range(1, 13)]
    assert all(len(set(names)) == 10 for names in PUBLISHED_CONTACTS.values())


def found(root, contacts_of=None):
    """The share of each word's last epoch that is nearest to the mean of the others, in the 4 loudest contacts.

    The features are log amplitudes of the middle 240 ms, up to 125 Hz.
    """
    right = []
    for subject in find_subjects(root):
        opened = open_subject(root, subject, sampling_rate=1000)
        epochs = opened.recording.load().data.reshape(12, len(opened.values), 3000)
        loudest = np.argsort(epochs.std(axis=(1, 2)))[-4:]
        middle = epochs[loudest][:, :, 1380:1620] * np.hanning(240)
        features = np.log(np.abs(np.fft.rfft(middle)))[:, :, :30].transpose(1, 0, 2).reshape(len(opened.values), -1)
        words = np.unique(opened.values)
        last = np.array([np.flatnonzero(opened.values == word)[-1] for word in words])
        rest = np.setdiff1d(np.arange(len(features)), last)
        means = np.array([features[rest][opened.values[rest] == word].mean(axis=0) for word in words])
        nearest = np.linalg.norm(features[last][:, None] - means, axis=-1).argmin(axis=1)
        right += (nearest == np.arange(len(words))).tolist()
    return np.mean(right)


def test_planted_words_are_found_and_others_are_not(generator, tmp_path):
    # With seeds 0 to 11, all of 12 epochs were found, and without the signal 0 to 5, where 2 are expected.
    generator.generate(tmp_path / "planted")
    generator.generate(tmp_path / "not", planted=False)
    assert found(tmp_path / "planted") >= 10 / 12
    assert found(tmp_path / "not") <= 5 / 12
    assert sum(file.stat().st_size for file in (tmp_path / "planted").rglob("*") if file.is_file()) < 30e6


def test_what_is_generated_depends_on_the_seed_alone(generator, tiny, tmp_path):
    for name, seed in (("same", 0), ("other", 1)):
        generator.generate(tmp_path / name, seed=seed, **TINY)
    roots = (tmp_path / "same", tmp_path / "other", tiny["pickle"])
    same, other, first = (next(root.glob("**/run1/*/data")).read_bytes() for root in roots)
    assert same == first != other
