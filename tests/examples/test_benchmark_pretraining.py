"""What the benchmark of pretraining compares does the same, and what it reports is complete; not how fast it is."""

import json
import math
import random
import sys
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertFeatureExtractor, BrainBertForPreTraining
from brainbert.processing.training import mask_adaptive, mask_seeds, mask_static

pytestmark = pytest.mark.usefixtures("as_a_program")


def run(monkeypatch, *arguments):
    import benchmark

    monkeypatch.setattr(sys, "argv", ["benchmark.py", "pretrain", *map(str, arguments)])
    benchmark.main()


@pytest.mark.parametrize(("name", "ours"), [("static", mask_static), ("adaptive", mask_adaptive)])
def test_masks_by_loop_hide_keep_swap_and_zero_the_same_share_of_cells_as_ours(name, ours):
    import other_pretraining

    clips = 400
    images = np.random.default_rng(0).standard_normal((clips, 186, 40)).astype(np.float32)
    by_loop, rng = getattr(other_pretraining, f"{name}_by_loop"), random.Random(1)
    theirs = [np.stack(arrays) for arrays in zip(*(by_loop(image, rng) for image in images), strict=True)]
    masked = ours(torch.from_numpy(images), seeds=mask_seeds(torch.arange(clips), seed=2, epoch=0))
    for share in (
        lambda masked, mask: mask.mean((1, 2)),
        lambda masked, mask: (mask & (masked == 0)).mean((1, 2)),
        lambda masked, mask: (mask & (masked == images)).mean((1, 2)),
        lambda masked, mask: (mask & (masked != images) & (masked != 0)).mean((1, 2)),
    ):
        ours_share, their_share = share(*(array.numpy() for array in masked)), share(*theirs)
        error = np.sqrt((ours_share.var() + their_share.var()) / clips)
        assert abs(ours_share.mean() - their_share.mean()) < 3.5 * error  # 1 in 2000 by chance, for each of the four
    assert theirs[1][theirs[0] != images].all()


def test_a_clip_from_its_file_has_our_input_values_and_the_masks_of_its_image(tmp_path):
    from benchmark_pretraining import write_clips
    from generated_clips import generate_clips
    from other_pretraining import NpyClips

    corpus, files = write_clips(tmp_path, 3, seed=1)
    np.testing.assert_array_equal(np.load(files[2]), generate_clips(3, seed=1)[2].astype(np.float32))
    np.testing.assert_array_equal(corpus.with_format("numpy")[2]["signal"], np.load(files[2]))
    item = NpyClips(files)[2]
    expected = BrainBertFeatureExtractor()(np.load(files[2]), sampling_rate=2048)["input_values"][0]
    torch.testing.assert_close(item["labels"], expected, rtol=0, atol=1e-4)
    assert torch.equal(item["input_values"][~item["mask"]], item["labels"][~item["mask"]])


def test_a_report_has_every_contender_with_finite_positive_figures(monkeypatch, tmp_path, capsys):
    sizes = ["--preset", "tiny", "--rounds", 1, "--batch", 2, "--clips", 4, "--step-batch", 2, "--steps", 2]
    run(monkeypatch, *sizes, "--json", tmp_path / "report.json")
    rows = json.loads((tmp_path / "report.json").read_text())["results"]
    assert [(row["task"], row["contender"], row["batch"]) for row in rows] == [
        ("static masks, a clip of 5 s", "ours", 2),
        ("static masks, a clip of 5 s", "NumPy, clip by clip", 2),
        ("adaptive masks, a clip of 5 s", "ours", 2),
        ("adaptive masks, a clip of 5 s", "NumPy, clip by clip", 2),
        ("from stored voltage to masked batch, a clip of 5 s", "ours", 2),
        ("from stored voltage to masked batch, a clip of 5 s", "SciPy and NumPy, 2 workers", 2),
        ("training step, tiny", "ours", 2),
        ("pretraining, tiny, loader with no workers", "voltage to optimiser step", 2),
        ("pretraining, tiny, loader with no workers", "step alone", 2),
        ("pretraining, tiny, loader with no workers", "voltage to masked batch", 2),
    ]
    for row in rows:
        figures = [figure for figure in row.values() if isinstance(figure, float)]
        assert len(figures) >= 7
        assert all(math.isfinite(figure) and figure > 0 for figure in figures)
    shown = capsys.readouterr().out
    assert shown.count("CPU ms") == 1  # the input pipeline's table alone has such a column
    assert shown.count("% waiting for batches") == 1
    assert shown.count("× 128 and 128 × 512 runs at") == 2


def test_operations_of_a_step_are_counted_as_the_formula_says():
    from benchmark_pretraining import count_step

    config = BrainBertConfig.from_preset("large")
    parameters = sum(parameter.numel() for parameter in BrainBertForPreTraining(config).parameters())
    # 6 · 43 million · 186 is 48 billion; of attention 12 · 6 · 768 · 186².
    assert count_step(config, parameters, 186) == 6 * parameters * 186 + 12 * 6 * 768 * 34596
    assert count_step(config, parameters, 186) == pytest.approx(50e9, rel=0.01)


def test_the_cpu_time_of_a_call_includes_that_of_processes_it_has_started(monkeypatch):
    import measurement

    user_s = iter([1.0, 4.0])  # of a worker before and after
    worker = SimpleNamespace(cpu_times=lambda: (next(user_s), 0.5, 0.0, 0.0))
    monkeypatch.setitem(
        sys.modules, "psutil", SimpleNamespace(Process=lambda: SimpleNamespace(children=lambda recursive: [worker]))
    )
    monkeypatch.setattr(measurement.time, "process_time", iter([10.0, 12.0]).__next__)
    call = measurement.CpuCounted(lambda: None)
    call()
    assert call.seconds == [5.0]


def test_the_originals_parts_are_imported_without_its_packages_and_leave_others_of_their_names(monkeypatch, tmp_path):
    from other_pretraining import load_original, write_manifest

    files = {
        "datasets/masked_tf_dataset.py": """
from omegaconf import OmegaConf
from datasets import register_dataset
from preprocessors import STFTPreprocessor
from util.mask_utils import mask_inputs

@register_dataset(name="any")
class MaskedTFDataset:
    def __init__(self, cfg, task_cfg, preprocessor_cfg):
        self.said = cfg.data, "cached_features" in cfg, task_cfg.mask_type, STFTPreprocessor, preprocessor_cfg.noverlap
""",
        "preprocessors/stft.py": "STFTPreprocessor = 'theirs'",
        "util/mask_utils.py": "def mask_inputs(image, settings): return settings.time_mask_consecutive_max",
        "tasks/batch_utils.py": "spec_collator = len",
        "models/base_model.py": "BaseModel = object",
        "models/masked_tf_model.py": """
from models import register_model
from models.base_model import BaseModel

@register_model("any")
class MaskedTFModel(BaseModel):
    def build_model(self, settings): self.layers = settings.encoder_num_layers
""",
        "criterions/pretrain_masked_criterion.py": """
from criterions import register_criterion

@register_criterion("any")
class PretrainMaskedCriterion:
    def build_criterion(self, settings): self.alpha = settings.alpha
    def __call__(self, model, batch, device): return self.alpha, {}
""",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).with_name("__init__.py").write_text("raise ImportError('needs everything')")
    monkeypatch.setitem(sys.modules, "torch_optimizer", SimpleNamespace(Lamb=torch.optim.SGD))
    before = set(sys.modules)
    original = load_original(tmp_path)
    assert sys.modules["datasets"] is datasets
    assert not {name for name in set(sys.modules) - before if name.split(".")[0] in ("models", "tasks", "criterions")}
    assert original.dataset(tmp_path).said == (str(tmp_path), False, "fixed", "theirs", 350)
    assert original.mask(None, SimpleNamespace(time_mask_consecutive_max=5)) == 5
    assert original.model(BrainBertConfig.from_preset("large")).layers == 6
    assert original.loss(None, {}, "cpu") == 2
    write_manifest(tmp_path, [tmp_path / "0.npy"], samples=10240)
    assert (tmp_path / "manifest.tsv").read_text() == f"{tmp_path}\n0.npy\t10240\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--original", "nowhere"], "nowhere is no clone of the original: it has no models"),
        (["--clips", 100], "--clips 100 must be a multiple of 256"),
        (["--batch", 4, "--clips", 8, "--step-batch", 4, "--steps", 3], "3 of 4 clips"),
        (["--rounds", 0], "count from 1"),
        (["--step-batch", 0], "count from 1"),
    ],
)
def test_bad_arguments_are_refused(monkeypatch, arguments, message):
    with pytest.raises(ValueError, match=message):
        run(monkeypatch, *arguments)


def test_help_is_given(monkeypatch, capsys):
    with pytest.raises(SystemExit, match="0"):
        run(monkeypatch, "--help")
    assert "None" not in capsys.readouterr().out
