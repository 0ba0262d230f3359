"""The programs for public benchmarks, from generated files to the table, and the guide's example."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FRONT_END = {"sampling_rate": 512, "window_length": 100, "hop_length": 12, "scale": "log"}


@pytest.fixture
def folder(tmp_path, save_model):
    """A folder with a model of 512 Hz in demo/model."""
    save_model(tmp_path / "demo" / "model", **FRONT_END)
    return tmp_path


QUICK = ("--untrained-seeds", "1", "--seeds", "1", "--draws", "200", "--without", "spectrogram-time", "band-power")


def test_from_generated_files_to_a_table_beside_the_published_rows(folder, run_in, capsys):
    run_in(folder, "generate_benchmark_data", "du-in", "made")
    one = ("--subjects", "001")
    command = ("benchmark_decoding", "du-in", "made", "--out", "out", "--model", "demo/model", *one, *QUICK)
    run_in(folder, *command)
    said = capsys.readouterr().out
    for part in ("BrainBERT, pretrained", "BrainBERT, untrained", "Linear, spectrogram", "Constant", "(published)"):
        assert part in said
    page, data = (folder / "out" / name for name in ("benchmark.html", "benchmark.json"))
    content = json.loads(data.read_text())
    assert [problem["name"] for problem in content["problems"]] == ["DuIN-001"]
    assert str(folder) not in data.read_text() + page.read_text()
    first = page.read_bytes()
    run_in(folder, *command)
    assert page.read_bytes() == first


def test_a_fault_in_the_files_is_one_sentence(folder, run_in):
    run_in(folder, "generate_benchmark_data", "du-in", "made", "--fault", "malicious-pickle")
    with pytest.raises(ValueError, match="of subject 001 is refused: it names os"):
        run_in(folder, "benchmark_decoding", "du-in", "made", "--out", "out", "--model", "demo/model")
    assert not (folder / "out" / "benchmark.html").exists()


def test_a_fault_that_there_is_not_lists_those_that_there_are(folder, run_in):
    with pytest.raises(ValueError, match=r"There is no fault 'moon' of dreamt: choose from .*wrong-rate"):
        run_in(folder, "generate_benchmark_data", "dreamt", "made", "--fault", "moon")
    assert not (folder / "made").exists()


def test_files_are_not_generated_among_others(folder, run_in):
    with pytest.raises(ValueError, match="is not empty: give a new folder"):
        run_in(folder, "generate_benchmark_data", "dreamt", ".")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mayo", ".", "--model", "untrained"), "untrained needs to know of what: give --preset"),
        (("mayo", ".", "--model", "demo/model", "--preset", "tiny"), "--preset is of --model untrained"),
        (("dreamt", ".", "--model", "demo/model"), "This model reads 512 Hz and DREAMT has 64 Hz"),
        (("dreamt", "demo", "--model", "untrained", "--preset", "tiny"), "There is no data_64Hz"),
        (("du-in", "demo", "--model", "demo/model"), "holds neither data/seeg.he2023xuanwu"),
        (("mayo", "demo", "--model", "demo/model"), "There is no DATASET_MAYO"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is_computed(folder, run_in, arguments, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        run_in(folder, "benchmark_decoding", *arguments, "--out", "out")
    assert not (folder / "out").exists()


def test_neuroprobe_gets_the_arguments_behind_its_name(folder, run_in, monkeypatch):
    seen = []
    neuroprobe = importlib.import_module("neuroprobe")
    monkeypatch.setattr(neuroprobe, "main", lambda: seen.extend(sys.argv[1:]))
    run_in(folder, "benchmark_decoding", "neuroprobe", "treebank", "--out", "probe")
    assert seen == ["treebank", "--out", "probe"]


def test_the_guide_s_data_set_of_thirty_lines_runs(folder, monkeypatch, capsys):
    guide = (ROOT / "examples" / "BENCHMARKS.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    monkeypatch.chdir(folder)
    exec(compile(example, "BENCHMARKS.md", "exec"), {"__name__": "guide"})
    assert "Linear, band power" in capsys.readouterr().out
    assert (folder / "ours" / "benchmark.html").is_file()
