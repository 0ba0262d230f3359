"""The program that decodes, on generated recordings: a report that says all and names nobody, and refusals."""

import datetime
import importlib
import json
import shutil
import sys
import warnings

import mne
import numpy as np
import pytest
from transformers import BertConfig, BertModel

from brainbert.processing.corpora.lineage import recording_mark
from brainbert.processing.recordings import identify_recording

SECONDS = 130
QUICK = ["--folds", "2", "--draws", "1000", "--jobs", "1", "--untrained-seeds", "1", "--reference", "none"]
QUICK += ["--line-frequency", "50", "--window-s", "1"]
FEW = ["--without", "spectrogram-time", "waveform", "waveform-network", "few-shot", "layers"]


def save_recording(path, label, *, seed):
    """Six contacts with 1/f² noise, of which LA5 has 60–90 Hz where the label is 1; LA3 is not connected; a patient."""
    random = np.random.default_rng(seed)
    volts = 1e-6 * random.standard_normal((6, SECONDS * 512)).cumsum(1)
    volts -= volts.mean(1, keepdims=True)
    frequencies = np.fft.rfftfreq(SECONDS * 512, 1 / 512)
    gamma = np.fft.rfft(random.standard_normal(SECONDS * 512)) * ((frequencies >= 60) & (frequencies <= 90))
    gamma = np.fft.irfft(gamma)
    volts[4] += 1e-5 * gamma / gamma.std() * np.repeat(label, 512)
    volts[2] = 0.0
    raw = mne.io.RawArray(volts, mne.create_info([f"LA{n}" for n in range(1, 7)], 512.0, "seeg"), verbose="ERROR")
    raw.set_meas_date(datetime.datetime(2019, 3, 14, tzinfo=datetime.UTC))
    raw.info["subject_info"] = {"his_id": "Smith-1234", "last_name": "Smith", "first_name": "Jane"}
    mne.export.export_raw(path, raw, physical_range="channelwise", verbose="ERROR")


def save_table(path, head, rows):
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, save_model):
    """Two recordings, tables of their labels, and a model of one layer for 512 Hz."""
    folder = tmp_path_factory.mktemp("decode")
    label = np.random.default_rng(1).permutation(np.arange(SECONDS) % 2)
    for number in (1, 2):
        save_recording(folder / f"night{number}.edf", label, seed=number)
    names = np.array(["rest", "move"])[label]
    rows = [f"{second},1,{name}" for second, name in enumerate(names)]
    save_table(folder / "words.csv", "onset,duration,label", [*rows[:-1], f"{SECONDS - 1},1,n/a"])
    save_table(
        folder / "two.csv",
        "recording,onset,duration,label,subject",
        [f"night{n},{row},s{n}" for n in (1, 2) for row in rows],
    )
    save_table(folder / "one.csv", "onset,duration,label", [row.replace("move", "rest") for row in rows])
    save_table(folder / "few.csv", "onset,duration,label", rows[:9])
    save_table(folder / "late.csv", "onset,duration,label", [*rows, "500,1,rest"])
    # Groups of two windows that lie half a second apart: neighbours share samples.
    close = [f"{second / 2},1,{names[second % SECONDS]},{second}" for second in range(40)]
    save_table(folder / "close.csv", "onset,duration,label,group", close)
    np.save(folder / "force.npy", np.repeat(label + 0.1 * np.random.default_rng(0).standard_normal(SECONDS), 10))
    save_model(folder / "run" / "model", sampling_rate=512, window_length=100, hop_length=12, scale="log")
    return folder


@pytest.fixture
def decode(as_a_program, folder, monkeypatch):
    """Run the program in the folder; return its report as a dict and the bytes of both files."""

    def decode(out, *flags, recordings=("night1.edf",)):
        program, run = importlib.import_module("decode"), importlib.import_module("brainbert.processing.program").run
        monkeypatch.chdir(folder)
        monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)  # which the program sets
        arguments = [*recordings, "--model", "run/model", *QUICK, "--out", str(out), *map(str, flags)]
        monkeypatch.setattr(sys, "argv", ["decode.py", *arguments])
        run(program.main)
        files = [(folder / out / f"report.{kind}").read_bytes() for kind in ("json", "html")]
        return json.loads(files[0]), files

    return decode


def test_the_report_finds_the_contact_says_what_was_done_and_names_nobody(decode, folder, capsys):
    result, (data, page) = decode("out", "--labels", "words.csv", "--classes", "rest", "move", *FEW)
    said = capsys.readouterr().out
    assert said.splitlines()[-2:] == [result["verdict"], "out/report.html and out/report.json"]
    systems = {entry["name"]: entry for entry in result["systems"]}
    assert list(systems) == ["pretrained", "untrained", "spectrogram", "band-power"]
    for name in ("spectrogram", "band-power"):
        contacts = {each["contact"]: each for each in systems[name]["contacts"]}
        assert list(contacts) == ["LA1", "LA2", "LA4", "LA5", "LA6"]
        assert contacts["LA5"]["q"] <= 0.05
        assert contacts["LA5"]["score"] > 0.95
    assert (result["title"], result["task"]["labels"]) == ("Decoding move against rest", "table, column label or value")
    assert sum(result["task"]["windows"].values()) == SECONDS - 1
    assert result["left_out"]["without a label"] == 1
    (recording,) = result["recordings"]
    assert recording["left_out"] == {"LA3": "zeros"}
    assert len(recording["fingerprint"]) == len(result["model"]["sha256"]) == 64
    assert (result["model"]["name"], result["model"]["pretraining"]) == ("model", None)
    kept = ("line_frequency", "reference", "window_s", "untrained_seeds", "blocks_per_fold", "draws")
    assert [result["settings"][name] for name in kept] == [50, "none", 1.0, 1, 4, 1000]
    assert (result["seed"], len(result["split"]["folds"])) == (0, 2)
    for text in (data.decode(), page.decode()):
        for private in ("Smith", "Jane", "2019-03-14", "14-MAR", "night1", "words", str(folder), folder.name):
            assert private not in text


def test_the_report_warns_of_a_recording_that_the_encoder_was_pretrained_on(decode, folder, tmp_path):
    shutil.copytree(folder / "run" / "model", tmp_path / "seen")
    marks = [recording_mark(identify_recording(folder / "night1.edf"))]
    record = {"steps": 4, "corpora": [{"fingerprint": "f", "recordings": 1, "recording_marks": marks}]}
    (tmp_path / "seen" / "training_record.json").write_text(json.dumps(record))
    flags = ("--labels", "words.csv", *FEW, "spectrogram", "dimension", "--model", tmp_path / "seen")
    assert any("was pretrained on this recording" in said for said in decode(tmp_path / "1", *flags)[0]["warnings"])
    other = decode(tmp_path / "2", *flags, recordings=("night2.edf",))[0]
    assert not any("was pretrained on" in said for said in other["warnings"])


def test_a_recording_is_found_by_name_in_a_table_of_several(decode):
    alone = decode("alone", "--labels", "two.csv", *FEW, "spectrogram", "dimension")[0]
    assert (alone["task"]["windows"], len(alone["recordings"])) == ({"move": 65, "rest": 65}, 1)
    both = decode(
        "both", "--labels", "two.csv", "--split", "leave_subject_out", "--folds", "5", "--pool-contacts",
        "--classes", "rest", "move", *FEW, "spectrogram", "dimension",
        recordings=("night1.edf", "night2.edf"),
    )[0]  # fmt: skip
    assert [recording["windows"] for recording in both["recordings"]] == [{"rest": 65, "move": 65}] * 2
    subjects = [recording["subject"] for recording in both["recordings"]]
    assert [fold["name"] for fold in both["split"]["folds"]] == subjects
    assert both["systems"][0]["contacts"][0]["contact"] == "all contacts"


def test_a_signal_gives_values_or_two_classes(decode):
    signal = ["--labels", "force.npy", "--labels-rate", "10", *FEW, "spectrogram", "dimension"]
    result = decode("values", *signal)[0]
    assert (result["title"], result["task"]["kind"]) == ("Decoding signal in a file, as a number", "regression")
    contacts = {each["contact"]: each["score"] for each in result["systems"][-1]["contacts"]}
    assert contacts["LA5"] > 0.9
    result = decode("classes", *signal, "--threshold", "0.5", "--untrained-seeds", "0")[0]
    assert result["task"]["windows"] == {"low": 65, "high": 65}


def test_the_same_command_gives_the_same_bytes_from_the_cache_and_without(decode, folder):
    command = ["--labels", "force.npy", "--labels-rate", "10", *FEW]
    first = decode("first", *command, "--cache", "kept")[1]
    kept = {path: path.stat().st_mtime_ns for path in (folder / "kept").iterdir()}
    assert decode("second", *command, "--cache", "kept")[1] == first
    assert {path: path.stat().st_mtime_ns for path in (folder / "kept").iterdir()} == kept
    assert decode("third", *command)[1] == first


REFUSALS = {
    "no labels": ([], "Labels come from nowhere: give one of --labels, --events, --annotations and --channel."),
    "two sources": (
        ["--labels", "words.csv", "--channel", "LA1"],
        "Labels come from --labels and --channel: give one of --labels, --events, --annotations and --channel.",
    ),
    "no such table": (["--labels", "absent.csv"], "There is no table 'absent.csv' at the path given"),
    "no such column": (["--labels", "words.csv", "--column", "loud"], "'words.csv' has no column 'loud'"),
    "outside": (["--labels", "late.csv"], "1 of 131 labels lie outside of recording .*, which lasts 130.00 s"),
    "one class": (["--labels", "one.csv"], "There is one class, rest; a decoder needs two or more."),
    "unknown class": (
        ["--labels", "words.csv", "--classes", "rest", "sing"],
        "There is no label 'sing': the labels are move, rest; choose among these.",
    ),
    "too few": (
        ["--labels", "few.csv"],
        "There are 9 windows; a decoder needs 10: give more labels, or shorter windows.",
    ),
    "threshold without signal": (
        ["--labels", "words.csv", "--threshold", "0"],
        "--threshold and --label-s belong to --channel or a .npy signal: leave them out.",
    ),
    "three thresholds": (
        ["--labels", "force.npy", "--labels-rate", "10", "--threshold", "0", "1", "2"],
        "--threshold has 3 numbers: give one, or two.",
    ),
    "signal without rate": (["--labels", "force.npy"], "A .npy signal needs its rate: give --labels-rate in Hz."),
    "values of classes": (
        ["--labels", "force.npy", "--labels-rate", "10", "--threshold", "0.5", "--regression"],
        "--regression decodes numbers and --threshold makes classes: leave one of them out.",
    ),
    "layer": (["--labels", "words.csv", "--layer", "2"], "--layer is 2 and the last layer of this model is 1: choose"),
    "short window": (
        ["--labels", "words.csv", "--window-s", "0.3"],
        r"--window-s 0.3 is too short for this model, which needs 10 time steps and gets \d: give 0.\d+ s or more.",
    ),
    "no window": (["--labels", "words.csv", "--window-s", "0"], "--window-s 0 is too short for this model"),
    "long window": (["--labels", "words.csv", "--window-s", "600"], "--window-s 600 is too long for this model"),
    "no group": (["--labels", "words.csv", "--split", "grouped"], "The labels name no groups; give a column 'group'"),
    "overlapping groups": (
        ["--labels", "close.csv", "--split", "grouped"],
        "Fold 1 trains on .* s and tests on .* s of recording .*: they share 256 samples",
    ),
    "no people": (
        ["--labels", "words.csv", "--split", "leave_subject_out", "--folds", "5"],
        "Of 1 recordings nobody said whose they are",
    ),
    "folds of one at a time": (
        ["--labels", "words.csv", "--split", "paper"],
        "--folds belongs to --split blocked or grouped or by_recording: leave it out.",
    ),
    "embargo of groups": (
        ["--labels", "close.csv", "--split", "grouped", "--embargo-s", "0"],
        "--embargo-s belongs to --split blocked: leave it out.",
    ),
    "blocks of groups": (
        ["--labels", "close.csv", "--split", "grouped", "--blocks-per-fold", "1"],
        "--blocks-per-fold belongs to --split blocked: leave it out.",
    ),
    "groups of blocks": (
        ["--labels", "words.csv", "--group-name", "pair"],
        "--group-name belongs to --split grouped: leave it out.",
    ),
    "column without table": (["--channel", "LA1", "--column", "loud"], "--column belongs to --labels with a table"),
    "rate without signal": (["--labels", "words.csv", "--labels-rate", "10"], "--labels-rate belongs to a .npy signal"),
    "statistics of clips": (
        ["--labels", "words.csv", "--statistics", "whole-recording"],
        "--statistics belongs to models with the normalization recording, and this has clip: leave it out.",
    ),
    "no such model": (["--labels", "words.csv", "--model", "./absent"], "There is no folder ./absent"),
    "run for a model": (
        ["--labels", "words.csv", "--model", "run"],
        r"run holds no config.json and is no model folder \(there is one inside it: model\)",
    ),
    "regions": (["--labels", "words.csv", "--regions", "words.csv"], "no table with the columns contact and region"),
}


@pytest.mark.parametrize(("flags", "message"), REFUSALS.values(), ids=REFUSALS)
def test_what_does_not_fit_is_refused_in_one_sentence_before_anything_is_written(decode, tmp_path, flags, message):
    with pytest.raises(SystemExit, match=message) as refusal:
        decode(tmp_path / "refused", *flags)
    assert str(refusal.value).startswith("error: ")
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--channel", "LA1"], "Several recordings need one table of labels with a column recording: give --labels."),
        (["--labels", "words.csv"], "'words.csv' has no column 'recording'; its columns are onset, duration, label."),
    ],
)
def test_several_recordings_need_a_table_that_tells_them_apart(decode, tmp_path, flags, message):
    with pytest.raises(SystemExit, match=message):
        decode(tmp_path / "refused", *flags, recordings=("night1.edf", "night2.edf"))
    assert not (tmp_path / "refused").exists()


def test_a_table_of_other_recordings_is_refused(decode, folder, tmp_path):
    shutil.copy(folder / "night1.edf", folder / "night3.edf")
    with pytest.raises(SystemExit, match=r"'two\.csv' has no row whose recording is 'night3'"):
        decode(tmp_path / "refused", "--labels", "two.csv", recordings=("night3.edf",))
    (folder / "again").mkdir()
    shutil.copy(folder / "night1.edf", folder / "again")
    with pytest.raises(SystemExit, match="Two recordings are called night1, and the labels tell recordings apart"):
        decode(tmp_path / "refused", "--labels", "two.csv", recordings=("night1.edf", "again/night1.edf"))


def test_a_model_folder_that_lacks_a_part_or_is_of_another_model_is_refused(decode, folder, tmp_path):
    shutil.copytree(folder / "run" / "model", tmp_path / "part")
    (tmp_path / "part" / "preprocessor_config.json").unlink()
    with pytest.raises(SystemExit, match=r"part holds no preprocessor_config\.json, without which"):
        decode(tmp_path / "refused", "--labels", "words.csv", "--model", tmp_path / "part")
    tiny = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(**tiny, vocab_size=10)).save_pretrained(tmp_path / "bert")
    shutil.copy(folder / "run" / "model" / "preprocessor_config.json", tmp_path / "bert")
    with pytest.raises(SystemExit, match="bert is a model of the type bert: give one of BrainBERT"):
        decode(tmp_path / "refused", "--labels", "words.csv", "--model", tmp_path / "bert")
    assert not (tmp_path / "refused").exists()
