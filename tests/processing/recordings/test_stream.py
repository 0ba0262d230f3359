"""A stretch of a stream is what conditioning the whole recording makes of it."""

import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import mne
import numpy as np
import pytest

from brainbert.processing.recordings import (
    MontageError,
    Recording,
    RecordingStream,
    clip_problems,
    condition,
    condition_stream,
    cut_clips,
    mark_bad,
    open_recording,
    read_recording,
    recording_clip_problems,
)

pytestmark = pytest.mark.filterwarnings("ignore:The pass band ends")  # at 399.61 Hz

NAMES = ("A1", "A2", "A3", "A4", "A5", "A6", "B1", "B2", "B3", "C1")
SHAFTS = ["LA1", "LA2", "LA3", "LA4", "A'1", "A'2", "A'4"]  # those of `files`


@pytest.fixture
def with_defects(make_recording) -> Callable[[float], Recording]:
    """Build 40 s at a rate: amplifier offsets of up to 20 mV, gaps, a rail of 5 s, lost signal, bad A6 and C1."""

    def build(rate: float) -> Recording:
        data = make_recording(NAMES, seconds=40, rate=rate).data.copy()
        data += np.random.default_rng(0).uniform(-20_000, 20_000, (len(NAMES), 1)).astype(np.float32)
        second = int(rate)
        data[0, :400] = np.nan
        data[1, 10 * second : 12 * second] = np.nan
        data[1, 12 * second + 5] = np.inf
        data[2, 20 * second : 25 * second] = 30_000
        data[3, 22 * second : 23 * second] = 0.0
        data[5, 5 * second : 20 * second] = np.nan
        data[7, -30:] = np.nan
        data[9] = 7.0
        positions = np.arange(3.0 * len(NAMES)).reshape(-1, 3)
        return make_recording(NAMES, rate=rate, data=data, positions=positions)

    return build


def stretches_of(num_samples: int) -> list[tuple[int, int]]:
    """Both ends, one sample, odd lengths in the middle, and blocks that the artefacts at 20 to 25 s are longer than."""
    middle = num_samples // 2
    return [
        (0, 1),
        (0, 5001),
        (num_samples - 1, num_samples),
        (num_samples - 777, num_samples),
        (middle, middle + 1),
        (middle + 13, middle + 3014),
        (middle + 3014, middle + 6001),
        (1234, num_samples - 4321),
    ]


def assert_same(stream: RecordingStream, whole: Recording) -> None:
    """Assert that header and samples are the same, samples to 1e-6 of the signal's root mean square."""
    for name in vars(stream.header):
        np.testing.assert_equal(getattr(stream, name), getattr(whole, name), err_msg=name)
    rms = np.sqrt(np.mean(whole.data.astype(np.float64) ** 2, axis=1))
    for start, stop in stretches_of(whole.num_samples):
        samples, expected = stream.read(start, stop), whole.data[:, start:stop]
        assert samples.dtype == np.float32
        np.testing.assert_array_equal(np.isnan(samples), np.isnan(expected))
        error = np.abs(samples.astype(np.float64) - expected)
        assert not (error > 1e-6 * rms[:, None]).any(), (start, stop)


@pytest.mark.parametrize("rate", [1000.0, 399.61, 2048.0])
@pytest.mark.parametrize("reference", ["laplacian", "bipolar", "common-average", "none"])
@pytest.mark.parametrize("notch", ["causal-notch", "zero-phase-fir", None])
def test_any_stretch_is_that_of_the_whole(with_defects, rate, reference, notch):
    recording = with_defects(rate)
    settings = {"line_frequency_hz": 50 if notch else None, "notch": notch or "causal-notch", "reference": reference}
    whole = condition(recording, **settings)
    stream = condition_stream(recording.with_source(recording.read), **settings, progress=False)
    assert whole.sampling_rate == 2048.0
    assert_same(stream, whole)
    assert {"A6", "C1"} <= {name for step in whole.history for name in step.get("contacts", {})}


def test_a_stretch_has_the_same_bits_whatever_was_read_before(with_defects):
    recording = with_defects(399.61)
    settings = {"line_frequency_hz": 60, "reference": "common-average", "progress": False}
    first, second = (condition_stream(recording, **settings) for _ in range(2))
    stretches = stretches_of(first.num_samples)
    found = {stretch: first.read(*stretch) for stretch in stretches}
    for stretch in reversed(stretches):
        np.testing.assert_array_equal(second.read(*stretch), found[stretch])
        np.testing.assert_array_equal(first.read(*stretch), found[stretch])


def test_reading_in_another_thread_leaves_the_filters_of_warnings_alone(files, monkeypatch):
    stream = open_recording(files["FIF"])
    monkeypatch.setattr(warnings, "simplefilter", lambda *_: pytest.fail("the filters were changed"))
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(stream.read, 0, 100).result().shape == (7, 100)


def test_two_threads_read_what_one_reads(files):
    stream = condition_stream(
        open_recording(files["BrainVision"]), line_frequency_hz=50, reference="common-average", progress=False
    )
    stretches = [(start, start + 1111) for start in range(0, stream.num_samples - 1111, 1111)]
    expected = [stream.read(*stretch) for stretch in stretches]
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(lambda stretch: stream.read(*stretch), stretches * 2))
    np.testing.assert_array_equal(np.concatenate(found, axis=1), np.concatenate(expected * 2, axis=1))


@pytest.mark.parametrize("kind", ["EDF", "BrainVision", "FIF", "BIDS"])
def test_a_file_is_conditioned_as_if_it_were_read_whole(files, kind):
    settings = {"subject": "01"} if kind == "BIDS" else {}
    if kind == "EDF":
        settings = {"contacts": SHAFTS}
    recording = read_recording(files[kind], **settings)
    stream = condition_stream(open_recording(files[kind], **settings), line_frequency_hz=50, progress=False)
    assert_same(stream, condition(recording, line_frequency_hz=50))


@pytest.mark.parametrize("kind", ["EDF", "BrainVision", "FIF"])
def test_an_open_recording_is_the_read_one_without_its_samples(files, kind):
    settings = {"contacts": SHAFTS} if kind == "EDF" else {}
    stream, recording = open_recording(files[kind], **settings), read_recording(files[kind], **settings)
    assert stream.num_samples == recording.num_samples == 5120
    np.testing.assert_array_equal(stream.read(1001, 2048), recording.data[:, 1001:2048])
    np.testing.assert_array_equal(stream.load().data, recording.data)
    for name in set(vars(stream.header)) - {"band_hz"}:
        np.testing.assert_equal(getattr(stream, name), getattr(recording, name), err_msg=name)


def test_gaps_of_a_file_and_a_contact_bad_in_it_are_treated_as_in_the_whole(tmp_path, microvolts):
    data = microvolts.copy()
    data[:, 2000:2500] = np.nan
    data[1, 4000:4010] = np.nan
    raw = mne.io.RawArray(data * 1e-6, mne.create_info(SHAFTS, 512.0, "seeg"), verbose="ERROR")
    raw.info["bads"] = ["LA4"]
    raw.save(tmp_path / "gap_raw.fif", verbose="ERROR")
    settings = {"line_frequency_hz": 60, "reference": "common-average"}
    whole = condition(read_recording(tmp_path / "gap_raw.fif"), **settings)
    stream = condition_stream(open_recording(tmp_path / "gap_raw.fif"), **settings, progress=False)
    assert whole.contacts == ("LA1", "LA2", "LA3", "A'1", "A'2", "A'4")
    assert_same(stream, whole)


def test_a_wrong_unit_is_warned_about_when_the_signal_is_gone_through(tmp_path, microvolts):
    raw = mne.io.RawArray(microvolts * 4e-9, mne.create_info(SHAFTS, 512.0, "seeg"), verbose="ERROR")
    raw.save(tmp_path / "small_raw.fif", verbose="ERROR")
    recording = open_recording(tmp_path / "small_raw.fif")
    with pytest.warns(UserWarning, match="check the unit in the file"):
        condition_stream(recording, line_frequency_hz=50, progress=False)


def test_contacts_marked_bad_on_the_stream_stay_out(with_defects):
    recording = with_defects(512.0)
    stream = mark_bad(recording.with_source(recording.read), ["A3"])
    result = condition_stream(stream, line_frequency_hz=50, reference="bipolar", progress=False)
    assert result.contacts == ("A1-A2", "A4-A5", "B1-B2", "B2-B3")


@pytest.mark.parametrize(("start", "stop"), [(-1, 5), (5, 5), (7, 5), (5119, 5121)])
def test_a_stretch_outside_the_recording_is_refused(make_recording, start, stop):
    recording = make_recording()
    for readable in (recording, recording.with_source(recording.read)):
        with pytest.raises(ValueError, match=f"Samples {start} to {stop} .* has 5120; give 0 <= start < stop <= 5120"):
            readable.read(start, stop)


def test_what_condition_refuses_a_stream_refuses(make_recording):
    recording = make_recording(("A1", "A2", "A3"))
    stream = recording.with_source(recording.read)
    settings = {"line_frequency_hz": 60, "progress": False}
    with pytest.raises(ValueError, match="reference is 'mastoid'; use one of laplacian"):
        condition_stream(stream, reference="mastoid", **settings)
    with pytest.raises(ValueError, match="already went through resample"):
        condition_stream(condition_stream(stream, **settings), **settings)
    with pytest.raises(MontageError, match="No contact of A1, A3"):
        condition_stream(mark_bad(stream, ["A2"]), **settings)
    unread = recording.with_source(lambda start, stop: pytest.fail("the signal was read"))
    for wrong in ({"line_frequency_hz": 55}, {"sampling_rate": -1.0}, {"ends": "both"}):
        with pytest.raises(ValueError, match="; "):
            condition_stream(unread, **{**settings, **wrong})
    silent = make_recording(("A1", "A2", "A3"), data=np.zeros((3, 5120), np.float32))
    with pytest.raises(ValueError, match=r"No good contact is left \(A1: zeros, "):
        condition_stream(silent.with_source(silent.read), **settings)


def test_clips_of_a_block_have_the_problems_that_they_have_in_the_recording(with_defects):
    whole = condition(with_defects(1000.0), line_frequency_hz=50, reference="common-average")
    reasons: set[str] = set()
    for index, clips in cut_clips(whole, clip_s=1.0, stride_s=0.5):
        starts = np.arange(len(clips)) * 1024
        problems = clip_problems(whole.header, index, clips[11:30], starts[11:30])
        expected = recording_clip_problems(whole, index, clip_s=1.0, stride_s=0.5)
        assert problems.tolist() == expected[11:30].tolist()
        reasons |= set(problems)
    assert {"", "artefact"} <= reasons
