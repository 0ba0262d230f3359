"""Windows where the labels are: their samples, their classes, and what is refused."""

import numpy as np
import pytest

from brainbert.processing.decoding.epochs import make_epochs
from brainbert.processing.decoding.labels import Labels, labels_from_array
from brainbert.processing.recordings import RecordingHeader


def header(name: str = "r1", *, seconds: float = 100.0, rate: float = 100.0, subject: str = "s1") -> RecordingHeader:
    return RecordingHeader(
        num_samples=round(seconds * rate),
        sampling_rate=rate,
        contacts=("A1",),
        types=("seeg",),
        id=name,
        subject=subject,
    )


def labels(onset_s, values, *, duration_s=0.0, groups=None, **fields) -> Labels:
    return Labels(
        onset_s=np.array(onset_s, dtype=float),
        duration_s=np.broadcast_to(duration_s, len(onset_s)).astype(float),
        values=np.array(values),
        groups=None if groups is None else np.array(groups),
        **fields,
    )


def alternating(count: int = 10, *, every_s: float = 6.0, first_s: float = 3.0, **fields) -> Labels:
    return labels(first_s + every_s * np.arange(count), ["a", "b"] * (count // 2), **fields)


def test_an_instant_gets_a_window_centred_on_it():
    epochs = make_epochs([alternating()], [header()])
    assert epochs.start.tolist() == [50 + 600 * number for number in range(10)]  # (3 − 2.5) s · 100 Hz
    assert (epochs.length, epochs.window_s) == (500, 5.0)
    assert epochs.stop.tolist() == [550 + 600 * number for number in range(10)]


@pytest.mark.parametrize(
    ("anchor", "starts"),
    [
        ("center", [100, 1000, 1200, 1400]),  # 3 to 4 s: 3.5 s in the middle; 10 to 19 s: filled from 10 to 19 s
        ("onset", [50, 750]),
        ("cover", [1000, 1200, 1400]),
    ],
)
def test_short_events_are_centred_and_long_ones_filled_or_as_named(anchor, starts):
    short_and_long = labels([3, 10], ["a", "a"], duration_s=[1, 9])
    others = labels([20, 50, 80, 30, 60, 90, 40, 70], [*"aaabbbbb"], duration_s=5.0)
    epochs = make_epochs([short_and_long, others], [header(), header("r2")], anchor=anchor, stride_s=2.0)
    assert epochs.take(epochs.recording == 0).start.tolist() == starts


def test_a_label_to_the_end_fills_its_recording():
    recordings = [header(f"p{number}", seconds=20.4) for number in range(4)]
    given = [labels([0], [name], duration_s=np.nan) for name in ("focal", "non-focal") * 2]
    epochs = make_epochs(given, recordings, classes=["non-focal", "focal"])
    assert epochs.start.tolist() == [0, 500, 1000, 1500] * 4
    assert epochs.counts() == {"non-focal": 8, "focal": 8}
    assert epochs.target.tolist() == [1] * 4 + [0] * 4 + [1] * 4 + [0] * 4
    assert epochs.recording.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


def test_windows_of_a_signal_come_back_sample_for_sample():
    signal = np.random.default_rng(0).standard_normal(4000)
    given = labels_from_array(signal, sampling_rate=40.0, window_s=5.0, stride_s=2.5)
    epochs = make_epochs([given], [header(rate=399.61)], window_s=5.0)
    assert epochs.start.tolist() == [round(2.5 * 399.61 * number) for number in range(39)]
    assert epochs.classes is None
    assert epochs.counts() == {"windows": 39}
    assert epochs.target == pytest.approx([signal[100 * n : 100 * n + 200].mean() for n in range(39)])


def test_windows_are_sorted_by_recording_and_start_with_their_labels():
    late, early = alternating(), alternating()
    backwards = Labels(onset_s=late.onset_s[::-1], duration_s=late.duration_s, values=late.values[::-1])
    epochs = make_epochs([backwards, early], [header("z"), header("a", subject="s2")])
    assert epochs.recordings == ("z", "a")
    assert np.array_equal(np.lexsort((epochs.start, epochs.recording)), np.arange(20))
    assert epochs.target.tolist() == [0, 1] * 10
    assert (epochs.subjects, epochs.subject.tolist()) == (("s1", "s2"), [0] * 10 + [1] * 10)


def test_the_table_says_whose_recording_it_is_where_it_does():
    given = [alternating(subject="p1"), alternating(subject="p1"), alternating()]
    epochs = make_epochs(given, [header("x", subject="x"), header("y", subject="y"), header("z", subject="z")])
    assert epochs.subjects == ("p1", "z")
    assert epochs.subject.tolist() == [0] * 20 + [1] * 10


def test_a_group_may_span_recordings():
    first, second = alternating(groups=["t1", "t2"] * 5), alternating(groups=["t2", "t3"] * 5)
    epochs = make_epochs([first, second], [header("x"), header("y")])
    assert epochs.groups == ("t1", "t2", "t3")
    assert epochs.group.tolist() == [0, 1] * 5 + [1, 2] * 5
    assert epochs.take(np.array([1, 10])).group.tolist() == [1, 1]


def test_what_is_not_used_is_counted_by_reason():
    given = labels(
        [1, *range(10, 60, 5), 99, 70],
        ["a", *["a", "b"] * 5, "b", "artefact"],
        left_out={"without a label": 3},
    )
    epochs = make_epochs([given], [header()], classes=["a", "b"])
    assert epochs.left_out == {"without a label": 3, "outside the recording": 2, "of another class": 1}
    assert epochs.counts() == {"a": 5, "b": 5}
    with pytest.raises(ValueError, match="2 windows reach over an end of their recording; use edges='drop'"):
        make_epochs([given], [header()], classes=["a", "b"], edges="raise")


def test_an_event_is_cut_off_where_its_recording_ends():
    given = [labels([0, 50], ["a", "b"], duration_s=[50, 53])]
    assert make_epochs(given, [header()]).start.tolist() == list(range(0, 10000, 500))


@pytest.mark.parametrize(
    ("onset_s", "duration_s", "where"),
    [(-1.0, 0.0, "from -1.00 to -1.00"), (100.0, 0.0, "from 100.00 to 100.00"), (50.0, 5000.0, "from 50.00 to 5050.")],
)
def test_labels_outside_of_their_recording_are_refused(onset_s, duration_s, where):
    given = labels([10, onset_s], ["a", "b"], duration_s=[0, duration_s])
    with pytest.raises(ValueError, match=f"1 of 2 labels lie outside of recording r1, which lasts 100.00 s .*{where}"):
        make_epochs([given], [header()])


@pytest.mark.parametrize(
    ("given", "arguments", "message"),
    [
        ([alternating(8)], {}, "There are 8 windows; a decoder needs 10"),
        ([labels(range(5, 60, 5), ["a"] * 11)], {}, "There is one class, a; a decoder needs two"),
        (
            [labels(range(5, 60, 5), ["a"] * 10 + ["b"])],
            {},
            r"too few windows of a class \(b: 1\); a decoder needs 2",
        ),
        ([labels(range(5, 60, 5), [3.0] * 11)], {}, "All 11 windows have the value 3; there is nothing to decode"),
        ([alternating()], {"classes": ["a", "c"]}, "There is no label 'c': the labels are a, b"),
        ([alternating()], {"classes": ["a", "b", "a"]}, "give each wanted class once"),
        ([alternating()], {"classes": "ab"}, "classes is the text 'ab'"),
        ([labels([], [])], {}, "There is no label at all"),
        ([alternating(), alternating()], {}, "2 labels for 1 recordings"),
        ([labels(range(5, 60, 5), np.arange(11.0))], {"classes": ["a"]}, "the labels are values; leave classes out"),
        ([alternating()], {"window_s": 0.0}, "window_s is 0.0"),
        ([alternating(duration_s=1.0)], {"anchor": "cover"}, r"\(a: 0, b: 0\) \(left out: 10 shorter than"),
    ],
)
def test_what_cannot_be_decoded_is_refused_in_one_sentence(given, arguments, message):
    with pytest.raises(ValueError, match=message) as refusal:
        make_epochs(given, [header()], **arguments)
    assert "\n" not in str(refusal.value)


def test_recordings_that_do_not_belong_together_are_refused():
    two = [alternating(), alternating()]
    with pytest.raises(ValueError, match=r"different rates \(100, 200 Hz\); condition them to the model's"):
        make_epochs(two, [header("x"), header("y", rate=200.0)])
    with pytest.raises(ValueError, match="Two recordings have the same id"):
        make_epochs(two, [header("x"), header("x")])
    with pytest.raises(ValueError, match="Some recordings have groups and some have none"):
        make_epochs([alternating(), alternating(groups=["g"] * 10)], [header("x"), header("y")])
    with pytest.raises(ValueError, match="Some recordings have classes and some have values"):
        make_epochs([alternating(), labels([5], [1.0])], [header("x"), header("y")])
