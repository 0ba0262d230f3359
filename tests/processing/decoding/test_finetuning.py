"""A head and an encoder learn a planted response, and the result is what was best on the validation windows."""

import gc
import sys

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy

from brainbert.modeling_brainbert import (
    BrainBertConfig,
    BrainBertFeatureExtractor,
    BrainBertForSequenceClassification,
)
from brainbert.processing.decoding.finetuning import Recipe, finetune, score_windows

TRAIN, VALIDATION, TEST = np.arange(100), np.arange(100, 130), np.arange(130, 200)
QUICK = Recipe(steps=60, batch_size=16, encoder_learning_rate=1e-3, validate_every=10)


def model_maker(outputs, *, dropout=0.1):
    config = BrainBertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        hidden_dropout_prob=dropout,
        num_labels=outputs,
    )
    return lambda: BrainBertForSequenceClassification(config)


@pytest.fixture(scope="module")
def windows():
    """200 windows of 1 s of 1/f² noise, (images, size): each with a 40 Hz burst in its middle, of 0 to 10 µV."""
    generator = np.random.default_rng(0)
    seconds = np.arange(2048) / 2048
    noise = generator.standard_normal((200, 2048)).cumsum(1)
    size = generator.uniform(0, 10, 200)
    burst = np.sin(2 * np.pi * 40 * seconds) * np.exp(-(((seconds - 0.5) / 0.15) ** 2))
    voltage = noise - noise.mean(1, keepdims=True) + size[:, None] * burst
    return BrainBertFeatureExtractor()(voltage, sampling_rate=2048)["input_values"].numpy(), size


@pytest.fixture(scope="module")
def accelerator():
    gc.freeze()  # Accelerate collects garbage after each model, which takes long where much was imported
    yield Accelerator(cpu=True)
    gc.unfreeze()


@pytest.fixture
def tune(windows, accelerator):
    def tune(targets, *, outputs=2, recipe=QUICK, validation=VALIDATION, images=windows[0], **settings):
        return finetune(
            model_maker(outputs, **settings),
            images,
            targets=targets,
            train=TRAIN,
            validation=validation,
            accelerator=accelerator,
            recipe=recipe,
            seed=1,
        )

    return tune


@pytest.fixture
def score(windows, accelerator):
    return lambda model, rows=TEST: score_windows(model, windows[0], rows, accelerator=accelerator)


def large(windows):
    return (windows[1] > 5).astype(np.int64)


def logits_of(model, images):
    with torch.no_grad():
        return model(torch.from_numpy(images)).logits


def test_a_planted_burst_is_learnt(windows, tune, score):
    tuned = tune(large(windows))
    assert roc_auc_score(large(windows)[TEST], score(tuned.model)[:, 0]) > 0.9


def test_scores_of_two_classes_are_the_log_odds_of_the_second(windows, tune, score):
    model = tune(large(windows)).model
    logits = logits_of(model, windows[0][TEST])
    np.testing.assert_allclose(score(model)[:, 0], logits[:, 1] - logits[:, 0], atol=1e-5)


def test_scores_of_three_classes_are_logarithms_of_probabilities(windows, tune, score):
    targets = np.digitize(windows[1], [3.3, 6.7])
    scores = score(tune(targets, outputs=3).model)
    assert scores.shape == (70, 3)
    np.testing.assert_allclose(np.exp(scores).sum(1), 1, atol=1e-6)
    assert (scores.argmax(1) == targets[TEST]).mean() > 0.6


def test_the_weights_are_those_of_the_lowest_validation_loss(windows, tune):
    targets = np.random.default_rng(0).permutation(large(windows))  # only overfitting is possible
    recipe = Recipe(steps=100, batch_size=16, encoder_learning_rate=3e-3, validate_every=10, class_weights=False)
    tuned = tune(targets, recipe=recipe)
    losses = {each["step"]: each["validation_loss"] for each in tuned.history}
    assert list(losses) == list(range(10, 101, 10))
    assert tuned.best_step == min(losses, key=losses.get) < 100
    again = cross_entropy(logits_of(tuned.model, windows[0][VALIDATION]), torch.from_numpy(targets[VALIDATION]))
    assert float(again) == pytest.approx(losses[tuned.best_step], abs=1e-5)
    assert losses[100] > losses[tuned.best_step] + 0.1


def test_learning_rates_fall_to_a_tenth_after_the_patience_and_training_ends_after_it_once_more(windows, tune):
    targets = large(windows)
    targets[VALIDATION] = 1 - targets[VALIDATION]  # what is learnt is wrong there, more so with every step
    recipe = Recipe(steps=1000, batch_size=16, encoder_learning_rate=1e-3, patience=20, validate_every=5)
    tuned = tune(targets, recipe=recipe, dropout=0.0)
    assert tuned.best_step == 5
    rates = {each["step"]: each["encoder_learning_rate"] for each in tuned.history}
    assert rates == pytest.approx(dict.fromkeys(range(5, 30, 5), 1e-3) | dict.fromkeys(range(30, 50, 5), 1e-4))


def test_without_validation_windows_all_steps_are_made(windows, tune):
    tuned = tune(large(windows), validation=np.arange(0))
    assert (tuned.best_step, tuned.history[-1]["step"], tuned.history[-1]["validation_loss"]) == (60, 60, None)


@pytest.mark.parametrize(("class_weights", "log_odds"), [(True, 0.0), (False, np.log(1 / 4))])
def test_one_in_five_counts_as_much_as_the_other_four(windows, tune, class_weights, log_odds):
    images = windows[0][:1].repeat(200, axis=0)  # which tell nothing, so that the prior is learnt
    recipe = Recipe(steps=100, batch_size=100, head_learning_rate=0.02, class_weights=class_weights)
    tuned = tune((np.arange(200) % 5 == 0).astype(np.int64), images=images, recipe=recipe, dropout=0.0)
    logits = logits_of(tuned.model, images[:1])[0]
    assert float(logits[1] - logits[0]) == pytest.approx(log_odds, abs=0.02)


def test_a_regression_answers_in_the_unit_of_its_targets(windows, tune, score):
    newton = 300 + 20 * windows[1]
    tuned = tune(newton, outputs=1)
    prediction = score(tuned.model)[:, 0]
    assert np.corrcoef(prediction, newton[TEST])[0, 1] > 0.8
    assert np.abs(prediction - newton[TEST]).mean() < 0.7 * np.abs(newton[TEST] - newton[TEST].mean()).mean()
    again = ((logits_of(tuned.model, windows[0][VALIDATION])[:, 0].numpy() - newton[VALIDATION]) ** 2).mean()
    least = min(each["validation_loss"] for each in tuned.history)
    assert again / newton[TRAIN].var() == pytest.approx(least, rel=1e-4)


def test_the_same_seed_gives_the_same_model_and_leaves_other_random_numbers_alone(windows, tune, score):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = score(tune(large(windows)).model)
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(score(tune(large(windows)).model), first)


def test_head_and_encoder_have_learning_rates_of_their_own(windows, tune):
    """The first step of AdamW is one learning rate long in every weight, but for weight decay."""
    torch.manual_seed(1)
    before = model_maker(2)().state_dict()
    recipe = Recipe(steps=1, batch_size=16, head_learning_rate=1e-2, encoder_learning_rate=1e-4)
    after = tune(large(windows), recipe=recipe).model.state_dict()
    change = {name: float((after[name] - before[name]).abs().median()) for name in before}
    assert change["classifier.weight"] == pytest.approx(1e-2, rel=0.1)
    assert change["brainbert.layers.0.output.weight"] == pytest.approx(1e-4, rel=0.1)


def test_lora_trains_matrices_of_its_rank_and_the_head_alone(windows, tune, score, tmp_path):
    torch.manual_seed(1)
    before = model_maker(2)().state_dict()
    tuned = tune(large(windows), recipe=Recipe(steps=60, batch_size=16, encoder_learning_rate=3e-3, lora=3))
    after = tuned.model.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    layer = "brainbert.layers.0"
    linear = [f"{layer}.attention.{name}_proj" for name in "qkvo"] + [f"{layer}.intermediate", f"{layer}.output"]
    linear = [f"{name}.weight" for name in (*linear, "brainbert.embeddings.projection")]
    assert changed == {*linear, "classifier.weight", "classifier.bias"}
    assert {int(torch.linalg.matrix_rank(after[name] - before[name], rtol=1e-4)) for name in linear} == {3}
    assert roc_auc_score(large(windows)[TEST], score(tuned.model)[:, 0]) > 0.85
    tuned.model.save_pretrained(tmp_path)
    saved = BrainBertForSequenceClassification.from_pretrained(tmp_path)
    assert np.array_equal(score(saved), score(tuned.model))


def test_lora_without_peft_says_what_to_install(windows, tune, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"pip install 'brainbert\[lora\]'"):
        tune(large(windows), recipe=Recipe(lora=4))


def test_outputs_that_do_not_fit_the_targets_are_refused(windows, tune):
    with pytest.raises(ValueError, match="3 outputs and a regression needs one"):
        tune(windows[1], outputs=3)
    with pytest.raises(ValueError, match="1 outputs and the training windows classes 0 to 1"):
        tune(large(windows), outputs=1)
    with pytest.raises(ValueError, match="No training window is of class 2"):
        tune(large(windows), outputs=3)
    with pytest.raises(ValueError, match="all equal"):
        tune(np.ones(200), outputs=1)


def test_a_loss_that_is_not_finite_ends_training(windows, tune):
    with pytest.raises(ValueError, match="not finite after 10 steps: lower the learning rates"):
        tune(large(windows), images=np.where(np.arange(200)[:, None, None] == 3, np.nan, windows[0]).astype(np.float32))


@pytest.mark.parametrize("name", ["head_learning_rate", "batch_size", "steps", "patience", "lora"])
def test_a_recipe_refuses_what_is_not_positive(name):
    with pytest.raises(ValueError, match=f"{name} is 0: it must be greater than 0"):
        Recipe(**{name: 0})
