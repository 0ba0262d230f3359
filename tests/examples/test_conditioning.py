"""The arguments that every program which reads a recording shares, and a corpus made with them from an NWB file."""

import argparse
import importlib.util
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pynwb
import pytest
from pynwb.ecephys import ElectricalSeries

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def conditioning():
    spec = importlib.util.spec_from_file_location("conditioning_of_the_programs", EXAMPLES / "conditioning.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(conditioning, *arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    conditioning.add_conditioning_arguments(parser)
    return parser.parse_args(["--line-frequency", "60", *arguments])


@pytest.mark.parametrize(
    ("arguments", "grids"),
    [
        ([], None),
        (["--grid", "G=8x8", "H=4x5"], {"G": (8, 8), "H": (4, 5)}),
        (["--grid", "positions"], "positions"),
    ],
)
def test_grids_reach_the_conditioning_and_are_remembered(conditioning, arguments, grids):
    args = parse(conditioning, *arguments, *(["--grid-edges", "interior"] if arguments else []))
    how = conditioning._how(args)
    assert (how["grids"], how["edges"]) == (grids, "interior" if arguments else "all")
    remembered = conditioning.conditioning_of(args)
    assert (remembered["grid"], remembered["grid_edges"]) == (arguments[1:], how["edges"])


def test_a_grid_that_is_none_is_refused_in_our_words(conditioning, capsys):
    with pytest.raises(SystemExit):
        parse(conditioning, "--grid", "G=8")
    assert "A grid is given as 'G=8'; write NAME=ROWSxCOLUMNS, such as G=8x8, or positions" in capsys.readouterr().err


@pytest.fixture
def nwb(tmp_path) -> Path:
    """Two series of 12 s of a grid of 3 × 3."""
    file = pynwb.NWBFile("Jane Smith", "Smith-1234", datetime(2017, 5, 4, tzinfo=UTC))
    device = file.create_device(name="amplifier")
    group = file.create_electrode_group(name="G", description="ECoG grid", location="unknown", device=device)
    for _ in range(9):
        file.add_electrode(location="unknown", group=group)
    for i, name in enumerate(("raw", "clean")):
        noise = np.random.default_rng(i).standard_normal((6144, 9)).cumsum(axis=0)
        volts = 5e-5 * (noise - noise.mean(axis=0)) / noise.std(axis=0)
        electrodes = file.create_electrode_table_region(region=list(range(9)), description="all")
        file.add_acquisition(ElectricalSeries(name=name, data=volts, electrodes=electrodes, rate=512.0))
    path = tmp_path / "night.nwb"
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def build(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(EXAMPLES / "build_corpus.py"), "--line-frequency", "60", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_manifest_names_series_and_grids(nwb, tmp_path):
    (tmp_path / "recordings.tsv").write_text(
        "path\tsubject\tseries\tgrid\nnight.nwb\tP1\traw\tG=3x3\nnight.nwb\tP1\tclean\tG=3x3\n"
    )
    result = build("--manifest", "recordings.tsv", "--out", "corpus", cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    reports = [json.loads(path.read_text()) for path in (tmp_path / "corpus").glob("recording-*.json")]
    assert len(reports) == 2
    for report in reports:
        assert [contact["contact"] for contact in report["contacts"]] == [f"G{number}" for number in range(1, 10)]
        (step,) = (step for step in report["history"] if step["step"] == "laplacian")
        assert (step["grids"], step["edges"]) == ({"G": [3, 3]}, "all")
    assert "Smith" not in (tmp_path / "corpus" / "README.md").read_text()
