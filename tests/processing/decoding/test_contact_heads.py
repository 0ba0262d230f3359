"""Heads over contacts find what one contact shows, in training windows alone, and take contacts as they come."""

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from brainbert.processing.decoding import Fold, Recipe, Split, finetuned_scores
from brainbert.processing.decoding.contact_heads import (
    HEADS,
    choose_contacts,
    classifier_maker,
    head_scores,
    stacked_inputs,
    take_contacts,
)
from brainbert.processing.decoding.contact_modules import AttentionOverContacts, MeanOfContacts, SideBySide

TRAINED = ("network", "attention")
QUICK = Recipe(steps=100, patience=50, validate_every=10)
BRIEF = Recipe(steps=10, patience=20, validate_every=10)  # where only equality is asked for
POSITIONS = np.array([[10.0, -20, 30], [13.5, -20, 30], [40, 0, 5], [-35, 10, 0]])


@pytest.fixture(scope="module")
def accelerator():
    gc.freeze()  # Accelerate collects garbage after each model, which takes long where much was imported
    yield Accelerator(cpu=True)
    gc.unfreeze()


@pytest.fixture(scope="module")
def problem(windows_of):
    """Windows of six people, two for each part of a fold; and features of four contacts, noise alone."""

    def make(target, *, folds=1, features=8):
        person = np.repeat(np.arange(6), len(target) // 6)
        epochs = windows_of(target, recording=person)
        parts = [
            Fold(
                train=np.flatnonzero((person // 2 - number) % 3 == 2),
                test=np.flatnonzero(person // 2 == number),
                name=str(number),
                validation=np.flatnonzero((person // 2 - number) % 3 == 1),
            )
            for number in range(folds)
        ]
        split = Split(name="groups", folds=tuple(parts), unit=person, unit_name="person")
        noise = np.random.default_rng(0).standard_normal((4, len(target), features)).astype(np.float32)
        return epochs, split, noise

    return make


@pytest.fixture(scope="module")
def rare(problem):
    """A class of one window in five, which contact 2 tells by two of its features."""
    epochs, split, features = problem((np.random.default_rng(1).random(900) < 0.2).astype(np.int64))
    features[2, :, :2] += 2.5 * epochs.target[:, None]
    return epochs, split, features


@pytest.fixture(scope="module")
def scores_of(accelerator):
    def scores_of(features, epochs, split, head, *, recipe=QUICK, **how):
        how = {"recipe": recipe, "accelerator": accelerator, "progress": False, **how}
        return head_scores(features, epochs, split, head, **how)[0]

    return scores_of


def in_test(split, values):
    return values[split.folds[0].test]


@pytest.mark.parametrize("head", HEADS)
def test_every_head_finds_the_contact_that_tells_and_weighs_a_rare_class(rare, scores_of, head):
    epochs, split, features = rare
    scores = scores_of(features, epochs, split, head)
    assert scores.shape == (900, 1)
    assert np.array_equal(np.flatnonzero(np.isfinite(scores[:, 0])), split.folds[0].test)
    target, odds = in_test(split, epochs.target), in_test(split, scores[:, 0])
    # Contact 2 alone: 3.5 deviations apart, AUROC .99 and recall .96 at best; its mean with three others that
    # tell nothing: 1.8 deviations, .89 and .81.
    assert roc_auc_score(target, odds) > (0.83 if head == "mean" else 0.95)
    assert balanced_accuracy_score(target, odds > 0) > (0.72 if head == "mean" else 0.87)


@pytest.mark.parametrize("head", TRAINED)
def test_without_class_weights_a_faint_rare_class_is_hardly_ever_called(problem, scores_of, head):
    epochs, split, features = problem((np.random.default_rng(1).random(900) < 0.2).astype(np.int64))
    features[:, :, 0] += 0.6 * epochs.target
    weighted, plain = (
        balanced_accuracy_score(
            in_test(split, epochs.target),
            in_test(split, scores_of(features, epochs, split, head, recipe=recipe)[:, 0]) > 0,
        )
        for recipe in (QUICK, replace(QUICK, class_weights=False))
    )
    assert weighted > plain + 0.05


@pytest.mark.parametrize("head", HEADS)
def test_nothing_is_found_where_there_is_nothing(problem, scores_of, head):
    epochs, split, features = problem(np.random.default_rng(1).permutation(np.arange(1200) % 2))
    scores = scores_of(features, epochs, split, head)
    # Three standard deviations of the AUROC of 200 against 200 windows are .087.
    assert abs(roc_auc_score(in_test(split, epochs.target), in_test(split, scores[:, 0])) - 0.5) < 0.087


@pytest.mark.parametrize("head", HEADS)
def test_a_regression_gets_down_to_the_noise_of_its_values(problem, scores_of, head):
    random = np.random.default_rng(2)
    value, noise = random.standard_normal(4500), 0.3 * random.standard_normal(4500)
    epochs, split, features = problem(33 + value + noise, features=3)
    features[1, :, 0], features[3, :, 1] = value, -value
    if head == "mean":
        features[:, :, 0] = value
    scores = scores_of(features, epochs, split, head, recipe=Recipe(steps=300, patience=60, validate_every=20))
    error = in_test(split, scores[:, 0] - epochs.target)
    assert np.sqrt(np.square(error).mean()) < 1.05 * np.sqrt(np.square(in_test(split, noise)).mean())


@pytest.mark.parametrize("head", HEADS)
def test_what_an_absent_contact_holds_changes_nothing_and_a_window_without_any_has_no_score(rare, scores_of, head):
    epochs, split, features = rare
    features = features.copy()
    features[1, ::7] = np.nan
    features[:, 50] = np.nan
    first = scores_of(features, epochs, split, head, recipe=BRIEF)
    features[1, ::7, 3:] = 1e6  # still not finite in its first features
    np.testing.assert_array_equal(first, scores_of(features, epochs, split, head, recipe=BRIEF))
    assert np.flatnonzero(np.isnan(in_test(split, first[:, 0]))).tolist() == [50]


@pytest.mark.parametrize("head", HEADS)
def test_the_score_of_a_window_does_not_depend_on_other_test_windows_or_test_labels(rare, scores_of, head):
    epochs, split, features = rare
    test = split.folds[0].test
    others, target = features.copy(), epochs.target.copy()
    others[:, test[1:300:2]] += 100
    others[1, test[2:300:2]] = np.nan
    target[test] = 1 - target[test]
    first = scores_of(features, epochs, split, head, recipe=BRIEF)[test[0]]
    again = scores_of(others, replace(epochs, target=target), split, head, recipe=BRIEF)[test[0]]
    np.testing.assert_allclose(first, again, rtol=1e-5)


def test_attention_is_trained_to_the_same_scores_in_whatever_order_contacts_come(rare, scores_of):
    epochs, split, features = rare
    order = [3, 1, 0, 2]
    first = scores_of(features, epochs, split, "attention", positions=POSITIONS, recipe=BRIEF)
    again = scores_of(features[order], epochs, split, "attention", positions=POSITIONS[order], recipe=BRIEF)
    np.testing.assert_allclose(in_test(split, again), in_test(split, first), atol=1e-3)


@pytest.mark.parametrize("known", [True, False])
def test_attention_tells_contacts_apart_by_where_they_are_and_by_themselves_where_nobody_knows(known):
    torch.manual_seed(0)
    head = AttentionOverContacts(8, 3, contacts=4, positions=POSITIONS if known else None)
    embeddings, there = torch.randn(5, 4, 8), torch.ones(5, 4, dtype=torch.bool)
    exchanged = head(embeddings[:, [1, 0, 2, 3]], there)
    assert not torch.allclose(head(embeddings, there), exchanged, atol=1e-2)


def test_features_of_positions_are_alike_within_a_millimetre_and_unrelated_from_contact_to_contact():
    shaft = np.array([[0.0, 0, 0], [0, 0.5, 0], [0, 3.5, 0], [0, 7, 0]])
    places = AttentionOverContacts(8, 3, contacts=4, positions=shaft).places.numpy()
    # 128 random features: exp(-d² / (2 · 2²)) within three standard errors, .27.
    np.testing.assert_allclose((places[0] * places).mean(axis=1), [1, 0.97, 0.22, 0.002], atol=0.27)


@pytest.mark.parametrize(
    "head", [MeanOfContacts(8, 2), SideBySide(8, 2, contacts=3, hidden=4), AttentionOverContacts(8, 2, contacts=3)]
)
def test_no_module_sees_what_is_absent(head):
    there = torch.tensor([[True, False, True]])
    embeddings = torch.randn(1, 3, 8)
    other = embeddings.clone()
    other[0, 1] = 7.0
    torch.testing.assert_close(head(embeddings, there), head(other, there))


def test_the_mean_is_over_the_contacts_that_are_there():
    head = MeanOfContacts(2, 1)
    embeddings = torch.tensor([[[1.0, 3], [5, 7], [3, 5]]])
    there = torch.tensor([[True, False, True]])
    torch.testing.assert_close(head(embeddings, there), head.output(torch.tensor([[2.0, 4]])))


def test_contacts_are_chosen_in_the_training_windows_of_each_fold_alone(problem):
    epochs, split, features = problem(np.random.default_rng(1).permutation(np.arange(300) % 3), folds=2)
    features[2, :, :3] += 2 * np.eye(3)[epochs.target]
    assert [each.tolist() for each in choose_contacts(features, epochs, split, 1)] == [[2], [2]]
    fold = split.folds[0]
    outside = np.concatenate([fold.test, fold.validation])
    target, others = epochs.target.copy(), features.copy()
    target[outside] = (target[outside] + 1) % 3
    others[1, outside, :3] += 50 * np.eye(3)[target[outside]]
    again = choose_contacts(others, replace(epochs, target=target), split, 1)
    assert [each.tolist() for each in again] == [[2], [1]]  # which trains on what the first fold does not


def test_a_regressions_contact_is_chosen_too(problem):
    epochs, split, features = problem(np.random.default_rng(1).standard_normal(120))
    features[3, :, 0] = epochs.target
    assert choose_contacts(features, epochs, split, 2)[0][-1] == 3


@pytest.mark.parametrize("head", HEADS)
def test_folds_may_have_contacts_of_their_own(problem, scores_of, head):
    epochs, split, features = problem(np.random.default_rng(1).permutation(np.arange(120) % 2), folds=3)
    chosen = [np.array(each) for each in ([0, 1], [1, 2], [0, 3])]
    taken = take_contacts(features, chosen)
    together = scores_of(taken, epochs, split, head, recipe=BRIEF)
    alone = scores_of(features[[0, 1]], epochs, replace(split, folds=split.folds[:1]), head, recipe=BRIEF)
    np.testing.assert_array_equal(in_test(split, together), in_test(split, alone))
    assert np.isfinite(together).all()


def test_scores_that_were_kept_are_those_of_the_same_head_and_positions(problem, scores_of, tmp_path):
    epochs, split, features = problem(np.random.default_rng(1).permutation(np.arange(120) % 2))
    how = {"folder": tmp_path, "recipe": BRIEF}
    first = scores_of(features, epochs, split, "attention", **how)
    assert np.array_equal(scores_of(features, epochs, split, "attention", **how), first, equal_nan=True)
    assert len(list(tmp_path.iterdir())) == 1
    for head, positions in (("attention", POSITIONS), ("network", None)):
        scores_of(features, epochs, split, head, positions=positions, **how)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("head", HEADS)
def test_an_encoder_is_fine_tuned_with_a_head_and_contacts_that_are_absent(small_encoder, problem, accelerator, head):
    epochs, split, _ = problem(np.random.default_rng(1).permutation(np.arange(90) % 2))
    inputs = np.random.default_rng(0).standard_normal((3, 90, 12, 40)).astype(np.float32)
    inputs[1] += 1.5 * epochs.target[:, None, None]
    inputs[0, ::5] = np.nan
    inputs[:, 3] = np.nan
    stacked = stacked_inputs(inputs)
    assert stacked.shape == (1, 90, 3, 12, 40)
    assert not stacked[0, 5, 0].any()
    scores, records = finetuned_scores(
        classifier_maker(small_encoder(), 2, head, contacts=3, positions=POSITIONS[:3], pretrained=True),
        stacked,
        epochs=epochs,
        split=split,
        contacts=["all"],
        accelerator=accelerator,
        recipe=Recipe(steps=20, patience=20, validate_every=10, batch_size=16),
        progress=False,
    )
    assert records[0]["windows"] == {"train": 30, "validation": 30, "test": 29}
    there = np.isfinite(scores[0, :, 0])
    assert there.sum() == 29
    assert roc_auc_score(epochs.target[there], scores[0, there, 0]) > 0.9


def test_pretrained_weights_are_in_the_model_that_is_fine_tuned_and_fresh_ones_are_not(small_encoder):
    encoder = small_encoder()
    weights = encoder.model.state_dict()
    for pretrained in (True, False):
        model = classifier_maker(encoder, 2, "mean", contacts=2, pretrained=pretrained)()
        same = [torch.equal(weights[name], each) for name, each in model.base_model.state_dict().items()]
        assert all(same) is pretrained
        assert model.config.num_labels == 2
        assert model.base_model.config.pooling == "mean"


@pytest.mark.parametrize(
    ("head", "how", "said"),
    [
        ("median", {}, "There is no head 'median': choose from mean, concatenation, network, attention"),
        ("attention", {"positions": np.zeros((3, 3))}, r"positions are \(3, 3\); give \(4 contacts, 3\) in mm"),
        ("network", {"recipe": Recipe(lora=8)}, "lora is 8, and a head on frozen embeddings has no encoder"),
    ],
)
def test_what_makes_no_sense_is_refused(rare, scores_of, head, how, said):
    epochs, split, features = rare
    with pytest.raises(ValueError, match=said):
        scores_of(features, epochs, split, head, **how)


def test_more_contacts_than_there_are_cannot_be_chosen(rare):
    epochs, split, features = rare
    with pytest.raises(ValueError, match="count is 5; choose from 1 to 4 contacts"):
        choose_contacts(features, epochs, split, 5)
