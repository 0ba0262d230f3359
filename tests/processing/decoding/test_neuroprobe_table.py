"""Means are over folds, sessions and tasks, differences and their intervals over subjects; one page of all."""

import pytest

from brainbert.processing.decoding.neuroprobe_page import write_table
from brainbert.processing.decoding.neuroprobe_table import as_text, summarise, verdicts

SESSIONS = ["btbank1_1", "btbank1_2", "btbank2_4", "btbank3_0", "btbank4_0"]


def results(scores, *, split="Within-Session", lack=()):
    """scores: (task, session) → AUROC of both folds."""
    return [
        {
            "split": split,
            "task": task,
            "session": session,
            "folds": [{"test_roc_auc": scores(task, session) + shift} for shift in (-0.01, 0.01)],
            "contacts": {"train": 3, "test": 3},
            "without_signal": 2,
        }
        for task in ("speech", "pitch")
        for session in SESSIONS
        if (task, session) not in lack
    ]


@pytest.fixture
def table():
    ours = results(lambda task, session: 0.7 if task == "speech" else 0.6)
    other = results(lambda task, _: 0.66 if task == "speech" else 0.6, lack=[("pitch", "btbank4_0")])
    return summarise({"mine": ours, "spectrogram": other}, encoders=["mine"])


def test_scores_are_means_over_folds_sessions_and_tasks(table):
    mine, other = (row["splits"]["Within-Session"] for row in table["rows"])
    assert mine["auroc"] == pytest.approx(0.65)
    assert (mine["tasks"], mine["sessions"], mine["without_signal"]) == (2, 5, 10)
    assert other["by_task"] == pytest.approx({"speech": 0.66, "pitch": 0.6})
    assert [row["Cross-Subject"] for row in table["published"]][-3:] == [0.547, 0.522, 0.527]


def test_differences_are_over_what_both_have_and_intervals_over_subjects(table):
    (each,) = table["differences"]
    assert each["sessions"] == pytest.approx(dict.fromkeys(SESSIONS, 0.02) | {"btbank4_0": 0.04})
    # Of four subjects: 0.02, 0.02, 0.02, 0.04; error 0.005, and Student's t of three degrees of freedom is 3.182.
    assert each["difference"] == pytest.approx(0.025)
    assert each["subjects"] == 4
    assert each["interval"] == pytest.approx([0.025 - 3.182 * 0.005, 0.025 + 3.182 * 0.005], abs=1e-5)
    assert verdicts(table) == ["mine minus spectrogram: Within-Session +0.025 (+0.009 to +0.041): above."]


def test_what_is_as_often_worse_is_not_shown_and_one_subject_has_no_interval():
    shifts = dict(zip(SESSIONS, [0.03, 0.03, -0.04, 0.02, -0.03], strict=True))
    same = results(lambda *_: 0.6)
    table = summarise({"mine": results(lambda _, session: 0.6 + shifts[session]), "b": same}, encoders=["mine"])
    assert verdicts(table)[0].endswith("not shown.")
    alone = [each for each in same if each["session"].startswith("btbank1")]
    table = summarise({"mine": alone, "b": alone}, encoders=["mine"])
    assert table["differences"][0]["interval"] is None
    assert "one subject: no interval" in verdicts(table)[0]


def test_published_rows_are_beside_ours(table):
    lines = as_text(table)
    assert lines[1].split() == ["mine", "0.650"]
    assert any(
        line.startswith("published: BrainBERT") and line.endswith("0.626           0.633          0.547")
        for line in lines
    )


def test_the_page_is_the_same_again_and_escapes_names(table, tmp_path):
    for row in table["rows"]:
        row["name"] = row["name"].replace("mine", "<mine>")
    table |= {
        "benchmark": "Lite",
        "version": "0.1.8",
        "settings": {"features": "mean"},
        "tasks": {"speech": "Speech", "pitch": "Voice Pitch"},
        "seen": {"<mine>": "its weights have seen btbank1_2 of these sessions"},
        "notes": ["A note."],
    }
    path = write_table(table, tmp_path)
    page = path.read_text(encoding="utf-8")
    assert "&lt;mine&gt;" in page
    assert "<mine>" not in page
    assert page.count("data:image/svg+xml") == 1
    assert "its weights have seen btbank1_2" in page
    assert "0.650" in page
    assert write_table(table, tmp_path).read_text(encoding="utf-8") == page
