"""The folder of an entry is what the leaderboard reads, and says which sessions the weights have seen."""

import dataclasses
import json
import re
from datetime import date

import pytest

from brainbert.processing.corpora.brain_treebank import NEUROPROBE
from brainbert.processing.corpora.lineage import recording_mark
from brainbert.processing.decoding.submission import (
    NOT_PRETRAINED,
    RELEASED,
    RESPECTED,
    Entry,
    attestation,
    check_submission,
    missing_results,
    sessions_in_record,
    write_submission,
)

TASKS = ["speech", "pitch"]
FORBIDDEN = ((1, 1), (1, 2), (2, 4))
EXPECTED = {"Within-Session": ((1, 1), (1, 2)), "Cross-Session": ((1, 1), (1, 2)), "Cross-Subject": ((1, 1),)}
WHOLE = {"tasks": TASKS, "expected": EXPECTED}
ENTRY = Entry(
    model_name="Brain BERT/small",
    description="Made up",
    author=("Ada", "King_Lovelace"),
    organization="-",
    organization_url="-",
    seen=((1, 0), (1, 2)),
    day=date(2026, 3, 7),
)


def result(split="Within-Session", task="speech", session="btbank1_1", scores=(0.6, 0.7)):
    folds = [
        {"train_accuracy": 1.0, "train_roc_auc": 1.0, "test_accuracy": 0.5, "test_roc_auc": score} for score in scores
    ]
    return {"split": split, "task": task, "session": session, "folds": folds}


RESULTS = [result(task=task, session=session) for task in TASKS for session in ("btbank1_1", "btbank1_2")]


def written(folder, results=RESULTS, entry=ENTRY, **options):
    return write_submission(results, folder, entry, forbidden=FORBIDDEN, **WHOLE, **options)


def test_the_folder_holds_what_the_leaderboard_reads(tmp_path):
    path = written(tmp_path, [*RESULTS, *(result("Cross-Subject", task, scores=[0.5]) for task in TASKS)])
    assert path.name == "Brain-BERT-small_Ada_King-Lovelace_07_03_2026"
    content = json.loads((path / "Within-Session" / "population_speech.json").read_text())
    found = content["evaluation_results"]["btbank1_2"]["population"]["one_second_after_onset"]
    assert (found["time_bin_start"], found["time_bin_end"], len(found["folds"])) == (0.0, 1.0, 2)
    metadata = json.loads((path / "metadata.json").read_text())
    assert metadata == {name: content[name] for name in metadata}
    assert (metadata["author"], metadata["timestamp"]) == ("Ada King_Lovelace", 1772841600)
    assert "Wang" in (path / "PUBLICATION.bib").read_text()
    assert check_submission(path, **WHOLE) == pytest.approx({"Within-Session": 0.65, "Cross-Subject": 0.5})


def test_the_attestation_names_sessions_of_the_benchmark_that_were_seen():
    said = attestation(ENTRY, FORBIDDEN)
    assert said.count("SIGN Ada King_Lovelace") == 2
    assert RESPECTED in said
    assert NOT_PRETRAINED in said
    assert "does not hold for the following sessions" in said
    assert "labels): btbank1_2." in said
    assert "the weights have seen: btbank1_2, btbank1_0." in said
    clean = attestation(dataclasses.replace(ENTRY, seen=()), FORBIDDEN)
    assert "EXCEPTION" not in clean
    assert "the weights have seen: none." in clean


def test_the_released_weights_saw_19_sessions_of_which_the_benchmark_has_seven():
    both, every = attestation(dataclasses.replace(ENTRY, seen=RELEASED), NEUROPROBE).split("Sessions of Brain Treebank")
    assert len(re.findall(r"btbank\d+_\d+", every)) == 19
    exception = "btbank1_2, btbank2_0, btbank2_4, btbank3_1, btbank4_1, btbank7_1, btbank10_1."
    assert both.strip().endswith(f"(without labels): {exception}")


def test_an_older_folder_of_the_same_name_is_replaced(tmp_path):
    path = written(tmp_path, [*RESULTS, *(result("Cross-Subject", task, scores=[0.5]) for task in TASKS)])
    assert written(tmp_path) == path
    assert not (path / "Cross-Subject").exists()
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_an_older_folder_stays_as_it_was_when_the_new_one_is_refused(tmp_path):
    path = written(tmp_path)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match="there are 3 folds, and the split has 2"):
        written(tmp_path, [result(scores=[0.1, 0.2, 0.3]), *RESULTS[1:]])
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_partial_folder_is_written_only_when_asked_for_and_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"population_pitch.json lacks btbank1_2: a split needs all 2 sessions"):
        written(tmp_path, RESULTS[:3])
    with pytest.raises(ValueError, match=r"population_pitch.json is missing: a split needs all 2 tasks"):
        written(tmp_path, RESULTS[:2])
    path = written(tmp_path, RESULTS[:2], partial=True)
    assert path.name == "Brain-BERT-small-PARTIAL_Ada_King-Lovelace_07_03_2026"
    metadata = json.loads((path / "metadata.json").read_text())
    assert metadata["model_name"] == "Brain BERT/small PARTIAL"
    assert "PARTIAL: 2 results are missing" in metadata["description"]
    assert check_submission(path, partial=True, **WHOLE) == pytest.approx({"Within-Session": 0.65})
    with pytest.raises(ValueError, match="is missing"):
        check_submission(path, **WHOLE)
    assert "PARTIAL" not in written(tmp_path, partial=True).name


def test_sessions_and_tasks_that_the_benchmark_has_not_are_refused(tmp_path):
    with pytest.raises(ValueError, match="has btbank3_0, which Within-Session does not test on"):
        written(tmp_path, [*RESULTS, result(session="btbank3_0")])
    with pytest.raises(ValueError, match=r"population_rms.json is of no task"):
        written(tmp_path, [*RESULTS, result(task="rms")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: (path / "ATTESTATION.txt").unlink(), "has no ATTESTATION.txt"),
        (lambda path: (path / "ATTESTATION.txt").write_text(f"{RESPECTED}\nSIGN me"), "lacks one of the two"),
        (lambda path: (path / "PUBLICATION.bib").write_text("soon"), "no BibTeX entry"),
        (lambda path: (path / "metadata.json").write_text("{}"), "metadata.json has no model_name"),
        (lambda path: (path / "Within-Session/population_pitch.json").unlink(), "population_pitch.json is missing"),
        (lambda path: (path / "Within-Session/population_pitch.json").write_text("{"), "is not JSON"),
        (lambda path: rescored(path, test_roc_auc=1.2), "test_roc_auc is 1.2"),
        (lambda path: rescored(path, test_roc_auc=None), "test_roc_auc is None"),
        (lambda path: rescored(path, train_accuracy=float("nan")), "train_accuracy is nan"),
    ],
)
def test_what_the_leaderboard_would_refuse_is_refused(tmp_path, change, message):
    path = written(tmp_path)
    change(path)
    with pytest.raises(ValueError, match=message):
        check_submission(path, **WHOLE)


def rescored(path, **score):
    file = path / "Within-Session" / "population_speech.json"
    content = json.loads(file.read_text())
    content["evaluation_results"]["btbank1_1"]["population"]["one_second_after_onset"]["folds"][1] |= score
    file.write_text(json.dumps(content))


def test_a_folder_without_results_publication_or_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no result to submit"):
        written(tmp_path, [])
    with pytest.raises(ValueError, match="holds no BibTeX"):
        written(tmp_path, entry=dataclasses.replace(ENTRY, publication="soon"))
    with pytest.raises(ValueError, match="is not called MODEL_FIRST_LAST"):
        check_submission(written(tmp_path).rename(tmp_path / "mine"), **WHOLE)


def test_what_is_missing_is_named():
    expected = {"Within-Session": [(1, 1), (1, 2)], "Cross-Subject": [(1, 1)]}
    assert missing_results(RESULTS[1:], expected, TASKS) == [
        "Within-Session speech btbank1_1",
        "Cross-Subject speech btbank1_1",
        "Cross-Subject pitch btbank1_1",
    ]


def test_a_record_says_which_sessions_were_seen_only_where_all_its_recordings_are_of_the_treebank():
    named, other = (
        {"recording_marks": [recording_mark(name) for name in names]}
        for names in (("btbank10_1", "btbank1_0"), ("btbank2_1", "a copy"))
    )
    assert sessions_in_record({"corpora": [named]}) == ((1, 0), (10, 1))
    assert sessions_in_record({"corpora": [named, other]}) is None
    assert sessions_in_record({"corpora": [{"recordings": 1}]}) is None
    assert sessions_in_record({}) is None
