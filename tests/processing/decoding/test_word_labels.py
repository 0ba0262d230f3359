"""Labels from words: rules on small numbers, and the paper's tasks."""

import numpy as np
import pytest

from brainbert.processing.corpora.brain_treebank_words import Words
from brainbert.processing.decoding.epochs import make_epochs
from brainbert.processing.decoding.word_labels import (
    NEUROPROBE_TASKS,
    PAPER_TASKS,
    Silence,
    WordTask,
    deviations,
    from_on,
    named_values,
    outer_quantiles,
    word_labels,
)
from brainbert.processing.recordings import RecordingHeader


def make_words(count=8, *, gap_s=10.0, **columns) -> Words:
    """Words of 1 s at 100 Hz, from 5 s on, `gap_s` from one start to the next."""
    start_s = 5 + gap_s * np.arange(count)
    return Words(
        start_s=start_s,
        end_s=start_s + 1,
        sample=np.round(100 * start_s).astype(np.int64),
        end_sample=np.round(100 * start_s + 100).astype(np.int64),
        index=np.arange(count),
        sampling_rate=100.0,
        columns={name: np.asarray(values) for name, values in columns.items()},
    )


# ---- rules ----------------------------------------------------------------------------------------------------------


def test_outer_quantiles_take_words_that_less_than_a_quarter_or_more_than_three_quarters_are_below():
    # Of eight, 0 to 7 are below a word: a rank of 2/8 is not below a quarter, and 6/8 is not above three.
    rule = outer_quantiles(0.25)
    assert rule(np.arange(8.0)).tolist() == [0, 0, -1, -1, -1, -1, -1, 1]
    assert outer_quantiles(0.25, with_bound=True)(np.arange(8.0)).tolist() == [0, 0, -1, -1, -1, -1, 1, 1]
    assert rule(np.array([1, 1, 1, 1, 5.0])).tolist() == [0, 0, 0, 0, 1]
    assert rule(np.array([1, np.nan, 2])).tolist() == [0, -1, -1]


def test_deviations_take_words_further_from_the_mean_than_one_standard_deviation():
    # Mean 5, standard deviation 2 (ddof 0): sqrt(32 / 8).
    assert deviations()(np.array([1, 9.0, 5, 5, 5, 5, 5, 5])).tolist() == [0, 1, -1, -1, -1, -1, -1, -1]
    assert deviations()(np.array([2, 8.0])).tolist() == [-1, -1]  # as far as that, and not further
    assert deviations(0.5)(np.array([2, 8.0])).tolist() == [0, 1]


def test_named_values_and_bounds_make_classes_in_their_order():
    assert named_values("NOUN", "VERB")(np.array(["VERB", "ADJ", "NOUN"])).tolist() == [1, -1, 0]
    assert named_values(1, 0)(np.array([0.0, 1, 2])).tolist() == [1, 0, -1]
    assert from_on(1)(np.array([0, 1, 3, np.nan])).tolist() == [0, 1, 1, -1]


def test_a_rule_for_another_kind_of_feature_is_refused():
    words = make_words(3, pos=["VERB", "NOUN", "ADJ"], rms=[1.0, 2, 3])
    with pytest.raises(ValueError, match="The feature is text and the task needs numbers"):
        word_labels(words, WordTask(feature="pos", rule=outer_quantiles()))
    with pytest.raises(ValueError, match="The feature is text and the task needs numbers"):
        word_labels(words, WordTask(feature="pos"))
    with pytest.raises(ValueError, match=r"The feature is numbers and \['VERB'\] is asked for"):
        word_labels(words, WordTask(feature="rms", rule=named_values("VERB")))


# ---- windows --------------------------------------------------------------------------------------------------------


def test_the_window_of_a_word_is_around_its_onset_in_the_paper_and_after_it_in_neuroprobe():
    words = make_words(8, rms=[5.0, 5, 5, 5, 5, 5, 1, 9], pitch=np.zeros(8))
    labels = word_labels(words, PAPER_TASKS["volume"])
    assert labels.onset_s.tolist() == [62.5, 72.5]  # words at 65 and 75 s
    assert labels.duration_s.tolist() == [5, 5]
    assert labels.values.tolist() == ["low", "high"]
    assert labels.left_out == {"without a label": 6}
    assert word_labels(words, PAPER_TASKS["volume"], before_s=0, after_s=1).onset_s.tolist() == [65, 75]


def test_words_are_told_from_silences_as_long_as_their_windows():
    labels = word_labels(make_words(3), PAPER_TASKS["speech"])
    # From 6 to 15 s and from 16 to 25 s there is room for one window each.
    assert labels.onset_s.tolist() == [2.5, 12.5, 22.5, 6, 16]
    assert labels.values.tolist() == ["speech"] * 3 + ["silence"] * 2


def test_sentence_onsets_are_the_words_that_begin_a_sentence():
    labels = word_labels(make_words(3, is_onset=[0.0, 1, 0]), PAPER_TASKS["sentence-onset"])
    assert labels.onset_s.tolist() == [12.5, 6, 16]
    assert labels.values.tolist() == ["sentence onset", "silence", "silence"]


def test_any_number_of_words_can_be_a_value():
    labels = word_labels(make_words(3, surprisal=[0.5, np.nan, 2]), WordTask(feature="surprisal"))
    assert (labels.kind, labels.values.tolist()) == ("regression", [0.5, 2])


def test_any_text_of_words_can_be_several_classes():
    task = WordTask(feature="pos", rule=named_values("DET", "NOUN", "VERB"), classes=("det", "noun", "verb"))
    assert word_labels(make_words(3, pos=["VERB", "X", "DET"]), task).values.tolist() == ["verb", "det"]


def test_a_gap_is_counted_within_a_sentence():
    words = make_words(9, sentence=list("aabbbbccc"))
    words.start_s[1] += 2  # 11 s after the first, the others 9 s
    labels = word_labels(words, NEUROPROBE_TASKS["word_gap"], before_s=0, after_s=1)
    assert labels.onset_s[labels.values == "long"].tolist() == [15]
    assert not set(labels.onset_s) & {5, 25, 65}  # the first words of sentences


def test_a_window_that_begins_before_the_recording_is_left_out_and_counted():
    labels = word_labels(make_words(2), PAPER_TASKS["speech"], before_s=6, after_s=1)
    assert labels.left_out == {"before the recording": 1}


def test_a_feature_that_words_do_not_have_is_refused_with_those_that_they_have():
    with pytest.raises(ValueError, match=r"no feature 'enhanced_pitch'; they have word_gap, rms: .*with_column"):
        word_labels(make_words(2, rms=[1, 2]), NEUROPROBE_TASKS["pitch"])


@pytest.mark.parametrize("window", [(0, 0), (1, -2), (np.nan, 1)])
def test_a_window_that_is_not_longer_than_nothing_is_refused(window):
    with pytest.raises(ValueError, match="together more than 0"):
        word_labels(make_words(2), PAPER_TASKS["speech"], before_s=window[0], after_s=window[1])


def test_epochs_begin_where_the_labels_do():
    labels = word_labels(make_words(12), WordTask(feature=None, classes=("silence", "speech"), silence=Silence()))
    header = RecordingHeader(
        num_samples=20000, sampling_rate=100, contacts=("A1",), types=("seeg",), id="r", subject="s"
    )
    epochs = make_epochs([labels], [header], window_s=5, classes=PAPER_TASKS["speech"].classes)
    assert epochs.start.tolist() == sorted(np.round(100 * labels.onset_s).astype(int).tolist())
    assert epochs.counts() == {"silence": 11, "speech": 12}
