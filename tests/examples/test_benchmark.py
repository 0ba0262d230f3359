"""What the benchmark compares is the same transform, and what it reports is complete; not how fast anything is."""

import json
import math
import sys

import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertFeatureExtractor

pytestmark = pytest.mark.usefixtures("as_a_program")


def run(monkeypatch, *arguments):
    import benchmark

    monkeypatch.setattr(sys, "argv", ["benchmark.py", *map(str, arguments)])
    benchmark.main()


@pytest.mark.parametrize("name", ["stft", "superlet"])
def test_scipy_clip_by_clip_gives_our_z_scores_in_double_precision(name):
    import other_front_ends
    from benchmark import generate_clips

    clips = generate_clips(1, seed=1)
    ours = BrainBertFeatureExtractor(transform=name)(
        clips, sampling_rate=2048, dtype=torch.float64, return_tensors="np"
    )
    theirs = getattr(other_front_ends, f"scipy_{name}")(clips[0])
    np.testing.assert_allclose(ours["input_values"][0], theirs, rtol=0, atol=1e-9 * np.abs(theirs).max())


def test_a_report_of_the_front_ends_has_every_contender_with_finite_positive_figures(monkeypatch, tmp_path, capsys):
    run(monkeypatch, "front-end", "--rounds", 1, "--batch", 2, "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["machine"]["threads"] == 1
    assert {"processor", "device", "dtype", "python", "torch", "numpy", "scipy", "brainbert"} <= set(report["machine"])
    assert [(row["task"], row["contender"], row["batch"]) for row in report["results"]] == [
        ("stft, a clip of 5 s", "ours", 2),
        ("stft, a clip of 5 s", "ours, without checks", 2),
        ("stft, a clip of 5 s", "SciPy, clip by clip", 2),
        ("superlet, a clip of 5 s", "ours", 2),
        ("superlet, a clip of 5 s", "SciPy, clip by clip", 2),
    ]
    for row in report["results"]:
        figures = [row[f"{part}_{name}"] for part in ("lower", "median", "upper") for name in ("s", "ratio")]
        figures += [row["ratio_of_medians"], row["percent_of_the_floor"], *row["floor"].values()]
        assert all(math.isfinite(figure) and figure > 0 for figure in figures)
        assert row["difference"] is None if row["contender"] == "ours" else row["difference"] < 1e-4
    shown = capsys.readouterr().out
    assert shown.count("| SciPy, clip by clip | 2 |") == 2
    assert shown.count("Floor, batch 2: ") == 2


def test_a_report_of_the_encoder_compares_centre_frames_with_all(monkeypatch, tmp_path):
    run(monkeypatch, "embed", "--preset", "tiny", "--rounds", 1, "--batch", 1, "--json", tmp_path / "report.json")
    centre, forward, front_end = json.loads((tmp_path / "report.json").read_text())["results"]
    assert (centre["contender"], centre["median_ratio"]) == ("embed, ten centre frames", 1)
    assert (forward["contender"], front_end["contender"]) == ("forward", "front end (STFT)")
    assert forward["difference"] < 1e-5


def test_contenders_take_turns(monkeypatch):
    import measurement

    monkeypatch.setattr(measurement, "MOST_CALLS", 2)
    called = []
    seconds = measurement.alternate({who: lambda who=who: called.append(who) for who in "ab"}, rounds=2, device="cpu")
    assert "".join(called) == "ab" + "ab" + "aabb" + "aabb"  # warm up, time once, two rounds
    assert {who: len(times) for who, times in seconds.items()} == {"a": 2, "b": 2}


def test_a_ratio_is_taken_within_each_round_and_per_clip():
    from measurement import Contender, summarise

    contenders = {"ours": Contender(len, 1), "other": Contender(len, 2, 0.5)}
    ours, other = summarise(contenders, {"ours": [1.0, 2.0, 3.0], "other": [2.0, 2.0, 12.0]})
    assert (ours["median_s"], other["median_s"], other["ratio_of_medians"]) == (2, 1, 0.5)
    assert [other[f"{part}_ratio"] for part in ("lower", "median", "upper")] == [0.75, 1, 1.5]  # of 1, 0.5 and 2
    assert (ours["difference"], other["difference"]) == (None, 0.5)


def test_the_work_of_a_clip_of_five_seconds_is_counted_as_the_formula_says():
    from benchmark import count_work
    from other_front_ends import superlet_wavelets

    assert count_work("stft", 10240) == (8400 * 213 + 840 * 213 + 640 * 206, 40960 + 160 * 186)
    lengths = [len(wavelet) for superlet in superlet_wavelets() for wavelet, _ in superlet]
    assert (len(lengths), min(lengths)) == (598, 49)  # the shortest: 10 · 3 cycles / 2π / 200 Hz = 48.9 samples
    assert count_work("superlet", 10240)[0] == 4 * 205 * sum(length for length in lengths if length <= 1024)


def test_the_originals_two_front_ends_are_imported_without_its_package(tmp_path):
    from other_front_ends import original_front_ends

    folder = tmp_path / "preprocessors"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('needs everything')")
    text = "class {}:\n    def __init__(self, settings): self.settings = settings\n"
    text += "    def __call__(self, clip): return [self.settings.{}, len(clip)]\n"
    (folder / "stft.py").write_text(text.format("STFTPreprocessor", "noverlap"))
    (folder / "superlet_preprocessor.py").write_text(text.format("SuperletPreprocessor", "order_max"))
    found = original_front_ends(tmp_path)
    assert {name: front_end(np.zeros(7)).tolist() for name, front_end in found.items()} == {
        "stft": [350, 7],
        "superlet": [30, 7],
    }
    for module in [module for module in sys.modules if module.startswith("original_preprocessors")]:
        del sys.modules[module]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["front-end", "--original", "nowhere"], "nowhere is no clone of the original"),
        (["front-end", "--rounds", 0], "count from 1"),
    ],
)
def test_bad_arguments_are_refused(monkeypatch, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(monkeypatch, *arguments)


@pytest.mark.parametrize("command", [[], ["front-end"], ["embed"]])
def test_help_is_given(monkeypatch, capsys, command):
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, *command, "--help")
    assert "None" not in capsys.readouterr().out
