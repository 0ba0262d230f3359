"""A report says all that somebody needs to do it again."""

import dataclasses
import json
from functools import partial

import numpy as np
import pytest

from brainbert.processing.decoding import (
    blocked,
    by_recording,
    grouped,
    leave_subject_out,
    make_task,
    weights_sha256,
)
from brainbert.processing.decoding.description import VERSIONS, describe
from brainbert.processing.decoding.report import plain_json
from brainbert.processing.recordings import mark_bad

HALVES = partial(blocked, folds=2)


@pytest.fixture(scope="module")
def recordings(planted):
    """Two of 40 seconds; r1 has a flat LA3 and r2 no LA4; in r1 a second of LA2 is flat. LA1 has a position in r1."""
    first = planted(np.ones(40), contacts=4, at=(), name="r1", subject="s1")
    second = planted(np.ones(40), contacts=3, at=(), seed=1, name="r2", subject="s2")
    voltage = first.data.copy()
    voltage[1, 512 * 3 : 512 * 4] = 7.0
    positions = np.full((4, 3), np.nan)
    positions[0] = [-30.0, -20.0, 5.0]
    first = dataclasses.replace(first.with_data(voltage), positions=positions, coordinate_frame="mni")
    return [mark_bad(first, {"LA3": "flat"}), second]


@pytest.fixture
def described(second_by_second, small_encoder):
    def described(recordings, targets, split_by=HALVES, *, pool=False, change=lambda windows: windows, **front_end):
        windows = change(second_by_second(recordings, targets))
        task = make_task(recordings, windows, split_by, pool=pool, progress=False)
        return describe(task, small_encoder(**front_end), warnings=["first"], seed=3)

    return described


def test_contacts_and_windows_that_were_left_out_have_a_reason(recordings, described):
    result = described(recordings, [np.arange(40) % 2] * 2)
    assert [each["left_out"] for each in result["recordings"]] == [
        {"LA3": "flat", "LA4": "not in every recording"},
        {"LA3": "not in every recording"},
    ]
    assert [each["contacts"] for each in result["recordings"]] == [2, 2]
    assert result["left_out"] == {"of a contact: flat": 1}


def test_model_split_windows_seed_and_versions_are_stated(recordings, described, small_encoder):
    result = described(recordings, [np.arange(40) % 2] * 2, partial(blocked, folds=2, embargo_s=2.0))
    model = small_encoder().model
    assert result["model"]["sha256"] == weights_sha256(model)
    assert result["model"]["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    kept = {key: result["model"][key] for key in ("pooling", "layer", "normalization", "scale")}
    assert kept == {"pooling": "mean", "layer": 1, "normalization": "clip", "scale": "log"}
    assert result["task"]["windows"] == {"rest": 40, "move": 40}
    assert [each["windows"] for each in result["recordings"]] == [{"rest": 20, "move": 20}] * 2
    assert [each["duration_s"] for each in result["recordings"]] == [40.0, 40.0]
    split = result["split"]
    assert (split["name"], split["unit"], split["embargo_s"], split["overlapping"]) == (
        "blocked",
        "block of time",
        2,
        0,
    )
    assert sum(sum(fold["test"].values()) for fold in split["folds"]) == 80
    assert all(sum(fold["train"].values()) + sum(fold["test"].values()) < 80 for fold in split["folds"])  # embargo
    assert (result["seed"], set(result["versions"]), result["statistics"]) == (3, set(VERSIONS), None)
    assert result["warnings"] == ["first"]
    json.dumps(plain_json(result), allow_nan=False)


def test_a_recording_has_the_fingerprint_of_its_samples_and_its_subject_is_that_of_the_labels(recordings, described):
    targets = [np.arange(40) % 2] * 2
    prints = [each["fingerprint"] for each in described(recordings, targets)["recordings"]]
    assert [len(each) for each in prints] == [64, 64]
    assert prints[0] != prints[1]
    louder = recordings[1].with_data(recordings[1].data * np.float32(1.5))
    again = described([recordings[0], louder], targets)["recordings"]
    assert (again[0]["fingerprint"] == prints[0], again[1]["fingerprint"] == prints[1]) == (True, False)
    named = described(recordings, targets, change=lambda windows: dataclasses.replace(windows, subjects=("p1", "p2")))
    assert [each["subject"] for each in named["recordings"]] == ["p1", "p2"]


def test_positions_are_those_of_the_contacts_of_a_single_recording(recordings, described):
    target = np.arange(40) % 2
    assert described(recordings, [target] * 2)["positions"] is None
    alone = described(recordings[:1], [target])
    assert alone["positions"] == {"frame": "mni", "contacts": {"LA1": [-30.0, -20.0, 5.0]}}
    assert described(recordings[1:], [target])["positions"] is None
    assert described(recordings[:1], [target], pool=True)["positions"] is None


def test_blocks_of_time_that_tell_recordings_or_groups_apart_are_warned_about(recordings, planted, described):
    more = [
        *recordings,
        planted(np.ones(40), contacts=3, at=(), name="r3"),
        planted(np.ones(40), contacts=3, at=(), name="r4"),
    ]
    constant = [np.full(40, number % 2) for number in range(4)]
    with pytest.warns(UserWarning, match="Labels are constant in each recording"):
        result = described(more, constant)
    assert result["warnings"][1].startswith("Labels are constant within each recording, and some folds train and test")
    assert described(more, constant, partial(by_recording, folds=2))["warnings"] == ["first"]

    def in_pairs(windows):
        group = np.arange(len(windows)) // 2
        return dataclasses.replace(windows, group=group, groups=tuple(str(number) for number in range(group.max() + 1)))

    alternating = [np.arange(40) // 2 % 2] * 2
    with pytest.warns(UserWarning, match="The labels name groups"):
        result = described(recordings, alternating, partial(blocked, folds=2, embargo_s=0.0), change=odd(in_pairs))
    assert result["warnings"][1].startswith("The labels name groups, and some folds train and test on windows of the")
    assert described(recordings, alternating, partial(grouped, folds=2), change=in_pairs)["warnings"] == ["first"]


def odd(in_pairs):
    """The same groups, of which the first spans the whole recording."""

    def change(windows):
        windows = in_pairs(windows)
        return dataclasses.replace(windows, group=np.where(np.arange(len(windows)) % 4 == 0, 0, windows.group))

    return change


def test_statistics_of_the_recording_are_warned_about_for_what_they_are(recordings, described, small_encoder):
    target = np.arange(40) % 2
    result = described(recordings, [target] * 2, leave_subject_out, normalization="recording")
    assert result["statistics"] == "training windows"
    assert result["warnings"][1].startswith("2 of 2 recordings have no training window in some fold")
    assert described(recordings, [target] * 2, normalization="recording")["warnings"] == ["first"]


def test_statistics_of_whole_recordings_are_named(recordings, second_by_second, small_encoder):
    task = make_task(recordings, second_by_second(recordings, [np.arange(40) % 2] * 2), HALVES, progress=False)
    encoder = dataclasses.replace(small_encoder(normalization="recording"), statistics="whole recording")
    result = describe(task, encoder, warnings=[], seed=0)
    assert result["statistics"] == "whole recording"
    assert result["warnings"] == ["The encoder's input has statistics of whole recordings, test windows among them."]


def test_a_regression_has_no_classes_and_counts_windows(recordings, described):
    task = described(recordings, [np.linspace(0, 1, 40)] * 2)["task"]
    assert (task["kind"], task["classes"], task["metric"], task["chance"]) == ("regression", None, "Pearson r", 0.0)
    assert task["windows"] == {"windows": 80}
