"""A corpus holds what went in, refuses what does not belong, and survives being killed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import datasets
import numpy as np
import pytest

from brainbert.modeling_brainbert import BrainBertFeatureExtractor
from brainbert.processing.corpora import build_corpus, decode_signal, load_corpus
from brainbert.processing.corpora.shard import encode_signal
from brainbert.processing.recordings import condition, mark_bad


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_rows_are_the_clips_of_each_contact(recording, tmp_path):
    source = recording()
    corpus = build_corpus([source], tmp_path / "corpus", progress=False)
    assert corpus["contact"][:] == ["A1"] * 4 + ["A2"] * 4 + ["A3"] * 4
    assert corpus["start"][:] == [0, 10240, 20480, 30720] * 3
    row = corpus.with_format("numpy")[6]
    np.testing.assert_array_equal(row["signal"], source.data[1, 20480:30720])
    assert (row["recording"], row["subject"], row["session"]) == ("r1", "subject of r1", "")
    assert (row["sampling_rate"], row["original_sampling_rate"]) == (2048, 512)
    assert row["band_hz"].tolist() == [0.5, 240]
    assert (row["scale"], row["offset"]) == (1, 0)


def test_the_folder_opens_with_datasets_alone(recording, tmp_path):
    build_corpus([recording("a"), recording("b", seed=1)], tmp_path / "corpus", progress=False)
    assert datasets.load_from_disk(str(tmp_path / "corpus")).num_rows == 24


def test_clips_may_overlap(recording, tmp_path):
    source = recording(contacts=1)
    corpus = build_corpus([source], tmp_path / "corpus", clip_s=2.0, stride_s=0.5, progress=False).with_format("numpy")
    assert len(corpus) == (22.5 - 2) / 0.5 + 1
    assert corpus[7]["start"] == 7 * 1024
    np.testing.assert_array_equal(corpus[7]["signal"], source.data[0, 7168:11264])


def test_int16_is_half_the_size_and_says_its_error(recording, tmp_path):
    source = recording()
    corpus = build_corpus([source], tmp_path / "corpus", storage="int16", progress=False).with_format("numpy")
    voltage = decode_signal(corpus[:])
    assert corpus.features["signal"].feature.dtype == "int16"
    assert voltage.dtype == np.float32
    expected = source.data[:, :40960].reshape(-1, 10240)
    error = (np.abs(voltage - expected).max(1) / expected.std(1)).max()
    (report,) = [json.loads(path.read_text()) for path in (tmp_path / "corpus").glob("recording-*.json")]
    assert 0 < error == pytest.approx(report["storage_error"], rel=0.05)
    assert error < 1e-4
    assert "largest rounding error" in (tmp_path / "corpus" / "README.md").read_text()


def test_clips_that_fail_are_left_out_and_counted_by_reason(recording, tmp_path):
    data = recording().data.copy()
    data[0, 11000:11300] = 0.0
    data[1, 20480:30720] = 3.0
    corpus = build_corpus([recording(data=data)], tmp_path / "corpus", progress=False)
    assert len(corpus) == 10
    assert json.loads((tmp_path / "corpus" / "corpus.json").read_text())["clips"] == {"kept": 10, "zeros": 1, "flat": 1}
    assert "| r1 | none | flat: 1, zeros: 1 |" in (tmp_path / "corpus" / "README.md").read_text()


def test_bad_contacts_are_left_out_and_named_in_the_card(recording, tmp_path):
    raw = recording(sampling_rate=512.0, history=({"step": "read"},), seconds=8.0, contacts=6)
    raw = mark_bad(raw, {"A5": "flat by eye"})
    conditioned = condition(raw, line_frequency_hz=50)
    corpus = build_corpus([conditioned], tmp_path / "corpus", progress=False)
    assert set(corpus["contact"][:]) == {"A2", "A3"}
    card = (tmp_path / "corpus" / "README.md").read_text()
    row = next(line for line in card.splitlines() if line.startswith("| r1 | A"))
    assert "A5: flat by eye" in row
    assert all(f"{name}: " in row for name in ("A1", "A4", "A6"))


def test_positions_and_history_are_kept_beside_the_clips(recording, tmp_path):
    positions = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [np.nan] * 3])
    source = recording(positions=positions, coordinate_frame="MNI152NLin2009bAsym")
    build_corpus([source], tmp_path / "corpus", progress=False)
    (report,) = [json.loads(path.read_text()) for path in (tmp_path / "corpus").glob("recording-*.json")]
    assert [contact["position_mm"] for contact in report["contacts"]] == [[1, 2, 3], [4, 5, 6], None]
    assert report["coordinate_frame"] == "MNI152NLin2009bAsym"
    assert report["history"] == [dict(step) for step in source.history]


def test_statistics_are_written_when_an_extractor_is_given(recording, tmp_path):
    extractor = BrainBertFeatureExtractor()
    build_corpus([recording()], tmp_path / "corpus", extractor=extractor, progress=False)
    assert (tmp_path / "corpus" / f"statistics-{extractor.fingerprint}.parquet").is_file()


def test_the_same_recordings_give_the_same_bytes(recording, tmp_path):
    for name in ("first", "second"):
        build_corpus([recording("a"), recording("b", seed=1)], tmp_path / name, progress=False)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


def test_an_interrupted_build_goes_on_without_reading_again(recording, tmp_path):
    read, settings = [], {"conditioning": {"line_frequency": 50}, "progress": False}

    def reader(name, *, fails=False):
        def function():
            if fails:
                raise KeyboardInterrupt
            read.append(name)
            return recording(name, seed=ord(name))

        return function

    with pytest.raises(KeyboardInterrupt):
        build_corpus({"a": reader("a"), "b": reader("b", fails=True)}, tmp_path / "corpus", **settings)
    with pytest.raises(ValueError, match="was interrupted: run it again"):
        load_corpus(tmp_path / "corpus")
    build_corpus({"a": reader("a"), "b": reader("b")}, tmp_path / "corpus", **settings)
    assert read == ["a", "b"]
    build_corpus({"a": reader("a"), "b": reader("b")}, tmp_path / "whole", **settings)
    assert contents(tmp_path / "corpus") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_killed_at_random_moments_and_restarted_the_corpus_is_the_same(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from conftest import make_recording\n"
        "from brainbert.processing.corpora import build_corpus\n"
        "print('begin', flush=True)\n"
        "build_corpus((make_recording(f'r{n}', contacts=6, seed=n) for n in range(8)), sys.argv[2], clip_s=0.5)\n"
    )

    def build(folder: Path) -> subprocess.Popen:
        command = [sys.executable, "-c", program, str(Path(__file__).parent), str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        process.stdout.readline()  # imports are done
        return process

    process = build(tmp_path / "whole")
    started = time.perf_counter()
    assert process.wait() == 0
    takes = time.perf_counter() - started
    rng, kills = np.random.default_rng(), 0  # truly random moments: any of them must do
    for _ in range(4):
        process = build(tmp_path / "killed")
        time.sleep(rng.uniform(0, 0.5 * takes))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
    assert kills
    assert build(tmp_path / "killed").wait() == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("second", "settings", "message"),
    [
        ("a", {"clip_s": 2.0}, "begun with other settings"),
        ("a", {"conditioning": {"line_frequency": 60}}, "begun with other settings"),
        ("b", {}, "also holds 1 recordings that were not given now"),
    ],
)
def test_a_corpus_of_other_recordings_or_settings_is_not_mixed_in(recording, tmp_path, second, settings, message):
    build_corpus([recording("a")], tmp_path / "corpus", progress=False)
    before = contents(tmp_path / "corpus")
    with pytest.raises(ValueError, match=message):
        build_corpus([recording(second)], tmp_path / "corpus", progress=False, **settings)
    assert {name: before[name] for name in before} == {
        name: content for name, content in contents(tmp_path / "corpus").items() if name in before
    }


def test_a_recording_that_was_conditioned_in_another_way_is_not_continued(recording, tmp_path):
    build_corpus([recording()], tmp_path / "corpus", progress=False)
    with pytest.raises(ValueError, match="was conditioned in another way"):
        build_corpus([recording(history=({"step": "read"},))], tmp_path / "corpus", progress=False)


def test_a_folder_with_something_else_in_it_is_refused(recording, tmp_path):
    (tmp_path / "thesis.tex").write_text("…")
    with pytest.raises(ValueError, match="exists and is not a corpus"):
        build_corpus([recording()], tmp_path, progress=False)


def test_another_rate_is_refused(recording, tmp_path):
    with pytest.raises(ValueError, match="r1 is at 512 Hz and the corpus at 2048 Hz: condition or resample it first"):
        build_corpus([recording(sampling_rate=512.0)], tmp_path / "corpus", progress=False)


def test_two_recordings_of_one_id_are_refused(recording, tmp_path):
    with pytest.raises(ValueError, match="Two recordings have the id r1"):
        build_corpus([recording(), recording(seed=1)], tmp_path / "corpus", progress=False)


def test_a_corpus_without_a_good_clip_is_refused(recording, tmp_path):
    with pytest.raises(ValueError, match="No clip passed the quality check"):
        build_corpus([recording(data=np.full((3, 20480), 3, np.float32))], tmp_path / "corpus", progress=False)


def test_a_folder_that_is_no_corpus_is_not_loaded(tmp_path):
    with pytest.raises(ValueError, match="is not a corpus: build one"):
        load_corpus(tmp_path)


def test_a_corpus_that_points_outside_itself_is_not_loaded(recording, tmp_path):
    build_corpus([recording()], tmp_path / "corpus", progress=False)
    state = json.loads((tmp_path / "corpus" / "state.json").read_text())
    state["_data_files"] = [{"filename": "../secret.arrow"}]
    (tmp_path / "corpus" / "state.json").write_text(json.dumps(state))
    with pytest.raises(ValueError, match="names a file outside the corpus"):
        load_corpus(tmp_path / "corpus")


def test_a_corpus_that_lacks_a_file_is_not_loaded(recording, tmp_path):
    build_corpus([recording()], tmp_path / "corpus", progress=False)
    next((tmp_path / "corpus").glob("*.arrow")).unlink()
    with pytest.raises(ValueError, match="lacks its file recording-"):
        load_corpus(tmp_path / "corpus")


def test_what_the_functions_of_a_mapping_do_must_be_said(recording, tmp_path):
    with pytest.raises(ValueError, match="A mapping of functions needs conditioning="):
        build_corpus({"r1": recording}, tmp_path / "corpus", progress=False)


@pytest.mark.parametrize("offset", [0.0, 20_000.0, -300_000.0])
def test_int16_never_wraps_around(offset):
    rng = np.random.default_rng(0)
    clips = (offset + 5 * rng.standard_normal((200, 4096))).astype(np.float32)
    signal, scale, shift, error = encode_signal(clips, "int16")
    decoded = decode_signal({"signal": signal, "scale": scale, "offset": shift})
    assert np.abs(decoded.astype(np.float64) - clips).max() < max(2e-3, 2e-7 * abs(offset))
    assert error < 1e-3


def test_a_build_killed_before_its_first_file_is_begun_again(recording, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / ".build.json.1234.part").write_text("{")
    build_corpus([recording()], tmp_path / "corpus", progress=False)
    assert not list((tmp_path / "corpus").glob(".*.part"))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1000])])
def test_a_shard_that_is_lost_or_cut_off_is_written_again(recording, tmp_path, damage):
    build_corpus([recording()], tmp_path / "corpus", progress=False)
    before = contents(tmp_path / "corpus")
    damage(next((tmp_path / "corpus").glob("*.arrow")))
    build_corpus([recording()], tmp_path / "corpus", progress=False)
    assert contents(tmp_path / "corpus") == before


def test_a_rate_within_the_tolerance_makes_the_same_clips(recording, tmp_path):
    corpus = build_corpus([recording(sampling_rate=2048.2)], tmp_path / "corpus", progress=False)
    assert corpus["start"][:4] == [0, 10240, 20480, 30720]


def test_a_folder_that_another_process_builds_is_refused(recording, tmp_path):
    def reader():
        with pytest.raises(ValueError, match="Another process is writing to"):
            build_corpus([recording()], tmp_path / "corpus", conditioning={}, progress=False)
        return recording()

    build_corpus({"r1": reader}, tmp_path / "corpus", conditioning={}, progress=False)


def test_clips_too_short_for_the_model_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match=r"A clip of 0\.5 s gives 2 frames and the model needs 10"):
        build_corpus({"r1": None}, tmp_path / "corpus", clip_s=0.5, extractor=BrainBertFeatureExtractor())
    assert not (tmp_path / "corpus").exists()


def test_a_recording_shorter_than_a_clip_is_named(recording, tmp_path):
    with pytest.raises(ValueError, match=r"Recording r1: The recording lasts 22\.50 s and a clip 30 s"):
        build_corpus([recording()], tmp_path / "corpus", clip_s=30.0, progress=False)
