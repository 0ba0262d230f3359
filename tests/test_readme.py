"""What README shows runs as it stands there."""

import re
import shutil
from pathlib import Path

import datasets
import torch

from brainbert.modeling_brainbert import (
    PRESETS,
    BrainBertConfig,
    BrainBertFeatureExtractor,
    BrainBertForPreTraining,
)

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_block_gives_one_embedding_per_contact(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "tests" / "fixtures" / "tiny", tmp_path / "demo" / "model")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1), names)
    assert names["embeddings"].shape == (8, 24)


def test_the_blocks_on_use_run_on_a_saved_model_and_rows_of_a_corpus(tmp_path, monkeypatch):
    model = BrainBertForPreTraining.from_pretrained(ROOT / "tests" / "fixtures" / "tiny")
    model.save_pretrained(tmp_path / "demo" / "model")
    BrainBertFeatureExtractor().save_pretrained(tmp_path / "demo" / "model")
    row = {"signal": [[float(sample % 97) for sample in range(2048)]], "scale": [1.0], "offset": [0.0]}
    (tmp_path / "shards").mkdir()
    datasets.Dataset.from_dict(row | {"sampling_rate": [2048.0]}).to_parquet(tmp_path / "shards" / "train.parquet")
    monkeypatch.chdir(tmp_path)
    voltage = torch.randn(2, 10240, generator=torch.Generator().manual_seed(0))
    names: dict = {"voltage": voltage, "labels": torch.tensor([0, 1])}
    use, corpus = re.findall(r"```python\n(.*?)```", README.partition("## Use it")[2], re.DOTALL)[:2]
    exec(use, names)
    assert names["embeddings"].shape == (2, 24)
    assert names["loss"].requires_grad
    exec(corpus, names)
    assert names["embeddings"][0].shape == (24,)


def test_the_block_on_front_ends_gives_superlets():
    names: dict = {"voltage": torch.randn(2, 10240, generator=torch.Generator().manual_seed(0))}
    exec(re.search(r"## Front ends\n\n```python\n(.*?)```", README, re.DOTALL).group(1), names)
    assert names["values"].shape == (2, 195, 40)
    assert names["magnitude"].shape == (2, 205, 40)


def test_the_table_of_presets_is_right():
    for name in PRESETS:
        with torch.device("meta"):
            model = BrainBertForPreTraining(BrainBertConfig.from_preset(name))
        millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
        config = model.config
        sizes = (
            config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.intermediate_size,
            f"{millions:.1f} M",
        )  # fmt: skip
        row = re.search(rf"^\| {name}[^|]*\| (.*) \|$", README, re.MULTILINE).group(1)
        assert row == " | ".join(map(str, sizes))


def test_every_program_that_is_named_exists():
    for program in set(re.findall(r"examples/\w+\.py", README)):
        assert (ROOT / program).is_file(), program
