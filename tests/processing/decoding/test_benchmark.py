import json
from functools import partial

import numpy as np
import pytest
from accelerate import Accelerator

from brainbert.processing.corpora.labelled import LabelledRecording
from brainbert.processing.decoding import Recipe, benchmark_run
from brainbert.processing.decoding.benchmark import Benchmark, Conduct, Problem, Published
from brainbert.processing.decoding.benchmark_folds import participant_folds, shares_of_classes
from brainbert.processing.decoding.benchmark_page import as_text, summarise, write_benchmark
from brainbert.processing.decoding.benchmark_run import run_problem

QUICK = {"untrained_seeds": 1, "draws": 300, "head_recipe": Recipe(steps=20, patience=20, validate_every=10)}


@pytest.fixture(scope="module")
def people(planted):
    """Nine people with 16 windows of 1 s each: 60–90 Hz in a quarter of them, louder for higher values."""

    def make(*, regression=False, signal=True):
        found = []
        for person in range(9):
            random = np.random.default_rng(person)
            loud = random.permutation(np.repeat([0.0, 1.0], [12, 4]))
            value = random.uniform(-1, 1, 16)
            loudness = np.exp(value) if regression else 0.2 + 2 * loud
            loudness = loudness if signal else random.permutation(loudness)
            name = f"P{person}"
            recording = planted(loudness, contacts=3, at=("LA2",), seed=person, name=name, subject=name)
            told = np.array(["rest", "move"])[loud.astype(int)]
            values = 30 + value + random.normal(0, 0.1, 16) if regression else told
            found.append(LabelledRecording(recording=recording, onset_s=np.arange(16.0), values=values))
        return found

    return make


def problem(people, *, regression=False, **how):
    return Problem(
        **{
            "name": "made",
            "people": people,
            "window_s": 1.0,
            "classes": None if regression else ("rest", "move"),
            "split_by": partial(participant_folds, folds=3),
            "measures": ("rmse", "r") if regression else ("auroc", "balanced-accuracy", "f1"),
        }
        | how
    )


def run(problem, encoder, **how):
    return run_problem(problem, encoder, Conduct(**QUICK | how), progress=False)


def row(result, name):
    return next(row["measures"] for row in result["rows"] if row["name"] == name)


@pytest.fixture(scope="module")
def found(people, small_encoder):
    return run(problem(people()), small_encoder(), heads=("concatenation", "attention"))


def test_rows_are_the_encoder_its_twin_linear_decoders_and_a_constant(found):
    assert [(row["name"], row["role"]) for row in found["rows"]] == [
        ("pretrained", "model"),
        ("pretrained:attention", "variant"),
        ("untrained", "control"),
        ("untrained:attention", "variant"),
        ("spectrogram", "control"),
        ("spectrogram-time", "control"),
        ("band-power", "control"),
        ("constant", "control"),
    ]
    assert [each["control"] for each in found["differences"]] == [
        "untrained",
        "spectrogram",
        "spectrogram-time",
        "band-power",
        "constant",
    ]


def test_a_planted_signal_of_one_window_in_four_is_found(found):
    auroc, recall = row(found, "spectrogram")["auroc"], row(found, "spectrogram")["balanced-accuracy"]
    assert auroc["score"] > 0.9
    assert auroc["score"] > auroc["chance"][1]
    assert recall["score"] > 0.8
    assert row(found, "constant")["balanced-accuracy"]["score"] == 0.5


def test_every_participant_is_tested_in_one_fold_and_in_no_other_part_of_it(found):
    tested = [name for fold in found["folds"] for name in fold["test"]["subjects"]]
    assert sorted(tested) == [f"P{number}" for number in range(9)]
    for fold in found["folds"]:
        parts = [set(fold[part]["subjects"]) for part in ("train", "validation", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 9


def test_participants_have_their_own_scores(found):
    assert found["by_unit"]["names"] == [f"P{number}" for number in range(9)]
    assert len(found["by_unit"]["measures"]["auroc"]) == 9


def test_without_a_signal_scores_are_within_chance(people, small_encoder):
    result = run(problem(people(signal=False)), small_encoder(), draws=1000)
    for name in ("pretrained", "untrained", "spectrogram", "band-power"):
        entry = row(result, name)["auroc"]
        assert entry["chance"][0] <= entry["score"] <= entry["chance"][1]


def test_a_regression_reaches_the_noise_of_its_values(people, small_encoder):
    values = problem(people(regression=True), regression=True, split_by=participant_folds)
    result = run(values, small_encoder(), untrained_seeds=0)
    best = row(result, "band-power")["rmse"]["score"]
    constant = row(result, "constant")["rmse"]["score"]
    assert constant == pytest.approx(np.sqrt(1 / 3), rel=0.1)
    assert best < 0.5 * constant
    assert row(result, "band-power")["r"]["score"] > 0.9
    control = next(each for each in result["differences"] if each["control"] == "constant")
    assert control["difference"] == pytest.approx(constant - row(result, "pretrained")["rmse"]["score"])
    assert "it is worse than the linear spectrogram" in result["verdict"]


def test_fine_tuning_is_judged_beside_the_frozen_encoder_and_from_scratch(people, small_encoder):
    recipe = Recipe(steps=4, validate_every=2, patience=4)
    result = run_problem(
        problem(people()),
        small_encoder(),
        Conduct(**QUICK, controls=("spectrogram",), fine_tuning=recipe),
        accelerator=Accelerator(cpu=True),
        progress=False,
    )
    assert result["judged"] == "fine-tuned"
    assert "Left out on request: Linear, spectrogram in time, Linear, band power." in result["warnings"]
    assert [each["control"] for each in result["differences"]] == [
        "pretrained",
        "untrained",
        "fine-tuned-untrained",
        "spectrogram",
        "constant",
    ]


def test_fine_tuning_sees_the_contacts_that_training_windows_chose_alone(people, small_encoder, monkeypatch):
    seen = []

    def finetuned_scores(make_model, inputs, *, epochs, **_):
        seen.append(([of_fold.shape[2] for of_fold in inputs], make_model().head.output.in_features))
        return np.zeros((1, len(epochs), 1)), []

    monkeypatch.setattr(benchmark_run, "finetuned_scores", finetuned_scores)
    few = problem(people(), most_contacts=2)
    run(few, small_encoder(), controls=(), untrained_seeds=0, fine_tuning=Recipe())
    assert seen == [([2, 2, 2], 2 * 33)] * 2  # contacts of each fold; 32 features and a mark of each


def test_people_who_are_problems_of_their_own_are_averaged_with_student_s_interval(people, small_encoder, tmp_path):
    of_each = [
        problem(
            [person], name=person.recording.subject, split_by=in_three_parts, measures=("accuracy", "cross-entropy")
        )
        for person in people()[:3]
    ]
    published = [Published(label="Theirs", values={"accuracy": 0.75}, spread={"accuracy": 0.05})]
    words = Benchmark(name="Words", problems=of_each, subjects=True, published=published, source="a paper, table 1")
    results = [run(each, small_encoder(), controls=("spectrogram",)) for each in of_each]
    table = summarise(words, results, settings={"heads": ["concatenation"]})
    own = [row(result, "pretrained")["accuracy"]["score"] for result in results]
    assert row(table["people"], "pretrained")["accuracy"]["score"] == pytest.approx(np.mean(own))
    text = "\n".join(as_text(table))
    assert "Theirs (published)" in text
    assert "0.750 ± 0.050" in text
    page = write_benchmark(table, tmp_path).read_text()
    for said in ("All subjects", "P0", "P2", "a paper, table 1", "0.750"):
        assert said in page
    assert json.loads((tmp_path / "benchmark.json").read_text())["published"][0]["label"] == "Theirs"


def in_three_parts(epochs):
    return shares_of_classes(epochs, shares=(0.5, 0.25, 0.25))


def test_the_same_seed_gives_the_same_result(people, small_encoder):
    few = problem(people())
    how = {"controls": (), "heads": ("attention",), "untrained_seeds": 0}
    first, second = (run(few, small_encoder(), **how) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"heads": ("median",)}, "There is no head 'median'"),
        ({"heads": ()}, "give one or more"),
        ({"controls": ("magic",)}, "There is no control 'magic'"),
        ({"seeds": 0}, "must be at least 1"),
    ],
)
def test_a_conduct_that_makes_no_sense_is_refused(how, said):
    with pytest.raises(ValueError, match=said):
        Conduct(**how)


def test_a_measure_of_classes_is_refused_for_values(people, small_encoder):
    with pytest.raises(ValueError, match="auroc is no measure of values"):
        run(problem(people(regression=True), regression=True, measures=("auroc",)), small_encoder())
