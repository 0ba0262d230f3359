"""Scores of recordings become scores of people, and people are what intervals are over."""

import numpy as np
import pytest

from brainbert.processing.decoding.across_subjects import across_subjects

SUBJECTS = {"a1": "a", "a2": "a", "b1": "b", "c1": "c"}
SCORES = {
    "pretrained": {"a1": 0.8, "a2": 0.6, "b1": 0.9, "c1": 0.7},
    "untrained": {"a1": 0.6, "a2": 0.6, "b1": 0.8, "c1": 0.5},
}


def test_a_subject_with_two_recordings_counts_once():
    found = across_subjects(SCORES, SUBJECTS, model="pretrained")
    own, other = found["systems"]
    assert (found["unit"], found["units"]) == ("subject", 3)
    assert own["subjects"] == pytest.approx({"a": 0.7, "b": 0.9, "c": 0.7})
    assert own["score"] == pytest.approx((0.7 + 0.9 + 0.7) / 3)
    assert other["score"] == pytest.approx((0.6 + 0.8 + 0.5) / 3)


def test_differences_are_paired_so_that_an_equal_gain_of_all_has_no_width():
    gains = {"pretrained": SCORES["pretrained"], "untrained": {k: v - 0.1 for k, v in SCORES["pretrained"].items()}}
    found = across_subjects(gains, SUBJECTS, model="pretrained")
    (difference,) = found["differences"]
    assert difference["difference"] == pytest.approx(0.1)
    assert difference["interval"] == pytest.approx([0.1, 0.1])
    # Of .7, .9, .7: deviation .1155, over the root of 3, times 4.303 (Student, two degrees of freedom); 1 is the most.
    assert found["systems"][0]["interval"] == pytest.approx([0.7667 - 0.2868, 1.0], abs=2e-4)
    assert "beat its only control, its untrained twin, by +0.100" in found["verdict"]


def test_two_subjects_that_agree_are_no_proof():
    scores = {"pretrained": {"b1": 0.71, "c1": 0.72}, "untrained": {"b1": 0.70, "c1": 0.70}}
    found = across_subjects(scores, SUBJECTS, model="pretrained")
    # .01 and .02: 12.706 standard errors of .005.
    assert found["differences"][0]["interval"] == pytest.approx([0.015 - 0.06353, 0.015 + 0.06353], abs=1e-5)
    assert found["differences"][0]["p"] == pytest.approx(0.2048, abs=1e-4)
    assert "cannot be told from its untrained twin" in found["verdict"]


def test_systems_are_compared_over_the_subjects_that_both_have():
    scores = {**SCORES, "untrained": {"b1": 0.8, "c1": 0.5}}
    (difference,) = across_subjects(scores, SUBJECTS, model="pretrained")["differences"]
    assert difference["difference"] == pytest.approx(np.mean([0.1, 0.2]))


def test_systems_of_any_name_are_compared_without_a_verdict():
    found = across_subjects({"a": SCORES["untrained"], "b": SCORES["pretrained"]}, SUBJECTS, model="a")
    assert found["differences"][0]["difference"] < 0
    assert found["verdict"] is None


def test_one_subject_says_nothing_of_others():
    one = {name: {"a1": 0.8, "a2": 0.6} for name in SCORES}
    found = across_subjects(one, SUBJECTS, model="pretrained")
    assert [system["interval"] for system in found["systems"]] == [None, None]
    assert found["differences"][0]["interval"] is None
    assert found["verdict"] is None


def test_chance_of_four_recordings_is_half_as_wide():
    chance = {"pretrained": dict.fromkeys(SUBJECTS, (0.4, 0.6))}
    own = across_subjects(SCORES, SUBJECTS, model="pretrained", chance=chance)["systems"][0]
    assert own["chance"] == pytest.approx([0.45, 0.55])


def test_a_model_without_scores_is_refused():
    with pytest.raises(ValueError, match="There is no score of fine-tuned"):
        across_subjects(SCORES, SUBJECTS, model="fine-tuned")
