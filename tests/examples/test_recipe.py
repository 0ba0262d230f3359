"""What a recipe says is what a run does, and what it cannot mean is refused."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState

from brainbert.processing.corpora import build_corpus
from brainbert.processing.recordings import Recording
from brainbert.processing.training.lamb import Lamb

EXAMPLES = Path(__file__).parents[2] / "examples"
RECIPES = EXAMPLES / "recipes"

# What both recipes of the paper say, number by number.
PAPER = {
    "sampling_rate": 2048,
    "normalization": "clip",
    "preset": "large",
    "dropout": 0.1,
    "content_weight": 2,
    "content_threshold": 1,
    "optimizer": "lamb",
    "learning_rate": 1e-4,
    "betas": [0.9, 0.999],
    "weight_decay": 0,
    "schedule": "hundredths",
    "warmup": 0.025,
    "clip_gradient": 1.0,
    "steps": 500_000,
    "batch_size": 256,
}
STFT = {"transform": "stft", "variant": "training", "masks": "static"}
STFT |= {"mask_start_probability": 0.05, "mask_frames": [1, 5], "mask_bins": [1, 2]}
SUPERLET = {"transform": "superlet", "masks": "adaptive"}


pytestmark = pytest.mark.usefixtures("as_a_program")


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write


def parse(*words):
    from recipe import parse_arguments

    return vars(parse_arguments("A program.", ["corpus", "--out", "run", *map(str, words)]))


def picked(settings, names):
    return {name: settings[name] for name in names}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_is_read(path):
    given, usual = parse("--recipe", path), parse()
    assert given["corpora"] == ["corpus"]
    assert {name for name in given if given[name] != usual[name]} > {"recipe", "steps"}


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_line_of_a_recipe_says_why(path):
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if "# " not in line] == []


@pytest.mark.parametrize(("name", "front_end"), [("stft", STFT), ("superlet", SUPERLET)])
def test_the_recipes_of_the_paper_have_its_numbers(name, front_end):
    settings = parse("--recipe", RECIPES / f"paper-{name}-large.yaml")
    assert picked(settings, PAPER | front_end) == PAPER | front_end


def test_a_recipe_stands_above_defaults_and_flags_above_it(recipe):
    path = recipe("steps: 7\nbatch_size: 5\nbetas: [0.8, 0.9]\ncompile: true\n")
    assert picked(parse("--recipe", path), ("steps", "batch_size", "compile")) == {
        "steps": 7, "batch_size": 5, "compile": True
    }  # fmt: skip
    for words in (["--steps", 9, "--recipe", path, "--no-compile"], ["--no-compile", "--recipe", path, "--steps", 9]):
        settings = parse(*words)
        assert (settings["steps"], settings["batch_size"], settings["compile"]) == (9, 5, False)
        assert settings["betas"] == [0.8, 0.9]


@pytest.mark.parametrize(("value", "parsed"), [("true", True), ("false", False)])
def test_a_switch_is_true_or_false(recipe, value, parsed):
    assert parse("--recipe", recipe(f"activation_checkpointing: {value}\n"))["activation_checkpointing"] is parsed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lerning_rate: 1", "there is no setting 'lerning_rate', but 'learning_rate'."),
        ("zzz: 1", "there is no setting 'zzz'."),
        ("batch-size: 8", "there is no setting 'batch-size', but 'batch_size'."),
        ("out: elsewhere", "there is no setting 'out'"),
        ("resume: true", "there is no setting 'resume'"),
        ("7: 1", "there is no setting 7."),
        ("steps: many", "Argument --steps: invalid int value: 'many'"),
        ("steps: 1.5", "Argument --steps: invalid int value: '1.5'"),
        ("steps: true", "Argument --steps: invalid int value: 'True'"),
        ("learning_rate: [1, 2]", "Unrecognized arguments: 2"),
        ("betas: 0.9", "Argument --betas: expected 2 arguments"),
        ("micro_batch:", "Argument --micro-batch: invalid int value: 'None'"),
        ("optimizer: sgd", "Argument --optimizer: invalid choice: 'sgd'"),
        ("mixed_precision: no", "Argument --mixed-precision: invalid choice: 'False'"),
        ("compile: 1", "compile is 1: give true or false."),
        ("compile: [true]", "compile is [True]: give true or false."),
        ("steps: 0", "--steps is 0: it must be at least 1."),
        ("validation_clips: 0", "--validation-clips is 0: it must be at least 1."),
        ("micro_batch: 0", "--micro-batch is 0: it must be at least 1."),
        ("warmup: 1", "--warmup is 1.0: give a share of the steps, from 0 to less than 1."),
        ("- steps", "is no recipe: give lines such as `steps: 1000`."),
        ("", "is no recipe: give lines such as `steps: 1000`."),
        ("a: [1", "is no YAML: "),
        ("a: !!python/object/apply:os.getcwd []", "is no YAML: could not determine a constructor"),
    ],
)
def test_what_a_recipe_cannot_say_is_refused_in_one_sentence(recipe, text, message):
    with pytest.raises(ValueError, match=re.escape(message)) as refusal:
        parse("--recipe", recipe(text + "\n"))
    assert "\n" not in str(refusal.value)


def test_an_unknown_flag_is_refused(recipe):
    with pytest.raises(ValueError, match=r"^Unrecognized arguments: --lerning-rate 1 \(--help shows all flags\)\.$"):
        parse("--lerning-rate", 1)


def test_a_flag_must_be_written_out():
    with pytest.raises(ValueError, match="Unrecognized arguments: --learn"):
        parse("--learn", 1)


# Two steps of paper-stft-large.yaml


@pytest.fixture
def spied(monkeypatch, tmp_path, capsys):
    """What the program is made of when two steps of the paper's recipe are tried, and what it prints."""
    import pretrain
    import pretraining_data
    import pretraining_report

    noise = np.random.default_rng(0).standard_normal((1, 30 * 2048)).cumsum(1).astype(np.float32)
    recording = Recording(
        data=noise, sampling_rate=2048.0, contacts=("A1",), types=("seeg",), id="r", subject="s"
    )  # fmt: skip
    build_corpus([recording], tmp_path / "corpus", progress=False)
    seen = {"clipped": [], "masked": []}

    def keep(name):
        original = getattr(pretrain, name)

        def called(*arguments, **settings):
            seen[name] = original(*arguments, **settings)
            return seen[name]

        monkeypatch.setattr(pretrain, name, called)

    for name in ("BrainBertForPreTraining", "make_optimizers", "make_schedule", "open_data"):
        keep(name)
    original = pretraining_data.mask_static

    def mask_static(image, attention_mask=None, **settings):
        seen["masked"].append((tuple(image.shape), {name: settings[name] for name in settings if name != "seeds"}))
        return original(image, attention_mask, **settings)

    clip = pretrain.Accelerator.clip_grad_norm_
    monkeypatch.setattr(pretraining_data, "mask_static", mask_static)
    monkeypatch.setattr(
        pretrain.Accelerator,
        "clip_grad_norm_",
        lambda self, parameters, most: seen["clipped"].append(most) or clip(self, parameters, most),
    )
    monkeypatch.setattr(pretraining_report, "ESTIMATE_STEPS", 2)
    # The paper's batch of 256 clips would take minutes; the number is asserted above.
    words = ["corpus", "--out", "run", "--recipe", str(RECIPES / "paper-stft-large.yaml"), "--dry-run"]
    monkeypatch.setattr(sys, "argv", ["pretrain.py", *words, "--batch-size", "2"])
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    monkeypatch.chdir(tmp_path)
    threads, generator = torch.get_num_threads(), torch.get_rng_state()
    try:
        pretrain.main()
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(generator)
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
    return seen | {"said": capsys.readouterr().out}


@pytest.mark.slow
def test_two_steps_of_the_papers_recipe_use_exactly_its_numbers(spied):
    said = spied["said"]
    (settings,) = [json.loads(line[10:]) for line in said.splitlines() if line.startswith("settings: ")]
    expected = PAPER | STFT | {"batch_size": 2}
    assert picked(settings, expected) == expected
    assert "large preset: 43,183,144 parameters" in said
    assert "steps: 500,000 of 2 clips" in said

    config = spied["BrainBertForPreTraining"].config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (6, 768, 12)
    assert (config.intermediate_size, config.num_frequency_bins, config.pooling) == (3072, 40, "center")
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.1, 0.1)
    assert (config.content_weight, config.content_threshold) == (2, 1)

    (optimizer,), schedule = spied["make_optimizers"], spied["make_schedule"]
    assert isinstance(optimizer, Lamb)
    for group in optimizer.param_groups:
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.9, 0.999), 1e-6, 0)
        assert (group["initial_lr"], group["clamp"]) == (1e-4, 10)
        assert group["lr"] == 1e-4 * 2 / 12_500  # after two steps of a warm-up of 2.5 % of 500,000
    share = schedule.lr_lambdas[0]
    assert [share(step) for step in (0, 6_250, 12_500)] == [0, 0.5, 1]
    assert share(499_999) == pytest.approx(0.99**99)

    extractor = spied["open_data"].extractor
    assert (extractor.transform, extractor.variant, extractor.scale) == ("stft", "training", "linear")
    assert (extractor.normalization, extractor.sampling_rate) == ("clip", 2048)

    assert spied["clipped"] == [1.0, 1.0]
    training, held_out = spied["masked"][:2], spied["masked"][2:]
    widths = {"start_probability": 0.05, "frame_widths": (1, 5), "bin_widths": (1, 2)}
    assert training == [((2, 186, 40), widths)] * 2
    assert held_out == [((2, 186, 40), {})]  # whose defaults are the same numbers
    assert not Path("run").exists()
