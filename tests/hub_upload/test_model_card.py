"""Models, records and reports are made up here, but look like what pretraining and decoding give."""

import hashlib
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from safetensors.torch import load_file

from brainbert.hub_upload.card_sources import SOURCES, Cited, Shown, derive, escape, show, source_problems
from brainbert.hub_upload.card_text import _template
from brainbert.hub_upload.model_card import main, write_model_card
from brainbert.processing.corpora.lineage import recording_mark

ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "fixtures" / "tiny"
FRONT_END = "stft-training-linear-2048Hz-400-50-40"

# Of a run of 100 steps whose model beats interpolation where there is content, and nothing else.
ERRORS = {
    "loss": 2.0,
    "model l1": 0.8,
    "model content": 0.6,
    "mean l1": 0.75,
    "mean content": 1.5,
    "interpolation l1": 0.5,
    "interpolation content": 0.75,
}


def make_record() -> dict[str, Any]:
    corpus = {
        "fingerprint": "aaaabbbbccccdddd", "clip_s": 5.0, "stride_s": 2.5, "sampling_rate": 2048, "storage": "float32",
        "brainbert": "0.1.0", "recordings": 3, "subjects": 2, "contacts": 40, "contacts_left_out": 4,
        "clips": {"kept": 1440, "flat": 7},
        "recording_marks": sorted(map(recording_mark, ("night1", "night2", "night3"))),
        "conditioning": {"reference": "laplacian", "notch": "causal-notch", "line_frequency": 50, "ends": "drop",
                         "contacts": ["LA1", "LA2"], "grid": []},
    }  # fmt: skip
    return {
        "corpora": [corpus, corpus | {"fingerprint": "eeeeffff00001111", "recordings": 1, "subjects": 1}],
        "conditioning": {"reference": "laplacian", "notch": "causal-notch", "line_frequency": 50, "ends": "drop"},
        "clips": {"train": 2592, "held out": 288},
        "settings": {"preset": "tiny", "batch_size": 64, "seed": 7, "learning_rate": 0.0015, "optimizer": "muon"},
        "parameters": 12345,
        "processes": 1,
        "device": "a made-up device",
        "steps": 100,
        "minutes": 12.5,
        "best": {"step": 50, "minutes": 6.25} | ERRORS,
        "curve": [{"step": step, "minutes": step / 8} | ERRORS for step in (50, 100)],
        "losses": [{"step": step, "l1": 1.0, "content": 1.0, "loss": float("nan")} for step in (10, 20)],
        "skipped": [],
        "versions": {"brainbert": "0.1.0", "torch": "2.13.0"},
    }


def encoder_sha256() -> str:
    """As decoding reports have it: names and values of the encoder's weights."""
    digest = hashlib.sha256()
    weights = load_file(TINY / "model.safetensors")
    for name in sorted(name.removeprefix("brainbert.") for name in weights if name.startswith("brainbert.")):
        digest.update(name.encode())
        digest.update(weights[f"brainbert.{name}"].numpy().tobytes())
    return digest.hexdigest()


def make_report(**changes: Any) -> dict[str, Any]:
    def system(name: str, label: str, role: str, score: float) -> dict[str, Any]:
        contacts = [
            {"contact": contact, "score": score, "interval": None, "chance": None, "p": 0.01, "q": q}
            for contact, q in (("LA1", 0.02), ("LA2", 0.03), ("TB7", 0.2))
        ]
        return {"name": name, "label": label, "role": role, "score": score, "interval": [score - 0.1, score + 0.1],
                "chance": [0.41, 0.59], "p": 0.01, "seeds": None, "contacts": contacts}  # fmt: skip

    dimension = [
        {"contact": contact, "region": None, "system": "pretrained", "windows": 90, "pca95": 10 * place,
         "participation_ratio": 2.0 * place, "two_nn": None}
        for place, contact in enumerate(("LA1", "LA2", "TB7"), start=1)
    ]  # fmt: skip
    return {
        "title": "Words against silence",
        "verdict": "The pretrained encoder (AUROC 0.700) did not beat all of its controls: it is below band power.",
        "task": {"kind": "classification", "classes": ["silence", "word"], "metric": "AUROC", "chance": 0.5,
                 "labels": "table", "windows": {"silence": 600, "word": 650}, "window_s": 5.0},
        "model": {"name": "/home/somebody/model", "sha256": encoder_sha256(), "parameters": 1, "pooling": "center",
                  "layer": 2, "normalization": "clip", "scale": "linear", "front_end": FRONT_END, "pretraining": None},
        "recordings": [
            {"id": name, "subject": subject, "duration_s": 1800.0, "windows": {}, "contacts": 3, "fingerprint": "f",
             "left_out": {"LA9": "flat"}}
            for name, subject in (("night1", "sub-otto"), ("night2", "sub-otto"), ("day5", "sub-anna"))
        ],
        "left_out": {"outside the recording": 2},
        "split": {"name": "blocked", "unit": "block of time", "units": 25, "embargo_s": 1.0, "overlapping": 0,
                  "folds": [{"name": str(fold), "train": {}, "test": {}} for fold in range(5)]},
        "statistics": None,
        "systems": [system("band-power", "Linear, band power", "control", 0.8),
                    system("pretrained", "BrainBERT, pretrained", "model", 0.7),
                    system("untrained", "BrainBERT, untrained", "control", 0.6)],
        "differences": [
            {"control": "band-power", "label": "Linear, band power", "difference": -0.1, "p": 0.2,
             "interval": [-0.2, -0.01]},
            {"control": "untrained", "label": "BrainBERT, untrained", "difference": 0.1, "p": 0.01,
             "interval": [0.02, 0.2]},
        ],
        "null": {"method": "shift", "draws": 2000},
        "bootstrap": {"draws": 1000, "unit": "block of time"},
        "false_discovery": 0.05,
        "dimension": dimension,
        "positions": {"frame": "mni", "contacts": {"LA1": [1.0, 2.0, 3.0]}},
        "warnings": ["There are only 25 independent units (block of time)."],
        "seed": 0,
        "settings": {"reference": "laplacian", "line_frequency": 50, "contacts": ["LA1"], "grid": ["G=8x8"]},
        "versions": {"torch": "2.13.0"},
    } | changes  # fmt: skip


def make_folder(folder: Path, **files: Any) -> Path:
    """A model folder with these JSON files: name without ending → content."""
    shutil.copytree(TINY, folder)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def write_report(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(make_report(**changes)))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A trained model, its card with a report of two thirds of whose recordings were in pretraining."""
    here = tmp_path_factory.mktemp("card")
    folder = make_folder(here / "model", training_record=make_record())
    report = write_report(here / "secret-file-name.json")
    write_model_card(
        folder,
        license="cc-by-4.0",
        repository="lab/encoder",
        reports=[report],
        benchmarks=["lab/words:onset"],
        datasets=["lab/nights"],
        authors=["A *lab* | of <b>ours</b>"],
    )
    return folder


@pytest.fixture(scope="module")
def card(folder) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def look_up(folder: Path, place: str) -> Any:
    file, pointer = place.split("#")
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    for token in pointer.split("/")[1:]:
        content = content[int(token) if isinstance(content, list) else token]
    return content


def test_every_number_of_the_card_is_cited_or_a_word_of_the_template(folder, card):
    left, rest = "", ModelCard(card).text
    for source in json.loads((folder / SOURCES).read_text(encoding="utf-8"))["sources"]:
        before, found, rest = rest.partition(source["shown"])
        assert found, source
        left += f"{before} "
    template = (ROOT / "hub_upload" / "model_card.md.j2").read_text(encoding="utf-8")
    own = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", " ", template)
    # What is left of the text, number by number, is in the template outside of its expressions.
    assert set(re.findall(r"[0-9][0-9.,]*", left + rest)) <= set(re.findall(r"[0-9][0-9.,]*", own))


def test_every_source_has_the_number_that_is_shown(folder):
    assert source_problems(folder) == []
    sources = json.loads((folder / SOURCES).read_text(encoding="utf-8"))["sources"]
    plain = [source for source in sources if source["form"] == "number" and "formula" not in source]
    assert len(plain) >= 9
    for source in plain:
        assert source["shown"].replace("−", "-") == f"{look_up(folder, source['a']):.3f}"


def test_a_number_that_is_changed_in_its_file_is_found(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    record = make_record()
    record["best"]["model l1"] = 0.4
    (tmp_path / "model" / "training_record.json").write_text(json.dumps(record))
    (problem, *_) = source_problems(tmp_path / "model")
    assert problem == "The card shows '0.800', and training_record.json#/best/model l1 gives '0.400': make it again."


def test_a_digit_more_in_the_card_is_found(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    readme = tmp_path / "model" / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8").replace("0.800", "0.8009"), encoding="utf-8")
    assert any("does not show '0.800'" in problem for problem in source_problems(tmp_path / "model"))


def test_a_result_that_is_changed_in_the_metadata_is_found(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model")
    readme = tmp_path / "model" / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8").replace("value: 0.7\n", "value: 0.9\n"), encoding="utf-8")
    assert source_problems(tmp_path / "model") == [
        "The results in the card's metadata are not those of its reports: make the card again."
    ]


def test_pictures_name_the_numbers_that_they_draw(folder):
    pictures = json.loads((folder / SOURCES).read_text(encoding="utf-8"))["pictures"]
    assert sorted(pictures) == sorted(str(path.relative_to(folder)) for path in folder.glob("figures/*"))
    assert all(look_up(folder, place) for place in pictures.values())


def test_the_template_prints_nothing_that_has_no_source():
    shown: list[Shown] = []
    template = _template(shown)
    with pytest.raises(TypeError, match="prints 12, which has no source"):
        template.environment.from_string("{{ number }}").render(number=12)
    assert template.environment.from_string("{{ number }}").render(number=Cited(12, {"a": "file.json#/x"}))
    assert [each.source for each in shown] == [{"shown": "12", "form": "short", "a": "file.json#/x"}]


def test_formulas_take_arithmetic_and_nothing_else():
    a, b = Cited(3, {"a": "f#/a"}), Cited([1, 2], {"a": "f#/b"})
    assert derive("100 * (a / 4 - 1) + len(b) + sum(b)", a=a, b=b).value == -20.0
    assert derive("a + b", a=a, b=Cited(None, {"a": "f#/c"})).value is None
    with pytest.raises(ValueError, match="holds more than numbers, names"):
        derive("a.__class__ + b", a=a, b=b)


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (1234567, "count:clip", "1,234,567 clips"),
        (1, "count:block of time", "1 block of time"),
        (2, "count:stretch", "2 stretches"),
        (-0.25, "signed", "−0.250"),
        (0.25, "signed:1", "+0.2"),
        ([0.1, None], "interval", "–"),
        (float("nan"), "number:3", "–"),
        (0.00049, "probability", "0.0005"),
        (["a_b*", True, None], "short", "a_b\\*, yes, –"),
    ],
)
def test_values_are_shown_as_a_reader_would_write_them(value, form, shown):
    assert show(Cited(value, {"a": "f#/x"}), form).text == shown


def test_markdown_and_html_in_words_are_shown_letter_by_letter(card):
    assert escape("a|b <script>\n# `x` [y](z) _w_ MOV_RIGHT") == (
        "a\\|b \\<script\\> # \\`x\\` \\[y\\](z) \\_w\\_ MOV_RIGHT"
    )
    assert "A \\*lab\\* \\| of \\<b\\>ours\\</b\\>" in card


def test_the_card_names_no_recording_subject_contact_or_place_on_a_disk(folder):
    names = (
        "night1",
        "night2",
        "day5",
        "sub-otto",
        "sub-anna",
        "LA1",
        "LA2",
        "LA9",
        "TB7",
        "/home",
        "secret-file",
    )
    made = [folder / "README.md", *folder.glob("evaluation/*"), *folder.glob(".eval_results/*")]
    text = "".join(path.read_text(encoding="utf-8") for path in made) + str(list(folder.rglob("*")))
    assert not [name for name in names if name in text.replace(str(folder), "")]
    report = look_up(folder, "evaluation/words-against-silence.json#")
    assert report["recordings"] == {
        "count": 3, "subjects": 2, "duration_s": 5400.0, "contacts": 9, "contacts_left_out": {"flat": 3},
        "seen_in_pretraining": 2,
    }  # fmt: skip
    assert report["systems"][0]["contacts"] == {"count": 3, "above_chance": 2}
    assert report["dimension"] == [
        {"system": "pretrained", "label": "BrainBERT, pretrained", "two_nn": None,
         "pca95": {"median": 20, "quartiles": [15.0, 25.0], "contacts": 3},
         "participation_ratio": {"median": 4.0, "quartiles": [3.0, 5.0], "contacts": 3}}
    ]  # fmt: skip


def test_sizes_and_sums_are_right(card):
    # 2 corpora of 1440 clips, one every 2.5 s: 2 h; 4 recordings of 3 people.
    assert (
        "pretrained on a corpus of 2,880 clips (2.00 h, contacts added up) of 80 contacts from 4 recordings of "
        "3 subjects" in card
    )
    assert (
        "100 steps of 64 clips, optimiser muon, learning rate 0.0015, seed 7; 12.5 minutes on a made-up device" in card
    )
    # A frame every 50 samples, 10 of them trimmed at each end, and 10 that are needed.
    assert "| length | from 1,401 samples (0.68 s) | shorter is refused |" in card
    assert "STFT of 400 samples (195.3 ms), hop 50 (24.4 ms)" in card
    assert "| bins | 40, from 0 to 199.7 Hz |" in card


def test_it_says_plainly_what_the_model_does_not_beat(card):
    assert (
        "Over cells with content the model beats interpolation (−20.0 %) and beats the mean (−60.0 %); over all cells "
        "it does **not** beat interpolation (+60.0 %) and does **not** beat the mean (+6.7 %)."
    ) in card
    assert "> **Words against silence**: the encoder did **not** beat all of its controls" in card
    assert "**The pretrained encoder (AUROC 0.700) did not beat all of its controls: it is below band power.**" in card
    assert "| **BrainBERT, pretrained** | 0.700 (0.600 to 0.800) | 0.410 to 0.590 | – |" in card
    assert "| Linear, band power | 0.800 (0.700 to 0.900) | 0.410 to 0.590 | −0.100 (−0.200 to −0.010) |" in card


@pytest.mark.parametrize(
    ("low", "said"),
    [(0.001, "the encoder beat all of its controls"), (None, "the encoder was compared with no control")],
)
def test_the_first_lines_say_whether_all_controls_were_beaten(tmp_path, low, said):
    difference = {"control": "untrained", "label": "BrainBERT, untrained", "difference": 0.1, "interval": [low, 0.2]}
    report = write_report(tmp_path / "r.json", differences=[difference] if low else [], dimension=None)
    folder = make_folder(tmp_path / "model")
    assert said in write_model_card(folder, license="mit", reports=[report]).read_text(encoding="utf-8")
    assert source_problems(folder) == []


def test_recordings_of_the_evaluation_that_were_in_pretraining_are_warned_about(card):
    assert "> 2 of 3 recordings in this evaluation were in pretraining, too" in card


def test_metadata_round_trip(folder):
    card = ModelCard.load(folder / "README.md")
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag) == ("cc-by-4.0", "transformers", "feature-extraction")
    assert {"brainbert", "ieeg", "self-supervised-learning"} <= set(data.tags)
    assert data.datasets == ["lab/nights"]
    assert [(each.metric_type, each.metric_value, each.dataset_type) for each in data.eval_results] == [
        ("roc_auc", 0.7, "lab/words"),
        ("roc_auc", 0.8, "lab/words"),
    ]
    assert data.eval_results[1].metric_name == "AUROC, best control: Linear, band power"
    assert ModelCard(str(card)).data.to_dict() == data.to_dict()


def test_the_hub_validates_the_card(folder, hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    ModelCard.load(folder / "README.md").validate()


def test_results_of_a_benchmark_of_the_hub_are_in_the_newer_format_too(folder):
    (file,) = folder.glob(".eval_results/*")
    (entry,) = parse_eval_result_entries(yaml.safe_load(file.read_text(encoding="utf-8")))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("lab/words", "onset", 0.7)
    assert entry.source_url == "https://huggingface.co/lab/encoder/blob/main/evaluation/words-against-silence.json"
    assert entry.notes.endswith("95 % interval 0.600 to 0.800; best control Linear, band power 0.800")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_input_gives_the_same_bytes_and_another_card_replaces_the_first(tmp_path):
    folder = make_folder(tmp_path / "model", training_record=make_record())
    bare = contents(folder).keys()
    reports = [write_report(tmp_path / name, dimension=None) for name in ("a.json", "b.json")]
    write_model_card(folder, license="mit", reports=reports)
    first = contents(folder)
    write_model_card(folder, license="mit", reports=reports)
    assert contents(folder) == first
    assert {"evaluation/words-against-silence.json", "evaluation/words-against-silence-2.json"} <= first.keys()
    assert not list(folder.glob(".eval_results/*"))  # nobody said which data set of the Hub the reports are of
    (folder / "evaluation" / "mine.txt").write_text("kept")
    write_model_card(folder, license="mit")
    assert contents(folder).keys() - bare == {
        "README.md", SOURCES, "evaluation/model.json", "evaluation/mine.txt", "figures/learning_curve.png",
    }  # fmt: skip
    assert "No decoding has been measured with these weights." in (folder / "README.md").read_text(encoding="utf-8")


def test_a_converted_model_says_where_it_comes_from_and_that_no_licence_is_known(tmp_path):
    report = {
        "source": {"sha256": "0123abcd" * 8, "bytes": 173_000_000},
        "settings": {"hidden_dim": 768, "data": "/storage/somebody/clips", "nested": {"a": 1}},
        "front_end": "stft",
        "keys": {"mapped": 80, "dropped": ["input_encoding.positional_encoding.pe"]},
        "parameters": 43_182_592,
        "versions": {"brainbert": "0.1.0"},
    }
    folder = make_folder(tmp_path / "model", conversion_report=report)
    text = write_model_card(folder, license="unknown", base_model="lab/original").read_text(encoding="utf-8")
    assert "**The authors' release states no licence**" in text
    assert (
        f"Converted from: a checkpoint of 173.0 MB, sha256 `{'0123abcd' * 8}`; of its tensors 80 mapped, 1 dropped"
        in text
    )
    assert "| hidden_dim | 768 |" in text
    assert "/storage" not in text
    assert "## Pretraining" not in text
    assert source_problems(folder) == []


def test_a_superlet_model_with_statistics_of_recordings_says_what_it_needs(tmp_path):
    folder = make_folder(
        tmp_path / "model",
        preprocessor_config={"feature_size": 40, "sampling_rate": 2048, "transform": "superlet", "hop_length": 50,
                             "normalization": "recording", "scale": "log", "variant": "training",
                             "superlet_frequencies": [float(hertz) for hertz in range(5, 205, 5)],
                             "superlet_orders": [3.0, 30.0], "superlet_cycles": 1.0},
    )  # fmt: skip
    text = write_model_card(folder, license="mit").read_text(encoding="utf-8")
    assert "superlets of order 3, 30" in text
    assert "sampling_rate=2048, statistics=statistics" in text
    assert "a lone short clip is refused" in text
    assert "How its weights came to be is not recorded" in text
    assert source_problems(folder) == []


def test_an_old_record_with_fingerprints_only_makes_a_card(tmp_path):
    record = {"corpora": ["aaaabbbbccccdddd"], "steps": 10, "best": None, "curve": []}
    folder = make_folder(tmp_path / "model", training_record=record)
    text = write_model_card(folder, license="mit").read_text(encoding="utf-8")
    assert "No held-out error was recorded." in text
    assert source_problems(folder) == []


def refused(tmp_path: Path, **changes: Any) -> str:
    """Return why a report is refused; nothing may have been written."""
    folder = make_folder(tmp_path / "model", training_record=make_record())
    before = contents(folder)
    with pytest.raises(ValueError, match=r"report|names") as refusal:
        write_model_card(folder, license="mit", reports=[write_report(tmp_path / "r.json", **changes)])
    assert contents(folder) == before
    return str(refusal.value)


def test_a_report_of_other_weights_is_refused(tmp_path):
    other = make_report()["model"] | {"sha256": "f" * 64}
    assert "was made with other weights (ffffffffffff…) than the folder holds" in refused(tmp_path, model=other)


def test_a_report_of_another_front_end_is_refused(tmp_path):
    other = make_report()["model"] | {"front_end": FRONT_END.replace("linear", "log")}
    assert "decode with this folder, or leave the report out" in refused(tmp_path, model=other)


@pytest.mark.parametrize("title", ["Words of sub-otto", "night1: words", "Words at TB7"])
def test_a_title_that_names_a_recording_subject_or_contact_is_refused(tmp_path, title):
    assert "names a recording, subject or contact in title, which" in refused(tmp_path, title=title)


def test_a_title_that_names_a_path_is_refused(tmp_path):
    assert "names a path in title" in refused(tmp_path, title="Words of /data/lab/x.edf")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"license": "other"}, 'The licence "other" needs a name and a link'),
        ({"license": "CC BY 4.0"}, "is no identifier"),
        ({"license": "mit", "license_name": "ours"}, 'belongs to "other"'),
        ({"license": "mit", "datasets": ["a/b/c"]}, "is no name of a repository on the Hub"),
        ({"license": "mit", "benchmarks": ["lab/words"]}, "0 reports and 1 benchmarks"),
    ],
)
def test_what_the_hub_would_not_take_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        write_model_card(TINY, **given)


def test_a_corpus_that_the_model_was_not_trained_on_is_refused(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "corpus.json").write_text(json.dumps({"fingerprint": "9999999999999999"}))
    folder = make_folder(tmp_path / "model", training_record=make_record())
    with pytest.raises(ValueError, match="was not trained on the corpus 9999999999999999"):
        write_model_card(folder, license="mit", corpora=[tmp_path / "corpus"])


def test_a_corpus_adds_rates_and_what_was_left_out(tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "corpus.json").write_text(json.dumps({"fingerprint": "aaaabbbbccccdddd"}))
    for number, rate in enumerate((512.0, 1000.0)):
        report = {"duration_s": 1800.0, "original_sampling_rate": rate, "band_hz": [0.1, rate / 3],
                  "left_out": {"LA1": "flat", "LA2": "artefact"}, "clips": {"kept": 5, "not finite": 2}}  # fmt: skip
        (tmp_path / "corpus" / f"recording-{number}.json").write_text(json.dumps(report))
    folder = make_folder(tmp_path / "model", training_record=make_record())
    text = write_model_card(folder, license="mit", corpora=[tmp_path / "corpus"]).read_text(encoding="utf-8")
    assert (
        "- `aaaabbbbccccdddd`: 1.00 h of recordings, recorded at 512 to 1,000 Hz, pass bands within 0.1 to 333.3 Hz. "
        "Left out: 2 contacts (artefact), 2 contacts (flat); 4 clips (not finite)."
    ) in text
    assert source_problems(folder) == []


def test_the_citation_is_that_of_the_software(card):
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    paper = cited["preferred-citation"]
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in paper["authors"])
    for field in (paper["title"], authors, paper["collection-title"], str(paper["year"]), paper["url"], cited["title"]):
        assert f"{{{field}}}" in card
    assert f"{{{{{cited['authors'][0]['name']}}}}}" in card


def test_the_program_needs_a_licence(capsys, monkeypatch, tmp_path):
    folder = make_folder(tmp_path / "model")
    monkeypatch.setattr(sys, "argv", ["model_card", str(folder)])
    with pytest.raises(SystemExit):
        main()
    assert "the following arguments are required: --license" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["model_card", str(folder), "--license", "mit"])
    main()
    assert capsys.readouterr().out == f"Wrote {folder / 'README.md'}.\n"
