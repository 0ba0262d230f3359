"""Statistics of a fold come from its training windows, each sample once."""

import dataclasses

import numpy as np
import pytest

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.corpora import RunningStatistics
from brainbert.processing.decoding.fold_statistics import (
    training_statistics,
    whole_recording_statistics,
    window_moments,
)
from brainbert.processing.decoding.signals import contacts_of

CONTACTS = ("A1", "A3")
HALF_OVERLAPPING = list(range(0, 27 * 5120, 5120))  # 70 s


@pytest.fixture
def extractor():
    return BrainBertFeatureExtractor(normalization="recording", scale="log")


def statistics_of(recordings, epochs, contacts, extractor, train):
    moments = window_moments(recordings, epochs, contacts, extractor, progress=False)
    return training_statistics(recordings, epochs, contacts, extractor, moments=moments, train=train)


def by_hand(recording, row, starts, extractor):
    running = RunningStatistics()
    for start in starts:
        running.add(extractor.spectrogram(recording.data[row, start : start + 10240], sampling_rate=2048).numpy())
    return running


def test_overlapping_training_windows_count_each_sample_once(recording, epochs_at, extractor):
    epochs = epochs_at({"r1": HALF_OVERLAPPING})
    found = statistics_of([recording], epochs, CONTACTS, extractor, np.arange(3, 27))
    expected = by_hand(recording, 2, range(3 * 5120, 27 * 5120 - 10240 + 1, 10240), extractor)
    np.testing.assert_allclose(found.mean[1], expected.mean, rtol=1e-5)
    np.testing.assert_allclose(found.std[1], expected.std, rtol=1e-4)
    assert found.seconds.tolist() == [60, 60]
    assert (found.source, found.without_training) == ("training windows", ())


def test_what_stands_in_test_windows_changes_nothing(recording, epochs_at, extractor):
    epochs, train = epochs_at({"r1": HALF_OVERLAPPING}), np.arange(3, 27)
    data = recording.data.copy()
    data[:, : 3 * 5120] *= 7
    louder = dataclasses.replace(recording, data=data)
    quiet, loud = (statistics_of([each], epochs, CONTACTS, extractor, train) for each in (recording, louder))
    np.testing.assert_array_equal(loud.mean, quiet.mean)
    np.testing.assert_array_equal(loud.std, quiet.std)


def test_windows_without_signal_do_not_count(recording, epochs_at, extractor):
    data = recording.data.copy()
    data[2, 10240:20480] = 0
    recording = dataclasses.replace(recording, data=data)
    starts = list(range(0, 14 * 10240, 10240))
    found = statistics_of([recording], epochs_at({"r1": starts}), CONTACTS, extractor, np.arange(14))
    expected = by_hand(recording, 2, [0, *starts[2:]], extractor)
    np.testing.assert_allclose(found.mean[1], expected.mean, rtol=1e-5)
    assert found.seconds.tolist() == [70, 65]


def test_a_recording_that_is_held_out_has_statistics_of_its_own_windows_and_is_named(recording, epochs_at, extractor):
    other = dataclasses.replace(recording, id="r2", data=recording.data * np.float32(3))
    starts = list(range(0, 14 * 10240, 10240))
    epochs = epochs_at({"r1": starts, "r2": starts[:13]})
    found = statistics_of([recording, other], epochs, CONTACTS, extractor, np.arange(14))
    assert found.without_training == ("r2",)
    np.testing.assert_allclose(found.mean[2], by_hand(other, 0, starts[:13], extractor).mean, rtol=1e-5)
    np.testing.assert_allclose(found.mean[0], by_hand(recording, 0, starts, extractor).mean, rtol=1e-5)
    assert found.seconds.tolist() == [70, 70, 65, 65]


def test_pooled_statistics_are_those_of_each_contact(recording, epochs_at, extractor):
    epochs = epochs_at({"r1": HALF_OVERLAPPING})
    train = np.arange(3, 27)
    by_contact = statistics_of([recording], epochs, CONTACTS, extractor, train)
    rows = (2 * train[:, None] + [0, 1]).reshape(-1)
    pooled = statistics_of([recording], epochs, contacts_of([recording], pool=True), extractor, rows)
    np.testing.assert_array_equal(pooled.mean, by_contact.mean)
    np.testing.assert_array_equal(pooled.std, by_contact.std)


def test_less_than_a_minute_of_training_signal_is_refused_with_the_remedy(recording, epochs_at, extractor):
    epochs = epochs_at({"r1": HALF_OVERLAPPING})
    message = (
        "Contact A1 of recording r1 has 55 s of good signal for statistics of its training windows, and they need "
        '60 s: use statistics="whole recording", or a model with another normalization.'
    )
    with pytest.raises(ValueError, match=message):
        statistics_of([recording], epochs, CONTACTS, extractor, np.arange(5, 27))


def test_a_contact_without_any_usable_window_needs_no_statistics(recording, epochs_at, extractor):
    data = recording.data.copy()
    data[2] = 0
    recording = dataclasses.replace(recording, data=data)
    found = statistics_of([recording], epochs_at({"r1": HALF_OVERLAPPING}), CONTACTS, extractor, np.arange(27))
    assert np.isnan(found.mean[1]).all()
    assert found.known.tolist() == [0]


def test_the_whole_recording_is_more_than_its_labelled_windows(recording, epochs_at, extractor):
    found = whole_recording_statistics([recording], epochs_at({"r1": [777]}), CONTACTS, extractor, progress=False)
    expected = by_hand(recording, 2, range(0, 14 * 10240, 10240), extractor)
    np.testing.assert_allclose(found.mean[1], expected.mean, rtol=1e-5)
    np.testing.assert_allclose(found.std[1], expected.std, rtol=1e-4)
    assert (found.source, found.seconds.tolist()) == ("whole recording", [70, 70])
