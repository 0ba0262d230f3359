"""The words of Brain Treebank: where they are in the recording, which count, and where nothing is said."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from brainbert.processing.corpora.brain_treebank_words import Words, read_words, silences

PAUSE = 20480  # samples that the movie stands still, after 10 s of it
# A trigger every 4 s of the movie; 8 and 12 s lie on both sides of the pause.
PAUSED = [(float(time), 2048 * time + PAUSE * (time > 10)) for time in range(0, 80, 4)]
PACKAGE = importlib.util.find_spec("neuroprobe")  # found, not imported: importing it needs the recordings


def words_at(*stretches, rate=2048, **changes) -> Words:
    sample, end_sample = np.array(stretches, dtype=np.int64).reshape(-1, 2).T
    given = {"sample": sample, "end_sample": end_sample, "start_s": sample / rate, "end_s": end_sample / rate}
    return Words(**given, index=np.arange(len(sample)), sampling_rate=rate, columns={}, **changes)


# ---- places ---------------------------------------------------------------------------------------------------------


def test_a_word_is_as_far_from_its_trigger_in_the_recording_as_in_the_movie(write_session):
    triggers = [(0.0, 100), (10.0, 20587), (20.0, 41060)]
    words = read_words(write_session(triggers=triggers, words=[("we", 8.0, 12.0)]), 4, 0)
    assert words.sample.tolist() == [20587 - 2 * 2048]
    assert words.end_sample.tolist() == [20587 + 2 * 2048]


def test_a_word_before_a_pause_is_placed_before_it_and_by_the_next_trigger_after_it(write_session):
    root = write_session(triggers=PAUSED, words=[("we", 9.0, 9.5)])
    assert read_words(root, 4, 0).sample.tolist() == [9 * 2048]
    assert read_words(root, 4, 0, trigger="next").sample.tolist() == [9 * 2048 + PAUSE]


def test_a_word_is_on_its_side_of_a_pause_that_begins_and_ends_with_a_trigger(write_session):
    triggers = [*PAUSED[:3], (10.0, 20480), (10.0, 20480 + PAUSE), *PAUSED[3:]]
    root = write_session(triggers=triggers, words=[("we", 9.5, 9.75), ("saw", 10.25, 10.5)])
    assert read_words(root, 4, 0).sample.tolist() == [9.5 * 2048, 10.25 * 2048 + PAUSE]


def test_the_time_since_a_trigger_counts_1024_samples_a_second_at_1024_hz_and_2048_in_the_packages_tables(
    write_session,
):
    triggers = [(time, 1024 * time) for time in (0.0, 4.0, 8.0, 12.0, 16.0)]
    root = write_session(9, 0, triggers=triggers, words=[("we", 9.0, 9.5)])
    assert read_words(root, 9, 0).sample.tolist() == [9 * 1024]
    package = read_words(root, 9, 0, trigger="next")
    assert package.sample.tolist() == [12 * 1024 - 3 * 2048]
    assert package.sampling_rate == 1024


def test_a_word_that_ends_after_the_last_trigger_ends_by_that(write_session):
    root = write_session(triggers=[(0.0, 0), (8.0, 16384)], words=[("we", 7.0, 8.5)])
    assert read_words(root, 4, 0).end_sample.tolist() == [8.5 * 2048]


# ---- which words ----------------------------------------------------------------------------------------------------


def test_words_from_the_last_trigger_on_are_left_out_and_counted(write_session):
    words = read_words(write_session(words=[("we", 18.0, 18.5), ("saw", 19.0, 19.5), ("it", 25.0, 26.0)]), 4, 0)
    assert words.index.tolist() == [0]
    assert words.left_out == {"after the last trigger": 2}


def test_words_that_lack_a_feature_are_left_out_and_a_missing_word_diff_does_not_count(write_session):
    root = write_session(words=[("we", 2, 2.5), ("", 3, 3.5), ("saw", "", 4), ("it", 5, 6, "it", "nan")])
    words = read_words(root, 4, 0)
    assert words.columns["text"].tolist() == ["we"]
    assert np.isnan(words.columns["word_diff"]).all()
    assert words.left_out == {"incomplete": 3}


def test_words_that_say_none_are_words(write_session):
    words = read_words(write_session(words=[("None", 2, 2.5), ("null", 3, 3.5)]), 4, 0)
    assert words.columns["text"].tolist() == ["None", "null"]


def test_a_word_before_the_recording_is_left_out(write_session):
    triggers = [(time, 2048 * time - 4096) for time in (2.0, 4.0, 6.0)]
    words = read_words(write_session(triggers=triggers, words=[("we", 1.5, 1.75), ("saw", 2.0, 2.5)]), 4, 0)
    assert (words.sample.tolist(), words.left_out) == ([0], {"before the recording": 1})


def test_of_words_at_one_sample_the_first_is_taken(write_session):
    words = read_words(write_session(words=[("I", 2.0, 2.5), ("'m", 2.0, 2.5), ("here", 2.0001, 3.0)]), 4, 0)
    assert words.columns["text"].tolist() == ["I"]
    assert words.left_out == {"at the sample of another": 2}


def test_the_packages_tables_lack_parts_of_words_repeated_times_and_the_last_second(write_session):
    rows = [
        ("I", 2.0, 2.2, "I'm gonna go"),
        ("'m", 2.2, 2.4, "I'm gonna go"),  # no space before it in the sentence
        ("gon", 2.5, 2.7, "I'm gonna go"),
        ("na", 2.6, 2.7, "I'm gonna go"),
        ("go", 3.0, 3.5, "I'm gonna go"),
        ("go", 3.0, 3.6, "Go!"),  # starts with a word of another sentence
        ("now", 3.1, 3.5, "Now!"),
        ("late", 18.0, 18.5, "Late."),  # 19 s is the last trigger
    ]
    words = read_words(write_session(words=rows), 4, 0, trigger="next")
    assert words.columns["text"].tolist() == ["I", "gon", "go"]
    assert words.left_out == {
        "second part of a word": 2,
        "repeated start": 1,
        "repeated end": 1,
        "no window before the last trigger": 1,
    }


def test_a_sentence_said_twice_has_no_second_parts(write_session):
    words = read_words(
        write_session(words=[("Hey", 2, 2.5, "Hey!"), ("Hey", 3, 3.5, "Hey!"), ("you", 4, 5, "Hey!")]),
        4,
        0,
        trigger="next",
    )
    assert len(words) == 3


def test_no_word_left_is_refused_with_the_reasons(write_session):
    with pytest.raises(ValueError, match=r"'a-film' has no complete word .*left out: 1 after the last trigger"):
        read_words(write_session(words=[("we", 30.0, 31.0)]), 4, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Unnamed: 0,text,start,end,sentence\n", "has 0 words"),
        ("row,text,start,end,sentence\n0,we,1,2,we.\n", "begin with a column 'Unnamed: 0'"),
        ("Unnamed: 0,text,start,end,sentence\n0,we,soon,2,we.\n", "The column 'start' .* else than numbers"),
        ("Unnamed: 0,text,start,end\n0,we,1,2\n", "no column 'sentence'"),
    ],
)
def test_features_that_are_no_words_are_refused(write_session, text, message):
    root = write_session()
    (root / "transcripts" / "a-film" / "features.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_words(root, 4, 0)


def test_columns_are_numbers_or_text(write_session):
    columns = read_words(write_session(words=[("7", 2, 2.5), ("8", 3, 3.5)]), 4, 0).columns
    assert columns["text"].tolist() == ["7", "8"]
    assert columns["rms"].tolist() == [0.5, 0.5]


def test_a_feature_is_added_with_one_value_for_each_word():
    words = words_at((0, 100), (200, 300))
    assert words.with_column("loudness", [1, 2]).columns["loudness"].tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"'loudness' has shape \(1,\) for 2 words"):
        words.with_column("loudness", [1])


# ---- silences -------------------------------------------------------------------------------------------------------


def test_windows_without_speech_lie_between_two_words():
    # 5 s windows of 100 Hz; from 1000 to 2100 there is room for two.
    words = words_at((900, 1000), (2100, 2200), rate=100)
    assert silences(words, window_s=5).tolist() == [1000, 1500]
    assert silences(words, window_s=5, padding_s=1).tolist() == [1100]
    assert silences(words, window_s=5, padding_s=(0.0, 1.0)).tolist() == [1000, 1500]
    assert silences(words, window_s=5, stride_s=2).tolist() == [1000, 1200, 1400, 1600]
    assert silences(words, window_s=5, num_samples=1600).tolist() == [1000]


def test_a_word_within_a_longer_one_ends_no_speech():
    assert silences(words_at((0, 900), (100, 200), (1000, 1100), rate=100), window_s=1).tolist() == [900]


def test_what_is_said_by_incomplete_words_is_no_silence(write_session):
    rows = [("we", 2.0, 3.0), ("saw", 5.0, 6.0, "saw.", ""), ("it", 9.0, 10.0)]
    words = read_words(write_session(words=rows), 4, 0)
    assert words.index.tolist() == [0, 2]
    assert (silences(words, window_s=1) / 2048).tolist() == [3, 4, 6, 7, 8]
    # As the package's tables were made: from the words that count alone.
    package = read_words(write_session(words=rows), 4, 0, trigger="next")
    assert (silences(package, window_s=1) / 2048).tolist() == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("times", [{"window_s": 0}, {"window_s": 1, "stride_s": 0}, {"window_s": 1, "padding_s": -1}])
def test_windows_that_cannot_be_are_refused(times):
    with pytest.raises(ValueError, match="a window and a stride of one sample at least"):
        silences(words_at((0, 100), (200, 300)), **times)


@pytest.mark.skipif(PACKAGE is None, reason="needs the neuroprobe package")
def test_windows_without_speech_are_those_of_the_neuroprobe_package_in_all_26_sessions():
    tables = sorted(Path(PACKAGE.origin).parent.rglob("*_words_df.csv"))
    assert len(tables) == 26
    for table in tables:
        with table.open(newline="") as file:
            words = [(int(float(row["est_idx"])), int(float(row["est_end_idx"]))) for row in csv.DictReader(file)]
        with table.with_name(table.name.replace("words", "nonverbal")).open(newline="") as file:
            theirs = [int(float(row["est_idx"])) for row in csv.DictReader(file)]
        assert silences(words_at(*words), window_s=1, padding_s=(2.0, 3.0), stride_s=0.5).tolist() == theirs, table.name
