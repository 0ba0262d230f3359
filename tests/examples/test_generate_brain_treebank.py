"""examples/generate_brain_treebank.py: the layout is complete, the words lie where they should, and so do responses."""

import csv
import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def examples():
    """Import what lies beside the programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module


@pytest.fixture(scope="module")
def generate(examples):
    return examples("generated_treebank").generate


@pytest.fixture(scope="module")
def words(examples):
    return examples("generated_treebank_words")


@pytest.fixture(scope="module")
def root(generate, tmp_path_factory):
    """Ten minutes for subjects 1 and 9, of the same movie."""
    return generate(tmp_path_factory.mktemp("treebank") / "root", sessions=[(1, 0), (9, 0)], words="made-up")


def read(path):
    if path.suffix == ".json":
        return json.loads(path.read_text())
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def labels_of(root, subject):
    return read(root / f"electrode_labels/sub_{subject}/electrode_labels.json")


def signal_of(root, subject, trial, contact):
    names = [label.translate({ord(mark): None for mark in "*#_"}) for label in labels_of(root, subject)]
    with h5py.File(root / f"sub_{subject}_trial{trial:03}.h5") as file:
        return file[f"data/electrode_{names.index(contact)}"][:].astype(float)


# ---- layout ---------------------------------------------------------------------------------------------------------


def test_a_root_has_every_file_of_the_public_layout(root):
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {
        "planted.json",
        "corrupted_elec.json",
        "localization/elec_coords_full.csv",
        "transcripts/film-0/features.csv",
        *(f"localization/sub_{subject}/depth-wm.csv" for subject in (1, 9)),
        *(f"electrode_labels/sub_{subject}/electrode_labels.json" for subject in (1, 9)),
        *(f"subject_metadata/sub_{subject}_trial000_metadata.json" for subject in (1, 9)),
        *(f"subject_timings/sub_{subject}_trial000_timings.csv" for subject in (1, 9)),
        *(f"sub_{subject}_trial000.h5" for subject in (1, 9)),
    }
    assert read(root / "subject_metadata/sub_9_trial000_metadata.json")["filename"] == "film-0"


def test_tables_have_the_columns_that_readers_ask_for(root, words):
    assert list(read(root / "transcripts/film-0/features.csv")[0]) == ["Unnamed: 0", *words.COLUMNS]
    assert len(words.COLUMNS) == 43
    timings = read(root / "subject_timings/sub_9_trial000_timings.csv")[0]
    assert list(timings) == ["type", "movie_time", "start_time", "end_time", "trig_type", "index", "diff"]
    regions = read(root / "localization/sub_1/depth-wm.csv")
    assert list(regions[0]) == ["Electrode", "L", "I", "P", "DesikanKilliany", "Destrieux"]
    assert len(regions) == 14
    assert list(read(root / "localization/elec_coords_full.csv")[0]) == ["Subject", "Electrode", "X", "Y", "Z"]


def test_there_are_twelve_contacts_a_corrupted_one_an_underscore_and_two_channels_that_are_not_brain(root):
    labels = labels_of(root, 9)
    assert len(labels) == 16
    assert labels[:8] == ["*T1aIb1", "T1aIb2#", "T1aIb3", "*T1bIc1", "T1bIc2#", "T1bIc3", "DC4", "*T2aA1"]
    assert labels[-3:] == ["X_z1", "X_z2", "TRIG2"]
    assert read(root / "corrupted_elec.json") == {"sub_1": ["X_z2"], "sub_9": ["X_z2"]}
    with h5py.File(root / "sub_9_trial000.h5") as file:
        assert set(file["data"]) == {f"electrode_{number}" for number in range(16)}


def test_subject_1_has_a_dataset_that_no_label_names(root):
    with h5py.File(root / "sub_1_trial000.h5") as file:
        assert len(file["data"]) == len(labels_of(root, 1)) + 1


@pytest.mark.parametrize(("subject", "rate"), [(1, 2048), (9, 1024)])
def test_triggers_are_at_the_rate_of_the_subject(root, subject, rate):
    triggers = read(root / f"subject_timings/sub_{subject}_trial000_timings.csv")
    apart = {
        (int(after["index"]) - int(before["index"])) / (float(after["movie_time"]) - float(before["movie_time"]))
        for before, after in itertools.pairwise(triggers)
    }
    assert min(apart) == rate
    assert len(apart) == 3  # two pauses


def test_a_planted_contact_is_alone_in_its_region_and_subjects_share_it(root):
    planted = read(root / "planted.json")["subjects"]
    assert planted["sub_1"]["laplacian"] == {
        "T1aIb2": ["speech"],
        "T1bIc2": ["volume"],
        "T2aA2": ["pitch"],
        "F3aOFa2": [],
    }
    for subject in (1, 9):
        regions = {
            row["Electrode"]: row["DesikanKilliany"] for row in read(root / f"localization/sub_{subject}/depth-wm.csv")
        }
        assert [label for label, region in regions.items() if region == "ctx-lh-superiortemporal"] == ["T1aIb2#"]


def test_the_same_seed_writes_the_same_bytes_and_another_does_not(tmp_path, generate):
    settings = {"sessions": [(4, 1)], "words": "made-up", "minutes": 2}
    first, second = (generate(tmp_path / name, **settings) for name in ("first", "second"))
    other = generate(tmp_path / "other", **settings, seed=1)
    files = [path.relative_to(first) for path in first.rglob("*") if path.is_file()]
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in files)
    same = {path.name for path in files if (first / path).read_bytes() == (other / path).read_bytes()}
    assert same == {"electrode_labels.json", "corrupted_elec.json", "sub_4_trial001_metadata.json"}


def test_an_interrupted_call_goes_on_and_another_is_refused(tmp_path, generate):
    settings = {"sessions": [(4, 0), (4, 1)], "words": "made-up", "minutes": 2}
    out = generate(tmp_path / "root", **settings)
    first, second = (out / f"sub_4_trial00{trial}.h5" for trial in (0, 1))
    kept, whole = first.stat().st_mtime_ns, second.read_bytes()
    second.unlink()
    generate(out, **settings)
    assert first.stat().st_mtime_ns == kept
    assert second.read_bytes() == whole
    with pytest.raises(ValueError, match="was generated with other sessions or settings"):
        generate(out, **settings, seed=1)


def test_voltage_may_lie_in_a_subfolder_and_be_left_out(tmp_path, generate):
    settings = {"sessions": [(1, 1)], "words": "made-up", "minutes": 2, "subfolder": True, "with_voltage": False}
    out = generate(tmp_path / "root", **settings)
    last = int(read(out / "subject_timings/sub_1_trial001_timings.csv")[-1]["index"])
    # 16 labels and the extra one, of 4 bytes a sample, until 20 s after the last trigger.
    assert (out / "all_subject_data/sub_1_trial001.h5").stat().st_size == 4 * 17 * (last + 20 * 2048)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"contacts": 11}, "11 contacts have no place for three responses and none: ask for 12 or more."),
        ({"minutes": 1}, "1 minutes hold too few words: make up 2 or more."),
    ],
)
def test_what_cannot_be_had_is_refused(tmp_path, settings, message, generate):
    with pytest.raises(ValueError, match=message):
        generate(tmp_path / "root", sessions=[(4, 0)], words="made-up", **settings)
    assert not (tmp_path / "root").exists()


def test_a_folder_with_something_else_is_left_alone(tmp_path, generate):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds something else than a generated root"):
        generate(tmp_path, sessions=[(4, 0)], words="made-up", minutes=2)


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def film(words):
    return words.made_up_transcript(10, np.random.default_rng(0))


def test_the_nearest_trigger_finds_every_word_and_the_next_one_misses_by_the_pause(film, words):
    session = words.played(film, sampling_rate=1024, rng=np.random.default_rng(1))
    start = film.start[session.row]
    apart = np.abs(start[:, None] - session.trigger_s)
    for trigger, wrong_somewhere in ((apart.argmin(1), False), (np.searchsorted(session.trigger_s, start), True)):
        place = session.trigger_sample[trigger] + (start - session.trigger_s[trigger]) * 1024
        late = np.abs(place - session.sample)
        # To within rounding, or by a pause of 3 s or more.
        assert ((late < 1) | (late > 3 * 1023)).all()
        assert (late > 1).any() == wrong_somewhere


def test_words_come_after_the_last_trigger_and_incomplete_rows_between(film, words):
    session = words.played(film, sampling_rate=2048, rng=np.random.default_rng(1))
    assert (film.complete & (film.start > session.trigger_s[-1])).sum() > 5
    assert set(session.row) == set(np.flatnonzero(film.complete & (film.start < session.trigger_s[-1])))
    needed = [name for name in words.COLUMNS if name not in ("word_diff", "onset_diff")]
    whole = [all(film.columns[name][row] is not None for name in needed) for row in range(len(film.index))]
    assert whole == film.complete.tolist()
    assert 0.02 < 1 - np.mean(whole) < 0.1


def test_words_of_a_sentence_share_its_text_and_the_first_is_its_onset(film):
    sentences, onsets = film.columns["sentence"], film.columns["is_onset"]
    changes = [1, *(int(before != after) for before, after in itertools.pairwise(sentences))]
    assert changes == onsets
    assert film.columns["idx_in_sentence"][:4] == [0, 1, 2, 3]
    assert sentences[0].split()[1].strip(".") == film.columns["text"][1]


def test_volume_is_drawn_without_regard_to_pitch(film):
    rms, pitch = (np.array(film.columns[name], dtype=float) for name in ("rms", "pitch"))
    assert abs(np.corrcoef(rms[film.complete], pitch[film.complete])[0, 1]) < 0.1


# ---- responses ------------------------------------------------------------------------------------------------------


def high_gamma(signal, samples, rate):
    """Return the power at 70 to 150 Hz in the second after each of `samples`."""
    windows = np.stack([signal[sample : sample + rate] for sample in samples])
    power = np.abs(np.fft.rfft(windows)) ** 2
    return power[:, 70:151].sum(1)


@pytest.fixture(scope="module", params=[(1, 2048), (9, 1024)], ids=["2048 Hz", "1024 Hz"])
def scores(request, root):
    """(task, contact) -> AUROC of high-gamma power alone, with words placed by the nearest trigger."""
    subject, rate = request.param
    triggers = read(root / f"subject_timings/sub_{subject}_trial000_timings.csv")
    time_s, place = (np.array([float(row[name]) for row in triggers]) for name in ("movie_time", "index"))
    rows = [row for row in read(root / "transcripts/film-0/features.csv") if row["rms"] and row["pitch"]]
    start, end, rms, pitch = (np.array([float(row[name]) for row in rows]) for name in ("start", "end", "rms", "pitch"))
    played = start < time_s[-1]
    start, end, rms, pitch = start[played], end[played], rms[played], pitch[played]
    nearest = np.abs(start[:, None] - time_s).argmin(1)
    sample = np.round(place[nearest] + (start - time_s[nearest]) * rate).astype(int)
    gaps = np.flatnonzero((start[1:] - end[:-1] > 6) & (np.diff(sample) / rate - np.diff(start) < 0.01))
    silent = [
        sample[gap] + int((2.5 + step) * rate) for gap in gaps for step in range(int(start[gap + 1] - end[gap] - 4.5))
    ]
    rms_low, rms_high = np.quantile(rms, [0.25, 0.75])
    pitch_low, pitch_high = np.quantile(pitch, [0.25, 0.75])
    tasks = {
        "speech": (sample, np.array(silent)),
        "volume": (sample[rms > rms_high], sample[rms < rms_low]),
        "pitch": (sample[pitch > pitch_high], sample[pitch < pitch_low]),
    }
    found = {}
    for contact, planted in read(root / "planted.json")["subjects"][f"sub_{subject}"]["contacts"].items():
        signal = signal_of(root, subject, 0, contact)
        for task, (positive, negative) in tasks.items():
            power = high_gamma(signal, np.concatenate([positive, negative]), rate)
            truth = np.repeat([1, 0], [len(positive), len(negative)])
            found[task, contact, planted] = roc_auc_score(truth, power)
    return found


def test_power_tells_what_is_planted_where_it_is_planted(scores):
    for task in ("speech", "volume", "pitch"):
        (score,) = [score for (of, _, planted), score in scores.items() if of == planted == task]
        assert 0.7 < score < 0.98


def test_power_tells_nothing_elsewhere(scores):
    elsewhere = np.array([score for (task, _, planted), score in scores.items() if task != planted])
    assert len(elsewhere) == 3 * 13 - 3
    assert abs(elsewhere.mean() - 0.5) < 0.03
    assert np.abs(elsewhere - 0.5).max() < 0.15


# ---- the program ----------------------------------------------------------------------------------------------------


def run(*arguments, cwd):
    program = str(EXAMPLES / "generate_brain_treebank.py")
    return subprocess.run([sys.executable, program, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_program_writes_a_root_and_says_how_large_it_is(tmp_path):
    result = run("root", "--words", "made-up", "--minutes", "2", "--sessions", "4_0", "9_0", "4_0", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("2 sessions, ")
    assert result.stdout.endswith(" MB on disk, in root.\n")


def test_the_program_refuses_a_session_that_is_none(tmp_path):
    result = run("root", "--sessions", "four", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.endswith(
        "error: four names no session: give SUBJECT_TRIAL, such as 4_0, or test, nano, all.\n"
    )
