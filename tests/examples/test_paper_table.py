"""The program that makes the paper's table, on generated roots: its plan, its stages, and its page."""

import importlib
import json
import re
import shutil

import pytest

from brainbert.processing.corpora.brain_treebank import HELD_OUT, PRETRAINING, SESSIONS, open_session, session_facts

QUICK = ["--without", "waveform-network", "waveform", "--untrained-seeds", "1", "--fine-tune-steps", "1"]
QUICK += ["--split", "blocked", "paper", "--few-shot-sizes", "10", "20"]
QUICK += ["--draws", "200", "--folds", "2", "--jobs", "1", "--available"]


@pytest.fixture
def module(as_a_program):
    return importlib.import_module


@pytest.fixture(scope="module")
def make_root(tmp_path_factory):
    """Generate a root once for all tests; programs lie beside each other, so that the fixture above imports them."""
    made = {}

    def make(generate, name, **how):
        if name not in made:
            made[name] = generate(tmp_path_factory.mktemp("roots") / name, words="made-up", **how)
        return made[name]

    return make


@pytest.fixture
def layout(module, make_root):
    """All sessions as they lie on a disk, 3 minutes each; their voltage has a size and no content."""
    generate = module("generated_treebank").generate
    return make_root(generate, "layout", minutes=3, sessions=SESSIONS, with_voltage=False)


@pytest.fixture
def root(module, make_root):
    """A session to decode, one to pretrain on of the same subject, and one of another."""
    return make_root(module("generated_treebank").generate, "root", minutes=6, sessions=[(4, 0), (4, 1), (9, 0)])


@pytest.fixture
def one_second_each(module, monkeypatch):
    """A machine that takes a millisecond for a clip, a window and a contact's second."""
    speed = module("paper_speed").Speed(
        condition=1e-3,
        check=1e-3,
        train=dict.fromkeys(("stft", "superlet"), 1e-3),
        embed=dict.fromkeys(("stft", "superlet"), 1e-3),
        probe=1e-3,
        probe_network=1e-3,
    )
    monkeypatch.setattr(module("paper_plan"), "measure", lambda *_: speed)


@pytest.fixture
def plan_of(run_in, tmp_path, capsys, one_second_each):
    def plan(root, *flags):
        run_in(tmp_path, "paper_table", str(root), "--out", "out", "--dry-run", *flags)
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().out

    return plan


def line_of(plan, name):
    return next(line for line in plan.splitlines() if line.startswith(name))


def test_the_plan_counts_what_the_small_files_say(layout, plan_of):
    plan = plan_of(layout)
    facts = [session_facts(layout, *session) for session in PRETRAINING]
    # Of 12 contacts in threes the middle ones have both neighbours.
    clips = sum(int(each.duration_s // 5) * 4 for each in facts)
    line = line_of(plan, "corpus, 19 sessions")
    assert f"{sum(each.duration_s for each in facts) / 3600:,.1f}" in line
    assert f" {4 * len(PRETRAINING)} " in line
    assert f"{clips:,} clips of 5 s" in line
    assert f" {clips * 10240 * 4 / 1e9:,.1f} GB " in line
    assert "36 hours" in line_of(plan, "pretraining stft ")  # 500,000 steps of 256 clips of a millisecond
    assert len(re.findall("^pretraining ", plan, re.MULTILINE)) == 4
    assert f"{4 * len(HELD_OUT)}" in line_of(plan, "conditioning, 7 sessions to decode")
    # Two models for each of 28 contacts, 5 folds and 4 tasks, of 64,000 windows each.
    assert "1,120 models" in line_of(plan, "fine-tuning")
    assert f"{1120 * 64 / 3600:,.0f} hours" in line_of(plan, "fine-tuning")


def test_the_plan_is_as_short_as_what_is_asked_for(layout, plan_of):
    plan = plan_of(layout, "--ablations", "masks", "--hold-out", "3", "--without", "fine-tuned", "few-shot")
    models = re.findall("^pretraining (.+?)  ", plan, re.MULTILINE)
    assert models == ["stft", "superlet", "superlet-static", "stft-without-3"]
    assert "fine-tuning" not in plan
    assert "few-shot" not in plan


def test_the_plan_says_which_sessions_neuroprobe_forbids_and_can_do_without(layout, plan_of):
    assert "pretrains on 1_2, 2_0, 2_4, 3_1, 4_1, 7_1, 10_1, which Neuroprobe tests on" in " ".join(
        plan_of(layout).split()
    )
    safe = plan_of(layout, "--neuroprobe-safe")
    assert "corpus, 12 sessions" in safe
    assert "Neuroprobe" not in safe


def test_pretraining_on_what_neuroprobe_tests_on_has_to_be_allowed(run_in, root, tmp_path):
    with pytest.raises(ValueError, match=r"Sessions 4_1 are those that Neuroprobe tests on.*--allow-neuroprobe"):
        run_in(tmp_path, "paper_table", str(root), "--out", "out", "--available")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_not_gone_on_with_for_other_files_of_the_same_sessions(module, root, tmp_path, monkeypatch):
    other = shutil.copytree(root, tmp_path / "other")
    (voltage,) = other.rglob("sub_4_trial000.h5")
    with voltage.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    program, sessions = module("paper_table"), module("paper_plan").Sessions([], [(4, 0)])

    def start(source):
        monkeypatch.setattr("sys.argv", ["", str(source), "--out", str(tmp_path / "out"), "--available"])
        program.start(program.parse_arguments(), sessions)

    start(root)
    start(root)
    with pytest.raises(ValueError, match=r"The files of btbank4_0 are not those that .* was begun with"):
        start(other)


def test_superlets_are_compared_with_the_stft_under_the_same_masks_and_under_their_own(module, root, monkeypatch):
    monkeypatch.setattr("sys.argv", ["", str(root), "--out", "out", "--ablations", "superlets"])
    args, models = module("paper_table").parse_arguments(), module("paper_models")
    assert models.models_of(args) == ["stft", "superlet", "superlet-static"]
    assert ("superlet-static", "stft") in models.pairs_of(args, 3)
    assert ("superlet", "stft") in models.pairs_of(args, 3)


def test_what_a_gpu_takes_is_unknown_and_not_made_up(layout, plan_of):
    assert "On a GPU: unknown, not measured" in plan_of(layout)
    assert "GPU" not in plan_of(layout, "--preset", "tiny")


def test_missing_sessions_are_refused_unless_what_is_there_is_enough(root, plan_of):
    with pytest.raises(ValueError, match=r"lacks 23 of the sessions .*1_0, 1_1, .*--available"):
        plan_of(root)
    plan = plan_of(root, "--available")
    assert "corpus, 2 sessions" in plan
    assert "conditioning, 1 session to decode" in plan
    with pytest.raises(ValueError, match="--hold-out 9 has no session to decode: choose among 4"):
        plan_of(root, "--available", "--hold-out", "9")


def test_a_few_contacts_are_of_all_shafts_and_the_seed_draws_them(module):
    choose = module("paper_stages").choose_contacts
    names = tuple(f"{shaft}{number}" for shaft in ("LA", "LB", "RA") for number in range(1, 9))
    chosen = choose(names, 7, seed=0)
    assert len(chosen) == 7
    assert list(chosen) == sorted(chosen, key=names.index)
    assert sorted(sum(name.startswith(shaft) for name in chosen) for shaft in ("LA", "LB", "RA")) == [2, 2, 3]
    assert choose(names, 7, seed=0) == chosen
    assert choose(names, 7, seed=1) != chosen
    assert choose(names, 0, seed=0) == choose(names, 24, seed=0) == names


def test_every_model_is_pretrained_by_a_command_that_the_program_takes(module, root, tmp_path, monkeypatch):
    models, recipe = module("paper_models"), module("recipe")
    monkeypatch.setattr("sys.argv", ["", str(root), "--out", str(tmp_path), "--hold-out", "4", "--steps", "20"])
    args = module("paper_table").parse_arguments()
    said = {}
    monkeypatch.setattr(models, "_call", lambda words: said.update({words[words.index("--out") + 1]: words}) or 0)
    for name in models.models_of(args):
        with pytest.raises(KeyboardInterrupt):  # it leaves no model: it was stopped
            models.pretrain(args, name, [(4, 1), (9, 0)])
    found = {path.rpartition("/")[2]: recipe.parse_arguments("Pretrain.", words[2:]) for path, words in said.items()}
    assert list(found) == ["stft", "stft-no-content", "superlet", "superlet-static", "stft-without-4"]
    assert {name: (each.transform, each.masks, each.content_weight) for name, each in found.items()} == {
        "stft": ("stft", "static", 2),
        "stft-no-content": ("stft", "static", 0),
        "superlet": ("superlet", "adaptive", 2),
        "superlet-static": ("superlet", "static", 2),
        "stft-without-4": ("stft", "static", 2),
    }
    assert all(
        (each.steps, each.preset, each.optimizer, each.resume) == (20, "large", "lamb", True) for each in found.values()
    )
    folders = [[folder.rpartition("/")[2] for folder in each.corpora] for each in found.values()]
    assert folders == [["sub_4", "sub_9"]] * 4 + [["sub_9"]]


def test_a_corpus_is_built_for_each_subject_and_leaves_no_samples_behind(module, root, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["", str(root), "--out", str(tmp_path), "--available"])
    args = module("paper_table").parse_arguments()
    module("paper_models").build_corpora(args, [(4, 1), (9, 0)])
    totals = [json.loads((tmp_path / "corpus" / f"sub_{n}" / "corpus.json").read_text()) for n in (4, 9)]
    assert [each["contacts"] for each in totals] == [4, 4]
    for each, session in zip(totals, ((4, 1), (9, 0)), strict=True):  # the second is recorded at 1024 Hz
        seconds = open_session(root, *session).duration_s
        assert sum(each["clips"].values()) == 4 * int(seconds // 5)
        assert each["sampling_rate"] == 2048
    assert not (tmp_path / "corpus" / "scratch").exists()


@pytest.mark.filterwarnings("ignore:.*share samples with a training window")
def test_planted_contacts_stand_out_and_a_second_call_changes_nothing(
    run_in, root, tmp_path, save_model, one_second_each, capsys
):
    save_model(tmp_path / "stft")
    save_model(tmp_path / "superlet", seed=1, transform="superlet")
    flags = ["--model", "stft=stft", "superlet=superlet", "--tasks", "speech", "--windows", "140", *QUICK]
    run_in(tmp_path, "paper_table", str(root), "--out", "out", *flags)
    out = tmp_path / "out"
    result = json.loads((out / "table.json").read_text())
    main = json.loads((out / "main" / "btbank4_0-speech-blocked-no-waveform-no-waveform-network.json").read_text())
    planted = json.loads((root / "planted.json").read_text())["subjects"]["sub_4"]["laplacian"]
    spectrogram = next(system for system in main["systems"] if system["name"] == "spectrogram")
    for entry in spectrogram["contacts"]:
        assert (entry["score"] > 0.8) == ("speech" in planted[entry["contact"]]), entry
    assert list(result["tables"]) == ["blocked", "paper"]
    assert result["tables"]["blocked"]["all tasks"]["units"] == 1
    assert [system["name"] for system in result["tables"]["paper"]["speech"]["systems"]][2] == "fine-tuned"
    assert result["few_shot"]["sizes"] == [10, 20]
    assert {row["region"] for row in result["dimension"]} >= {"ctx-lh-superiortemporal"}
    assert any("random split share samples" in warning for warning in result["warnings"])
    (untrained, superlet) = result["comparisons"]
    assert (untrained["changed_label"], superlet["how"]) == ("Untrained", "frozen")
    assert result["verdict"].startswith("One subject was decoded")
    page = (out / "table.html").read_text()
    for text in ("about .63", ".66 ± .03", ".55 to .60", "Superlets"):
        assert text in page
        assert text in (out / "table.md").read_text()
    assert not list((out / "cache").iterdir())

    before = {path: path.stat().st_mtime_ns for part in ("main", "models") for path in (out / part).iterdir()}
    first = page, (out / "table.json").read_text()
    capsys.readouterr()
    run_in(tmp_path, "paper_table", str(root), "--out", "out", *flags)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (page, (out / "table.json").read_text()) == first
    assert "── " not in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"begun with other settings: windows 100 \(then 140\)"):
        run_in(tmp_path, "paper_table", str(root), "--out", "out", *[word.replace("140", "100") for word in flags])
