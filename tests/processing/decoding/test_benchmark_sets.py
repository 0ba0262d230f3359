"""From files in the formats that are published to rows: what was planted is found, and nothing where nothing was."""

import importlib
from pathlib import Path

import pytest

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertModel
from brainbert.processing.corpora import mayo_fnusa
from brainbert.processing.decoding import Encoder
from brainbert.processing.decoding.benchmark import Conduct
from brainbert.processing.decoding.benchmark_run import run_problem
from brainbert.processing.decoding.benchmark_sets import dreamt_benchmark, du_in_benchmark, mayo_benchmark

EXAMPLES = Path(__file__).parents[3] / "examples"
LIGHT = Conduct(controls=("spectrogram",), untrained_seeds=0, draws=400)


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """Files of a set, with signals or without, written once."""
    roots = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)

        def make(name, *, planted, **how):
            if (name, planted) not in roots:
                roots[name, planted] = tmp_path_factory.mktemp("data") / name
                module = importlib.import_module(f"generated_{name}")
                module.generate(roots[name, planted], planted=planted, **how)
            return roots[name, planted]

        yield make


@pytest.fixture(scope="module")
def wearable():
    config = BrainBertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    extractor = BrainBertFeatureExtractor.named("wearable")
    return Encoder(model=BrainBertModel(config), extractor=extractor, pooling="mean", layer=1)


def run(benchmark, encoder):
    return [run_problem(problem, encoder, LIGHT, progress=False) for problem in benchmark.problems]


def measures(result, name="spectrogram"):
    return next(row["measures"] for row in result["rows"] if row["name"] == name)


def within_chance(result, measure):
    entries = [measures(result, name)[measure] for name in ("pretrained", "spectrogram")]
    return all(entry["chance"][0] <= entry["score"] <= entry["chance"][1] for entry in entries)


def test_pathological_clips_are_found_in_patients_who_were_not_trained_on(generated, small_encoder):
    root = generated("mayo_fnusa", planted=True, names=("FNUSA",))
    (result,) = run(mayo_benchmark(root, sampling_rate=512, name="FNUSA"), small_encoder())
    auroc = measures(result)["auroc"]
    assert auroc["score"] > max(0.8, auroc["chance"][1])
    tested = [fold["test"]["subjects"] for fold in result["folds"]]
    assert [sorted(map(patient, fold)) for fold in tested] == [sorted(group) for group in mayo_fnusa.GROUPS["FNUSA"]]
    for fold in result["folds"]:
        parts = [set(fold[part]["subjects"]) for part in ("train", "validation", "test")]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 13
    assert len(result["by_unit"]["names"]) == 13


def patient(name):
    return int(name.removeprefix("FNUSA-"))


def test_nothing_is_found_in_clips_without_a_signal(generated, small_encoder):
    root = generated("mayo_fnusa", planted=False, names=("FNUSA",))
    (result,) = run(mayo_benchmark(root, sampling_rate=512, name="FNUSA"), small_encoder())
    assert within_chance(result, "auroc")


def test_words_are_found_at_contacts_that_training_windows_chose(generated, small_encoder):
    root = generated("du_in", planted=True)
    benchmark = du_in_benchmark(root, sampling_rate=512, most_contacts=4)
    (result, *_) = run(benchmark, small_encoder())
    accuracy, loss = measures(result)["accuracy"], measures(result)["cross-entropy"]
    assert accuracy["score"] > accuracy["chance"][1]
    assert loss["score"] < measures(result, "constant")["cross-entropy"]["score"]


def test_no_words_are_found_without_a_signal(generated, small_encoder):
    root = generated("du_in", planted=False)
    results = run(du_in_benchmark(root, sampling_rate=512, most_contacts=4), small_encoder())
    assert all(within_chance(result, "accuracy") for result in results)


def test_wake_of_one_epoch_in_five_is_found_and_temperature_to_its_noise(generated, wearable):
    root = generated("dreamt", planted=True)
    noise = importlib.import_module("generated_dreamt").TEMPERATURE_NOISE_C
    sleep, temperature = run(dreamt_benchmark(root, sampling_rate=64), wearable)
    assert sleep["windows"]["sleep"] > 3 * sleep["windows"]["wake"]
    assert measures(sleep)["balanced-accuracy"]["score"] > 0.9
    assert measures(sleep, "constant")["balanced-accuracy"]["score"] == 0.5
    assert measures(temperature)["rmse"]["score"] < 1.15 * noise
    assert measures(temperature, "constant")["rmse"]["score"] > 2.5 * noise
    assert {fold["test"]["windows"] for fold in sleep["folds"]}


def test_neither_wake_nor_temperature_is_found_without_a_signal(generated, wearable):
    sleep, temperature = run(dreamt_benchmark(generated("dreamt", planted=False), sampling_rate=64), wearable)
    assert within_chance(sleep, "auroc")
    assert within_chance(temperature, "r")
    assert measures(temperature)["rmse"]["score"] > 0.95 * measures(temperature, "constant")["rmse"]["score"]
