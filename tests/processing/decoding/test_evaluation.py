"""What scores say, with scores that were made up."""

import numpy as np
import pytest

from brainbert.processing.decoding.evaluation import LABELS, evaluate, split_warnings, verdict
from brainbert.processing.decoding.metrics import score, unit_sums
from brainbert.processing.decoding.splits import Fold, Split, blocked


def difference(name, value, low, high):
    return {"control": name, "label": LABELS[name], "difference": value, "interval": [low, high]}


def said(*differences, score=0.8):
    return verdict([{"name": "pretrained", "score": score}], differences, model="pretrained", metric="AUROC")


ABOVE = difference("spectrogram", 0.05, 0.01, 0.09)
NEARER = difference("waveform", 0.02, 0.005, 0.03)
BELOW = difference("band-power", -0.1, -0.15, -0.05)
EVEN = difference("untrained", 0.003, -0.02, 0.03)


@pytest.mark.parametrize(
    ("differences", "sentence"),
    [
        (
            [ABOVE, NEARER],
            "The pretrained encoder (AUROC 0.800) beat all 2 of its controls: every paired difference has a 95 % "
            "interval above zero, the smallest is +0.020 (+0.005 to +0.030), over the linear waveform.",
        ),
        ([ABOVE], "The pretrained encoder (AUROC 0.800) beat its only control, the linear spectrogram, by +0.050 "
         "(+0.010 to +0.090): the 95 % interval is above zero."),
        (
            [ABOVE, BELOW, EVEN],
            "The pretrained encoder (AUROC 0.800) did not beat all of its controls: it is below linear band power; "
            "it cannot be told from its untrained twin; it is above the linear spectrogram.",
        ),
        ([EVEN], "The pretrained encoder (AUROC 0.800) did not beat its only control: it cannot be told from "
         "its untrained twin."),
        ([], "The pretrained encoder (AUROC 0.800) was compared with no control, so this number says nothing about "
         "pretraining."),
    ],
    ids=["beats all", "beats the only one", "below some", "cannot be told", "no controls"],
)  # fmt: skip
def test_the_verdict_is_one_sentence(differences, sentence):
    assert said(*differences) == sentence


def test_an_interval_that_touches_zero_or_is_not_known_does_not_beat():
    touching, unknown = difference("waveform", 0.02, 0.0, 0.04), difference("waveform", 0.02, np.nan, np.nan)
    for each in (touching, unknown):
        assert "cannot be told from the linear waveform" in said(ABOVE, each)


def test_several_names_are_listed_as_in_a_sentence():
    sentence = said(EVEN, difference("waveform", 0.0, -0.1, 0.1), difference("spectrogram", 0.01, -0.1, 0.1))
    assert "from its untrained twin, the linear waveform and the linear spectrogram." in sentence


@pytest.fixture(scope="module")
def study(windows_of):
    """200 windows, and scores of three contacts: LA1 knows the label, LA2 does not, LA3 was never tested."""
    random = np.random.default_rng(0)
    epochs = windows_of(random.permutation(np.arange(200) % 2))
    scores = random.standard_normal((3, 200, 1))
    scores[0, :, 0] += 2 * epochs.target
    scores[2] = np.nan
    return epochs, blocked(epochs), scores


def test_systems_are_reported_in_order_with_seeds_averaged_and_only_the_model_is_no_control(study):
    epochs, split, scores = study
    worse = scores + np.random.default_rng(1).standard_normal(scores.shape)
    result = evaluate(
        {"waveform": [worse], "untrained": [worse, scores], "pretrained": [scores]},
        epochs,
        split,
        contacts=["LA1", "LA2", "LA3"],
        draws=500,
    )
    entries = {entry["name"]: entry for entry in result["systems"]}
    assert list(entries) == ["pretrained", "untrained", "waveform"]
    assert [entry["role"] for entry in result["systems"]] == ["model", "control", "control"]
    assert entries["untrained"]["seeds"] == pytest.approx(
        [entries["waveform"]["score"], entries["pretrained"]["score"]]
    )
    assert entries["untrained"]["score"] == pytest.approx(np.mean(entries["untrained"]["seeds"]))
    assert entries["pretrained"]["seeds"] is None
    assert [each["control"] for each in result["differences"]] == ["untrained", "waveform"]
    for each in result["differences"]:
        gap = entries["pretrained"]["score"] - entries[each["control"]]["score"]
        assert each["difference"] == pytest.approx(gap)
    assert result["null"] == {"method": "shift", "draws": 500}
    assert result["bootstrap"] == {"draws": 500, "unit": "block of time", "units": 20}


@pytest.mark.filterwarnings("error")
def test_a_contact_has_its_score_chance_and_q_and_one_that_was_not_tested_has_none(study):
    epochs, split, scores = study
    result = evaluate({"pretrained": [scores]}, epochs, split, contacts=["LA1", "LA2", "LA3"], draws=1000)
    knows, guesses, absent = result["systems"][0]["contacts"]
    observed = score(unit_sums(epochs, split, scores))
    assert (knows["contact"], knows["score"], guesses["score"]) == ("LA1", observed[0], observed[1])
    assert knows["q"] <= 0.05 < guesses["q"]
    assert knows["q"] == pytest.approx(2 * knows["p"])  # of two contacts that were tested the first
    assert guesses["chance"][0] < guesses["score"] < guesses["chance"][1]
    assert knows["chance"][1] < knows["interval"][0] < knows["score"] < knows["interval"][1]
    assert np.isnan([absent["score"], absent["p"], absent["q"], *absent["interval"], *absent["chance"]]).all()
    assert result["systems"][0]["score"] == pytest.approx(observed[:2].mean())


def test_classes_have_roc_and_confusion_and_values_have_r2_and_a_scatter(study, windows_of):
    epochs, split, scores = study
    result = evaluate({"pretrained": [scores]}, epochs, split, contacts=["LA1", "LA2", "LA3"], draws=50)
    assert set(result["roc"]) == {"pretrained"}
    assert np.sum(result["confusion"]["counts"]) == 2 * 200
    assert result["scatter"] is None
    assert "r2" not in result["systems"][0]
    target = np.random.default_rng(0).standard_normal(1000)
    epochs = windows_of(target)
    predicted = np.stack([np.zeros(1000), 0.5 * target])[:, :, None]
    result = evaluate({"pretrained": [predicted]}, epochs, blocked(epochs), contacts=["LA1", "LA2"], draws=50)
    assert (result["roc"], result["confusion"]) == (None, None)
    # 1 - .5² at LA2, and hardly any at LA1: less than none where means of folds are not 0
    assert result["systems"][0]["r2"] == pytest.approx(0.75 / 2, abs=0.02)
    assert len(result["scatter"]["target"]) == 500
    prediction, aim = (np.array(result["scatter"][name]) for name in ("prediction", "target"))
    assert (prediction[:250] == 0).all()
    np.testing.assert_allclose(prediction[250:], 0.5 * aim[250:])


def test_three_classes_have_a_confusion_of_nine(windows_of):
    random = np.random.default_rng(0)
    epochs = windows_of(random.permutation(np.arange(150) % 3))
    scores = random.standard_normal((1, 150, 3)) + 3 * np.eye(3)[epochs.target]
    result = evaluate({"pretrained": [scores]}, epochs, blocked(epochs), contacts=["LA1"], draws=50)
    assert np.shape(result["confusion"]["counts"]) == (3, 3)
    assert np.trace(result["confusion"]["counts"]) > 120
    assert result["systems"][0]["score"] > 0.95


def test_the_same_seed_gives_the_same_result(study):
    epochs, split, scores = study

    def again(seed):
        return evaluate({"pretrained": [scores]}, epochs, split, contacts=["LA1", "LA2", "LA3"], draws=50, seed=seed)

    assert repr(again(0)) == repr(again(0))
    assert again(0)["systems"][0]["interval"] != again(1)["systems"][0]["interval"]


def test_few_units_and_shared_samples_are_warned_about():
    fold = Fold(np.arange(5), np.arange(5, 10), "1")
    split = Split(name="paper", folds=(fold,), unit=np.arange(10), unit_name="block of time", overlapping=3)
    assert [warning.split(":")[0] for warning in split_warnings(split, 9)] == [
        "3 test windows share samples with training windows, which the split 'paper' allows",
        "There are only 9 independent units (block of time)",
    ]
    assert split_warnings(Split(name="blocked", folds=(fold,), unit=np.arange(10), unit_name="block of time"), 10) == []
