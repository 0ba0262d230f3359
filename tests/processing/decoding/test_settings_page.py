"""Results are made up, but look like what `compare_settings` gives."""

import json
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from brainbert.processing.decoding.figures import style_of
from brainbert.processing.decoding.settings_page import plot_settings, render, sentences, table, write_settings


def make_result(classes: tuple[str, ...] | None = ("rest", "move")) -> dict[str, Any]:
    """Two inputs of one model, two poolings, layers 0 and 1: the pretrained score of row n is .60 + n/100."""
    inputs = [
        {"model": "<m>", "normalization": "clip", "scale": scale, "as_trained": trained, "front_end": f"stft-{scale}",
         "statistics": "each window", "warnings": [] if trained else ["Input is odd."]}
        for scale, trained in (("linear", True), ("log", False))
    ]  # fmt: skip
    rows = []
    for number in range(8):
        score, gain = 0.60 + number / 100, 0.03 if number == 2 else -0.02
        twin = score - gain
        rows.append(
            {"input": number // 4, "pooling": ("center", "mean")[number // 2 % 2], "layer": number % 2,
             "pretrained": {"score": score, "interval": [score - 0.05, score + 0.05]},
             "untrained": {"score": twin, "interval": [twin - 0.05, twin + 0.05], "seeds": [0.6]},
             "difference": {"difference": gain, "interval": [gain - 0.01, gain + 0.01], "p": 0.01},
             "over_control": {"difference": score - 0.65, "interval": [score - 0.70, score - 0.60], "p": 0.4}}
        )  # fmt: skip
    windows = {"rest": 30, "move": 10} if classes else {"windows": 40}
    return {
        "title": "Decoding move against rest",
        "task": {"kind": "classification" if classes else "regression", "classes": classes, "chance": 0.5,
                 "metric": "AUROC" if classes else "Pearson r", "windows": windows, "window_s": 5.0, "labels": "table"},
        "models": {"<m>": {"name": "<m>", "sha256": "ab" * 32, "parameters": 10, "normalization": "clip",
                           "scale": "linear", "front_end": "stft-linear", "pretraining": None}},
        "inputs": inputs,
        "rows": rows,
        "largest": {"score": 7, "difference": 2},
        "controls": [{"name": "spectrogram", "label": "Linear, spectrogram", "score": 0.65, "interval": [0.55, 0.75]},
                     {"name": "band-power", "label": "Linear, band power", "score": 0.61, "interval": [0.5, 0.7]}],
        "best_control": "spectrogram",
        "bootstrap": {"draws": 2000, "unit": "block of time", "units": 20},
        "untrained_seeds": 1,
        "recordings": [{"id": "r1", "subject": None, "duration_s": 600.0, "windows": windows, "contacts": 2,
                        "left_out": {"A2": "flat"}, "fingerprint": "cd" * 32}],
        "left_out": {"outside": 2},
        "split": {"name": "blocked", "unit": "block of time", "units": 20, "embargo_s": 5.0, "overlapping": 0,
                  "folds": [{"name": "1", "train": windows, "test": windows}]},
        "warnings": [],
        "settings": {"reference": "laplacian"},
        "seed": 0,
        "versions": {"numpy": "2"},
    }  # fmt: skip


class Text(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.sources: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.sources += [str(value) for name, value in attributes if name in ("src", "href")]


def test_the_page_opens_with_what_the_settings_are_for_and_which_are_largest():
    page = render(make_result())
    advice, largest, difference = sentences(make_result())
    assert advice.startswith("A setting chosen here must be reported on other recordings: the largest of 8 scores")
    assert largest == (
        "The largest pretrained score is that of <m> (clip, log; not as trained), mean, layer 1: AUROC 0.670 (0.620 to "
        "0.720), +0.020 (−0.030 to 0.070) over the best control, Linear, spectrogram."
    )
    assert difference == (
        "The largest difference to the untrained twin is that of <m> (clip, linear), mean, layer 0: +0.030 (0.020 to "
        "0.040), from 0.590 to 0.620."
    )
    text = "".join(Text(page).found)
    places = [text.index(sentence) for sentence in (advice, largest, difference, "Every setting, beside")]
    assert places == sorted(places)
    assert "<m>" not in page


def test_an_input_that_was_not_trained_with_says_so_with_its_warnings():
    text = "".join(Text(render(make_result())).found)
    assert text.count("Not as trained: the model was pretrained with clip, linear. Input is odd.") == 1


def test_the_page_needs_no_other_file_and_both_files_are_the_same_again(tmp_path):
    first, again = (write_settings(make_result(), tmp_path / name) for name in ("one", "two"))
    assert first.read_bytes() == again.read_bytes()
    sources = Text(first.read_text(encoding="utf-8")).sources
    assert len(sources) == 2  # a figure for each input
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    written = json.loads(first.with_suffix(".json").read_text(encoding="utf-8"))
    assert written["rows"][7]["pretrained"]["score"] == make_result()["rows"][7]["pretrained"]["score"]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["settings.html", "settings.json"]


def test_figures_have_a_row_for_every_pooling_and_layer_one_scale_and_the_best_control():
    first, second = (figure.axes[0] for figure in plot_settings(make_result()))
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "center, layer 0", "center, layer 1", "mean, layer 0", "mean, layer 1"
    ]  # fmt: skip
    assert first.get_title(loc="left") == "<m> (clip, linear)"
    assert first.get_xlim() == second.get_xlim()
    dots = [line for line in second.lines if line.get_marker() == style_of("pretrained").marker]
    np.testing.assert_allclose([line.get_xdata()[0] for line in dots], [0.64, 0.65, 0.66, 0.67])
    np.testing.assert_allclose(
        first.patches[0].get_extents().transformed(first.transData.inverted()).intervalx, [0.55, 0.75]
    )


@pytest.mark.parametrize("classes", [("rest", "move"), None])
def test_what_is_not_defined_is_a_dash(classes):
    result = make_result(classes)
    nothing = {"score": np.nan, "interval": [np.nan, np.nan]}
    result["rows"][0] |= {"pretrained": nothing, "difference": {"difference": np.nan, "interval": [np.nan] * 2, "p": 1}}
    text = "".join(Text(render(result)).found)
    assert "nan" not in text
    assert table(result)[1].count("– (–)") == 2
    result["largest"]["score"] = 0
    assert f": {result['task']['metric']} – (–), " in sentences(result)[1]


def test_the_table_has_every_row_and_control_in_columns():
    lines = table(make_result())
    assert len(lines) == 1 + 8 + 2
    assert lines[0].endswith("over Linear, spectrogram")
    column = lines[0].index("pretrained")
    assert [line[column : column + 5] for line in lines[1:9]] == [f"{0.60 + row / 100:.3f}" for row in range(8)]
    assert lines[5].startswith("<m> (clip, log; not as trained), center, layer 0")
    assert lines[9].split() == ["Linear,", "spectrogram", "0.650", "(0.550", "to", "0.750)"]
