"""Results are made up, but look like what decoding gives."""

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brainbert.processing.decoding.report import count, draw, plain_json, probability, render, write_report

SYSTEMS = {
    "pretrained": "BrainBERT, pretrained",
    "untrained": "BrainBERT, untrained",
    "spectrogram": "Linear, spectrogram",
    "spectrogram-time": "Linear, spectrogram in time",
    "band-power": "Linear, band power",
    "waveform": "Linear, waveform",
    "waveform-network": "Network, waveform",
}


def make_result(
    contacts: int = 2, *, classes: tuple[str, ...] | None = ("non-focal", "focal"), seed: int = 0, gain: float = 0.05
) -> dict[str, Any]:
    """A result with every part that this kind of task has; without classes a regression."""
    draw = np.random.default_rng(seed)
    chance = 0.5 if classes else 0.0
    names = [f"L{'ABCDEFGHIJ'[place // 12]}{place % 12 + 1}" for place in range(contacts)]
    responds = draw.random(contacts) < (1.0 if contacts < 5 else 0.4)
    systems: list[dict[str, Any]] = []
    for order, (name, label) in enumerate(SYSTEMS.items()):
        level = 0.83 - gain * (order > 0) - 0.03 * max(order - 2, 0)
        scores = chance + responds * (level - 0.5) + 0.025 * draw.standard_normal(contacts)
        p = np.where(responds, 0.0005, draw.random(contacts) * 0.9 + 0.1)
        entries = [
            {"contact": contact, "score": score, "interval": [score - 0.05, score + 0.05],
             "chance": [chance - 0.08, chance + 0.08], "p": value, "q": min(1.0, value * 2)}
            for contact, score, value in zip(names, scores.tolist(), p.tolist(), strict=True)
        ]  # fmt: skip
        mean = float(scores.mean())
        systems.append(
            {"name": name, "label": label, "role": "control" if order else "model", "score": mean, "r2": mean**2 - 0.02,
             "interval": [mean - 0.03, mean + 0.03], "chance": [chance - 0.04, chance + 0.04], "p": 0.0004998,
             "seeds": [mean - 0.01, mean, mean + 0.01] if name == "untrained" else None, "contacts": entries}
        )  # fmt: skip
    best = systems[0]["score"]
    differences = [
        {"control": system["name"], "label": system["label"], "difference": best - system["score"], "p": 0.012,
         "interval": [best - system["score"] - 0.024, best - system["score"] + 0.024]}
        for system in systems[1:]
    ]  # fmt: skip
    curves = {"pretrained": (0.83, 14.0), "untrained": (0.79, 20.0), "spectrogram": (0.78, 24.0)}

    def curve(name: str, x: np.ndarray) -> dict[str, list[float]]:
        mean = chance + (curves[name][0] - 0.5) * x / (x + curves[name][1])
        return {"mean": mean.tolist(), "low": (mean - 0.03).tolist(), "high": (mean + 0.03).tolist()}

    sizes = np.array([8, 16, 32, 64, 128, 256])
    rate = np.linspace(0, 1, 60)
    per_class = dict.fromkeys(classes or ["windows"], 200)
    counts = np.full((len(classes or ()),) * 2, 36 // max(len(classes or ()) - 1, 1)) + np.eye(len(classes or ())) * 128
    target = draw.standard_normal(300)
    regions = ["hippocampus", "superior temporal gyrus", "orbitofrontal cortex", None]
    dimension = [
        {"contact": contact, "region": regions[place * 4 // contacts], "system": system, "windows": 400,
         "pca95": int(draw.integers(8, 14)) + shift, "participation_ratio": float(draw.normal(4 + shift / 3, 0.6)),
         "two_nn": float(draw.normal(6 + shift / 3, 0.8)) if place != 1 else float("nan")}
        for place, contact in enumerate(names)
        for system, shift in (("pretrained", 0), ("untrained", 4), ("spectrogram", 9))
    ]  # fmt: skip
    return {
        "title": "Focal against non-focal intracranial EEG" if classes else "Grip force from ECoG",
        "verdict": "The pretrained encoder beats 4 of its 6 controls; it does not beat BrainBERT, untrained and Linear "
        "spectrogram: the interval of that paired difference includes zero.",
        "task": {"kind": "classification" if classes else "regression", "classes": list(classes) if classes else None,
                 "metric": "AUROC" if classes else "Pearson r", "chance": chance, "windows": per_class,
                 "window_s": 5.0, "labels": "CSV, column label"},
        "model": {"name": "run/model", "sha256": "0123456789abcdef" * 4, "parameters": 4_700_000, "pooling": "mean",
                  "layer": 3, "normalization": "corpus", "scale": "log", "front_end": "stft, 400 samples, hop 50",
                  "pretraining": {"steps": 1200, "corpora": ["fedcba9876543210"]}},
        "recordings": [
            {"id": f"pair{place:02}", "subject": "s1", "duration_s": 20.0, "windows": dict.fromkeys(per_class, 4),
             "contacts": contacts, "left_out": {"LA3": "flat"} if place == 1 else {}, "fingerprint": f"{place:x}" * 16}
            for place in range(1, 13)
        ],
        "left_out": {"outside the recording": 3, "cut by a gap": 1},
        "split": {"name": "grouped", "unit": "pair", "units": 50, "embargo_s": 0.0, "overlapping": 0,
                  "folds": [{"name": str(fold), "train": dict.fromkeys(per_class, 160),
                             "test": dict.fromkeys(per_class, 40)} for fold in range(1, 6)]},
        "statistics": None,
        "systems": systems,
        "differences": differences,
        "null": {"method": "blocks", "draws": 2000},
        "bootstrap": {"draws": 2000, "unit": "pair"},
        "false_discovery": 0.05,
        "roc": {
            name: {"false_positive": rate.tolist(), "true_positive": (rate ** (0.12 + 0.05 * order)).tolist()}
            for order, name in enumerate(SYSTEMS)
        } if classes and len(classes) == 2 else None,
        "confusion": {"classes": list(classes), "counts": counts.astype(int).tolist()} if classes else None,
        "scatter": None if classes else {"target": target.tolist(),
                                         "prediction": (0.6 * target + 0.5 * draw.standard_normal(300)).tolist()},
        "few_shot": {"sizes": sizes.tolist(), "systems": {name: curve(name, sizes) for name in curves}},
        "layers": {"layers": [0, 1, 2, 3],
                   "systems": {name: curve(name, np.arange(4) * 10 + 20.0) for name in ("pretrained", "untrained")}},
        "best_contacts": {"count": 5, "chosen": {name: 5 - place % 3 for place, name in enumerate(names[:7])},
                          "systems": {name: {"score": 0.9 - 0.02 * order, "interval": [0.85, 0.95]}
                                      for order, name in enumerate(SYSTEMS)}} if contacts > 5 else None,
        "dimension": dimension,
        "positions": {"frame": "mni", "contacts": {
            name: [-30.0 - 3 * (place % 12), 10.0 * (place // 12) - 40, 5.0 + 2 * (place // 12)]
            for place, name in enumerate(names)}} if contacts > 5 else None,
        "warnings": ["only 5 independent units: intervals are coarse"],
        "seed": 0,
        "settings": {"folds": 5, "probe": "logistic", "untrained_seeds": 3, "context_s": 0.5, "few_shot": True},
        "versions": {"brainbert": "0.1.0", "torch": "2.9.0", "scikit-learn": "1.9.1"},
    }  # fmt: skip


class Outline(HTMLParser):
    """What a page holds: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The folder of a report; drawing takes a second or two."""
    return write_report(make_result(2), tmp_path_factory.mktemp("report")).parent


@pytest.fixture(scope="module")
def page(written) -> str:
    return (written / "report.html").read_text("utf-8")


def test_the_page_opens_with_the_verdict_and_the_warnings_come_before_the_first_table(page):
    body = page[page.index("<body>") :]
    places = [body.index(text) for text in ("The pretrained encoder beats 4", "only 5 independent units", "<table")]
    assert places == sorted(places)


def test_the_same_result_gives_the_same_bytes_whatever_the_reader_has_set_for_figures(written, tmp_path):
    import matplotlib

    # As it is read back from the JSON, so that a page can be made again from it.
    result = json.loads((written / "report.json").read_text("utf-8"))
    with matplotlib.rc_context({"svg.hashsalt": None, "font.size": 20, "axes.grid": True, "figure.dpi": 30}):
        write_report(dict(reversed(result.items())), tmp_path)
        assert matplotlib.rcParams["font.size"] == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]
    for name in ("report.html", "report.json"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_the_page_needs_no_other_file_no_network_and_no_script(page):
    for tag, attributes in Outline(page).elements:
        assert tag not in {"script", "link", "iframe", "object"}
        assert "href" not in attributes
        assert (attributes.get("src") or "data:").startswith("data:image/svg+xml;base64,") or "src" not in attributes
    assert "url(" not in page
    assert "@import" not in page


def test_every_figure_has_a_text_instead_and_no_date(page):
    images = [attributes for tag, attributes in Outline(page).elements if tag == "img"]
    # systems, differences, contacts, ROC, confusion, few-shot, layers, dimension
    assert len(images) == 8
    assert all(len(image["alt"] or "") > 20 for image in images)
    for image in images:
        drawn = base64.b64decode((image["src"] or "").partition(",")[2]).decode()
        assert drawn.startswith("<?xml")
        assert "<dc:date>" not in drawn


def test_json_has_sorted_keys_and_null_for_nan(tmp_path):
    absent = dict.fromkeys(("roc", "confusion", "few_shot", "layers", "dimension"))
    result = make_result(2) | absent | {"settings": {"b": np.float32("nan"), "a": np.arange(2), "c": float("inf")}}
    write_report(result, tmp_path)
    text = (tmp_path / "report.json").read_text("utf-8")
    read = json.loads(text)
    assert list(read) == sorted(read)
    assert list(read["settings"].items()) == [("a", [0, 1]), ("b", None), ("c", None)]
    assert "NaN" not in text
    assert read["systems"][0]["name"] == "pretrained"  # lists keep their order


def test_plain_json_takes_numpy_and_leaves_what_is_plain():
    assert plain_json({"x": (np.int64(1), np.bool_(True), None, "a")}) == {"x": [1, True, None, "a"]}


def test_names_that_hold_html_are_shown_as_they_are():
    nasty = '<img src=x onerror="alert(1)">'
    result = make_result(2, classes=("<b>rest</b>", nasty))
    result |= {"title": "</title><script>", "verdict": nasty, "warnings": [nasty], "left_out": {nasty: 1}}
    result["systems"][0]["contacts"][0]["contact"] = nasty
    result["dimension"][0]["region"] = "$x$ & <i>"
    result["recordings"][0] |= {"id": nasty, "left_out": {nasty: nasty}, "fingerprint": nasty}
    result["settings"] = {nasty: nasty}
    outline = Outline(render(result, {}))
    tags = [tag for tag, _ in outline.elements]
    assert "script" not in tags
    assert "i" not in tags
    assert not any("onerror" in attributes for _, attributes in outline.elements)
    assert outline.text.count(nasty) >= 8
    assert "$x$ & <i>" in outline.text


def test_the_table_has_every_system_with_its_difference_beside_it():
    result = make_result(2)
    result["differences"][0] |= {"difference": -0.0125, "interval": [-0.05, 0.02], "p": 0.4}
    result["differences"][1] |= {"difference": 0.2, "interval": [0.125, 0.25], "p": 0.0009995}
    rows = re.findall(r"<tr.*?</tr>", render(result, {}), flags=re.DOTALL)
    untrained = next(Outline(row).text.split() for row in rows if "BrainBERT, untrained" in row and "seeds" in row)
    spectrogram = next(Outline(row).text.split() for row in rows if re.search(r"spectrogram\n</th>", row))
    assert " ".join(untrained).endswith("−0.013 −0.050 to 0.020includes zero 0.40")
    assert " ".join(spectrogram).endswith("+0.200 0.125 to 0.250above zero 0.001")


def test_the_verdict_is_marked_as_open_until_every_interval_is_above_zero():
    result = make_result(2, gain=0.1)
    assert '<p class="verdict above">' in render(result, {})
    result["differences"][3]["interval"][0] = 0.0
    assert '<p class="verdict open">' in render(result, {})


def test_what_was_not_computed_is_said_in_one_line_each():
    result = make_result(2) | dict.fromkeys(
        ("roc", "confusion", "few_shot", "layers", "best_contacts", "dimension", "positions")
    )
    outline = Outline(render(result, {}))
    for missing in (
        "ROC curve",
        "Confusion matrix",
        "Few-shot curve",
        "Layers",
        "Best contacts",
    ):
        assert f"{missing}: not part of this run." in outline.text
    assert "Intrinsic dimension: not part of this run, or fewer than 20 windows" in outline.text
    assert list(draw(result)) == ["systems", "differences", "contacts"]


def test_keys_that_may_be_null_may_be_absent():
    result = make_result(2)
    for key in ("scatter", "few_shot", "layers", "best_contacts", "dimension", "positions", "statistics"):
        del result[key]
    assert render(result, {}).startswith("<!DOCTYPE html>")
    assert list(draw(result)) == ["systems", "differences", "contacts", "roc", "confusion"]


def test_more_than_two_classes_have_no_roc_curve():
    text = Outline(render(make_result(3, classes=("word", "tone", "silence")), {})).text
    assert "ROC curve: drawn for two classes only." in text
    assert "each against the rest" in text


def test_a_regression_has_r2_and_a_scatter_and_no_confusion():
    outline = Outline(render(make_result(2, classes=None), {}))
    assert "R²" in outline.text
    assert "Pearson r" in outline.text
    assert "Confusion" not in outline.text
    assert "not part of this run" not in outline.text.partition("Predictions")[2].partition("How many labels")[0]


def test_many_contacts_are_folded_away_from_the_best_to_the_worst_and_counted():
    result = make_result(14)
    for place, entry in enumerate(result["systems"][0]["contacts"]):
        entry |= {"contact": f"C{place}", "score": 0.5 + 0.01 * (place % 7), "q": 0.05 if place == 3 else 0.051}
    page = render(result, {})
    assert "<details><summary>All contacts" in page
    table = page[page.index("All contacts as a table") :]
    assert re.findall(r'<th scope="row">(C\d+)</th>', table)[:4] == ["C13", "C6", "C12", "C5"]
    assert "1 of 14 contacts is above chance" in page


def test_a_contact_without_a_score_is_last_and_has_dashes():
    result = make_result(2)
    result["systems"][0]["contacts"][0] |= dict.fromkeys(("score", "p", "q"), float("nan"))
    result["systems"][0]["contacts"][0] |= {"interval": None, "chance": [float("nan")] * 2}
    page = render(result, {})
    rows = re.findall(r"<tr><th scope=\"row\">LA\d</th>.*?</tr>", page)
    assert "LA1" in rows[1]
    assert Outline(rows[1]).text.startswith("LA1–––––")


def test_a_system_without_contacts_is_in_the_table_and_marked_when_it_was_chosen_after():
    result = make_result(2)
    result["systems"].append(
        {"name": "other", "label": "Best layer", "role": "chosen after", "score": 0.9, "interval": None,
         "chance": None, "p": None, "seeds": None, "contacts": None}
    )  # fmt: skip
    text = Outline(render(result, {})).text
    assert "Best layer" in text
    assert "chosen after its score was seen" in text


def test_windows_that_overlap_are_said_where_the_split_is():
    result = make_result(2)
    assert "no test window shares a sample" in render(result, {})
    result["split"]["overlapping"] = 1200
    assert "1,200 test windows share samples with training windows" in render(result, {})


def test_windows_and_contacts_left_out_are_listed_with_the_reason(page):
    lines = Outline(page).text.splitlines()
    assert "Windows left outcut by a gap: 1; outside the recording: 3" in lines
    assert "pair01LA3flat" in lines


@pytest.mark.parametrize(
    ("value", "shown"), [(0.00049975, "0.0005"), (0.0124, "0.012"), (0.234, "0.23"), (1.0, "1.00"), (None, "–")]
)
def test_a_p_has_as_many_digits_as_say_something(value, shown):
    assert probability(value) == shown


def test_a_count_has_its_noun_in_the_plural():
    assert [count(1, "block of time"), count(2, "block of time"), count(1024, "pair")] == [
        "1 block of time",
        "2 blocks of time",
        "1,024 pairs",
    ]
