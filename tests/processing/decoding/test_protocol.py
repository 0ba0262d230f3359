"""The whole comparison, on generated recordings with a response of known size at known contacts."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from brainbert.processing.decoding import (
    Labels,
    Plan,
    blocked,
    by_recording,
    decode,
    leave_subject_out,
    make_epochs,
    make_task,
    paper,
    protocol,
    systems,
    write_report,
)

QUICK = {"few_shot": False, "layers": False, "dimension": False}
LINEAR = ("spectrogram", "band-power")
SILENT = ("LA1", "LA3", "LA4", "LA6", "LA7", "LA8")
# What the program adds to a result, which does not know of it.
ABOUT = {"title": "made", "settings": {}}


def by_contact(result, name):
    entry = next(entry for entry in result["systems"] if entry["name"] == name)
    return {each["contact"]: each for each in entry["contacts"]}


def score_of(result, name):
    return next(entry["score"] for entry in result["systems"] if entry["name"] == name)


def report_of(result, folder):
    """The bytes of both files."""
    about = {"task": result["task"] | {"labels": "made"}, "model": result["model"] | {"name": "m", "pretraining": None}}
    path = write_report(result | ABOUT | about, folder)
    return path.read_bytes(), path.with_suffix(".json").read_bytes()


@pytest.fixture(scope="module")
def labels():
    """Rest or move in each of 160 seconds, as often, in random order."""
    return np.random.default_rng(1).permutation(np.arange(160) % 2)


@pytest.fixture(scope="module")
def found(labels, planted, second_by_second, small_encoder):
    """What is found when LA2 and LA5 have 60–90 Hz in "move"."""
    recordings = [planted(labels.astype(float))]
    task = make_task(recordings, second_by_second(recordings, [labels]), partial(blocked, folds=2), progress=False)
    return decode(task, small_encoder(), Plan(controls=LINEAR, untrained_seeds=0, **QUICK))


@pytest.fixture(scope="module")
def values(planted, second_by_second, small_encoder):
    """A task of 60 seconds and two contacts whose values LA2 has in the logarithm of its 60–90 Hz; and an encoder."""
    target = np.random.default_rng(3).standard_normal(60)
    recordings = [planted(3 * np.exp(0.5 * target), contacts=2, at=("LA2",))]
    windows = second_by_second(recordings, [target])
    task = make_task(recordings, windows, partial(blocked, folds=2, embargo_s=0.0), progress=False)
    return task, small_encoder()


@pytest.mark.parametrize("name", LINEAR)
def test_the_planted_contacts_are_found_and_silent_ones_lie_within_chance(found, name):
    contacts = by_contact(found, name)
    for contact in ("LA2", "LA5"):
        assert contacts[contact]["q"] <= 0.05
        assert contacts[contact]["score"] > 0.95
    inside = [contacts[each]["chance"][0] <= contacts[each]["score"] <= contacts[each]["chance"][1] for each in SILENT]
    assert sum(inside) >= 5  # each with a probability of 95 %
    assert all(contacts[each]["q"] > 0.05 for each in SILENT)


def test_an_encoder_that_knows_less_than_band_power_is_said_to_be_below(found):
    assert score_of(found, "pretrained") < score_of(found, "band-power")
    assert "did not beat all of its controls: it is below" in found["verdict"]
    assert "linear band power" in found["verdict"].partition("it is below")[2]


def test_shuffled_labels_give_one_half(labels, planted, second_by_second, small_encoder):
    # Of 30 shuffles 95 % of contacts were within chance, those that respond to the true labels as well as others.
    recordings, encoder = [planted(labels.astype(float), contacts=3, at=("LA2",))], small_encoder()
    inside, scores = [], []
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(labels)
        windows = second_by_second(recordings, [shuffled])
        task = make_task(recordings, windows, partial(blocked, folds=2), progress=False)
        result = decode(task, encoder, Plan(controls=("band-power",), untrained_seeds=0, **QUICK))
        for entry in result["systems"]:
            assert entry["chance"][0] <= entry["score"] <= entry["chance"][1]
            inside += [each["chance"][0] <= each["score"] <= each["chance"][1] for each in entry["contacts"]]
            scores.append(entry["score"])
    assert sum(inside) >= 16  # of 18
    assert abs(np.mean(scores) - 0.5) < 0.04


def test_a_regression_reaches_the_correlation_that_was_planted(planted, second_by_second, small_encoder):
    driven, noise = np.random.default_rng(0).standard_normal((2, 240))
    target = 0.8 * driven + 0.6 * noise  # the best prediction from the signal has r = .8
    recordings = [planted(6 * np.exp(0.5 * driven), contacts=2, at=("LA2",))]
    task = make_task(recordings, second_by_second(recordings, [target]), partial(blocked, folds=4), progress=False)
    result = decode(task, small_encoder(), Plan(controls=LINEAR, untrained_seeds=0, **QUICK))
    planted_r = np.corrcoef(driven, target)[0, 1]
    # Over eight seeds band power, whose bands the response does not fill, was .02 to .05 below it, 40 bins .03 to .08.
    for name, margin in (("band-power", 0.06), ("spectrogram", 0.1)):
        contacts = by_contact(result, name)
        assert planted_r - margin < contacts["LA2"]["score"] < planted_r + 0.02
        assert contacts["LA2"]["q"] <= 0.05
        assert contacts["LA1"]["chance"][0] < contacts["LA1"]["score"] < contacts["LA1"]["chance"][1]
    assert (result["task"]["metric"], result["roc"], result["confusion"]) == ("Pearson r", None, None)


def test_the_same_seed_gives_the_same_report_with_any_number_of_processes_and_another_seed_other_twins(
    values, tmp_path
):
    plan = Plan(controls=("band-power", "waveform-network"), untrained_seeds=1, best_contacts=1, draws=200)
    one = decode(*values, plan)
    for key in ("few_shot", "layers", "dimension", "best_contacts"):
        assert one[key], key
    assert [entry["name"] for entry in one["systems"]] == ["pretrained", "untrained", *plan.controls]
    first = report_of(one, tmp_path / "one")
    assert report_of(decode(*values, replace(plan, jobs=2)), tmp_path / "two") == first
    other = decode(*values, Plan(controls=(), untrained_seeds=1, draws=200, seed=5, **QUICK))
    assert score_of(other, "pretrained") == score_of(one, "pretrained")
    assert score_of(other, "untrained") != score_of(one, "untrained")


def test_what_was_stopped_goes_on_where_it_was_and_ends_with_the_same_report(values, tmp_path, monkeypatch):
    task, encoder = values
    plan = Plan(controls=("spectrogram", "waveform"), untrained_seeds=1, draws=100, **QUICK)
    whole = report_of(decode(task, encoder, plan), tmp_path / "whole")
    cached = replace(task, cache=tmp_path / "cache")

    def files():
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir() if path.suffix == ".npy"}

    def stop(*_, **__):
        raise KeyboardInterrupt

    def stop_at(module, name):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, stop)
            with pytest.raises(KeyboardInterrupt):
                decode(cached, encoder, plan)

    stop_at(systems, "waveform_features")
    features = files()
    assert sorted(name.rpartition("-")[0] for name in features) == ["embeddings", "embeddings", "spectrogram"]
    stop_at(protocol, "evaluate")
    scores = files()
    assert len(scores) == 4 + 4 * 2  # features of four systems, and scores of each at two contacts
    assert report_of(decode(cached, encoder, plan), tmp_path / "again") == whole
    assert files() == scores
    assert scores.items() >= features.items()


def test_statistics_of_the_recording_erase_a_label_that_is_constant_within_it(planted, second_by_second, small_encoder):
    # Two recordings a class; in "move" all voltage is three times as large.
    kinds = [0, 1, 0, 1]
    recordings = [
        planted(np.zeros(70), contacts=1, at=(), seed=number, level=1 + 2 * kind, name=f"r{number}")
        for number, kind in enumerate(kinds)
    ]
    windows = second_by_second(recordings, [np.full(70, kind) for kind in kinds])
    task = make_task(recordings, windows, partial(by_recording, folds=2), progress=False)
    encoder = small_encoder(normalization="recording", scale="linear")
    result = decode(task, encoder, Plan(controls=("band-power",), untrained_seeds=0, **QUICK))
    assert score_of(result, "band-power") > 0.99
    assert abs(score_of(result, "pretrained") - 0.5) < 0.1
    assert result["statistics"] == "training windows"
    units, few, left_out, erased, alone = result["warnings"]
    assert few.startswith("Labels can be moved in ")
    assert left_out.startswith("Left out on request: Linear, spectrogram, ")
    assert "only 4 independent units" in units
    assert erased.startswith("Labels are constant within each recording, and statistics of the recording take such a")
    assert alone.startswith("4 of 4 recordings have no training window in some fold")


def test_the_paper_split_says_how_many_windows_overlap(planted, small_encoder):
    recordings = [planted(np.ones(40), contacts=1, at=())]
    labels = Labels(onset_s=np.arange(0, 40, 4), duration_s=np.full(10, 4.0), values=np.arange(10.0))
    windows = make_epochs([labels], recordings, window_s=1.0, stride_s=0.5)
    with pytest.warns(UserWarning, match="share samples with a training window"):
        task = make_task(recordings, windows, partial(paper, seed=0), progress=False)
    result = decode(task, small_encoder(), Plan(controls=(), untrained_seeds=0, draws=100, **QUICK))
    assert result["split"]["overlapping"] == task.split.overlapping > 0
    assert result["warnings"][0].startswith(f"{task.split.overlapping} test windows share samples with training wi")
    assert "was compared with no control" in result["verdict"]


def test_people_with_different_contacts_are_decoded_together_and_one_at_a_time_is_left_out(
    planted, second_by_second, small_encoder
):
    target = np.random.default_rng(4).permutation(np.arange(60) % 2)
    recordings = [
        planted(2 * target, contacts=1, at=("LA1",), seed=1, name="r1", subject="s1"),
        planted(2 * target, contacts=2, at=("RB2",), seed=2, shaft="RB", name="r2", subject="s2"),
    ]
    windows = second_by_second(recordings, [target, target])
    task = make_task(recordings, windows, leave_subject_out, pool=True, progress=False)
    result = decode(task, small_encoder(), Plan(controls=("band-power",), untrained_seeds=0, draws=100, **QUICK))
    assert [fold["name"] for fold in result["split"]["folds"]] == ["s1", "s2"]
    assert result["split"]["folds"][0]["test"] == {"rest": 30, "move": 30}
    assert result["split"]["folds"][0]["train"] == {"rest": 60, "move": 60}
    assert list(by_contact(result, "band-power")) == ["all contacts"]
    assert score_of(result, "band-power") > 0.75  # one of the three contacts is silent
    assert any("only 2 independent units (subject)" in warning for warning in result["warnings"])


def test_windows_that_no_encoder_can_embed_are_left_out_whatever_is_asked_for(planted, second_by_second):
    recording = planted(np.ones(40), contacts=2, at=())
    voltage = recording.data.copy()
    voltage[1, 512 * 3 : 512 * 4] = 7.0
    recording = recording.with_data(voltage)
    windows = second_by_second([recording], [np.arange(40) % 2])
    task = make_task([recording], windows, partial(blocked, folds=2), leave_out=(), progress=False)
    assert np.argwhere(task.problems != "").tolist() == [[1, 3]]
    assert task.problems[1, 3] == "flat"


def test_fine_tuned_scores_are_judged_beside_the_frozen_encoder_and_what_was_left_out_is_said(values):
    task, encoder = values
    scores = np.tile(task.epochs.target, (2, 1))[..., None]
    plan = Plan(controls=("band-power",), untrained_seeds=0, draws=100, **QUICK)
    result = decode(task, encoder, plan, fine_tuned={"fine-tuned": [scores]})
    assert score_of(result, "fine-tuned") == pytest.approx(1.0)
    assert [each["control"] for each in result["differences"]] == ["pretrained", "band-power"]
    assert result["verdict"].startswith("The fine-tuned encoder (Pearson r 1.000) beat all 2 of its controls")
    assert any(warning.startswith("Left out on request: Linear, spectrogram, ") for warning in result["warnings"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"controls": ("spectogram",)}, "There is no control 'spectogram': choose from spectrogram, "),
        ({"untrained_seeds": -1}, "untrained_seeds must be at least 0, draws and jobs at least 1"),
        ({"draws": 0}, "draws and jobs at least 1"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Plan(**given)


def test_more_best_contacts_than_there_are_is_refused_before_features_are_computed(values, monkeypatch):
    monkeypatch.setattr(protocol, "embeddings", None)
    with pytest.raises(ValueError, match="best_contacts is 3 and there are 2: choose 0 to 2"):
        decode(*values, Plan(best_contacts=3))


def test_a_split_that_tests_on_one_unit_is_refused_before_signals_are_read(values, monkeypatch):
    task = values[0]
    monkeypatch.setattr(protocol, "find_problems", None)
    with pytest.raises(ValueError, match="All test windows are of one block of time, which says nothing about others"):
        make_task(task.recordings, task.windows, lambda _: replace(task.split, unit=np.zeros(60, np.int64)))
