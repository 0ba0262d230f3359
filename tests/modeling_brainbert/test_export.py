"""What leaves for other tools: LoRA adapters trained, saved and loaded; the encoder exported, padding included."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.export import Dim, ExportedProgram

from brainbert.modeling_brainbert import BrainBertForSequenceClassification, BrainBertModel

pytestmark = pytest.mark.slow  # 8 s

FIXTURE = Path(__file__).parents[1] / "fixtures" / "tiny"
SHAPES = [(1, 186), (1, 40), (3, 186), (3, 40)]  # sequences, frames; exported with (2, 50)


def make_batch(sequences: int, frames: int) -> dict[str, torch.Tensor]:
    """Noise, the last sequence half as long as the others."""
    generator = torch.Generator().manual_seed(frames)
    mask = torch.ones(sequences, frames, dtype=torch.long)
    mask[-1, frames // 2 :] = 0
    return {"input_values": torch.randn(sequences, frames, 40, generator=generator), "attention_mask": mask}


@pytest.fixture(scope="module")
def model() -> BrainBertModel:
    return BrainBertModel.from_pretrained(FIXTURE)


@pytest.fixture(scope="module")
def exported(model: BrainBertModel) -> ExportedProgram:
    axes = {0: Dim("sequences", min=1, max=4096), 1: Dim("frames", min=10, max=5000)}
    return torch.export.export(
        model, (), kwargs=make_batch(2, 50), dynamic_shapes={"input_values": axes, "attention_mask": axes}
    )


@pytest.fixture(scope="module")
def session(exported: ExportedProgram, tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path = tmp_path_factory.mktemp("onnx") / "brainbert.onnx"
    program = torch.onnx.export(
        exported,
        dynamo=True,
        verbose=False,
        input_names=["input_values", "attention_mask"],
        output_names=["last_hidden_state", "pooler_output"],
    )
    assert program is not None
    program.save(path)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def run_eagerly(model: BrainBertModel, batch: dict[str, torch.Tensor]) -> dict[str, Any]:
    with torch.no_grad():
        return model(**batch)


@pytest.mark.parametrize(("sequences", "frames"), SHAPES)
def test_the_exported_encoder_agrees_with_eager(model, exported, sequences, frames):
    batch = make_batch(sequences, frames)
    with torch.no_grad():
        outputs = exported.module()(**batch)
    for name, expected in run_eagerly(model, batch).items():
        torch.testing.assert_close(outputs[name], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("sequences", "frames"), SHAPES)
def test_the_encoder_in_onnx_agrees_with_eager(model, session, sequences, frames):
    batch = make_batch(sequences, frames)
    outputs = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
    for output, expected in zip(outputs, run_eagerly(model, batch).values(), strict=True):
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


def test_padding_makes_no_difference_in_onnx_and_a_sequence_without_signal_is_pooled_to_zeros(session):
    batch = make_batch(2, 60)
    batch["attention_mask"][0] = 0
    _, pooled = session.run(None, {name: tensor.numpy() for name, tensor in batch.items()})
    alone = {name: tensor[1:, :30].numpy() for name, tensor in batch.items()}
    np.testing.assert_allclose(pooled[1:], session.run(["pooler_output"], alone)[0], rtol=0, atol=1e-5)
    assert (pooled[0] == 0).all()


def test_lora_trains_and_what_it_saves_loads_without_the_weights_of_the_encoder(tmp_path):
    torch.manual_seed(0)
    base = BrainBertForSequenceClassification.from_pretrained(FIXTURE)
    base.save_pretrained(tmp_path / "base")
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    model = get_peft_model(
        base, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], modules_to_save=["classifier"])
    ).train()
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=0.01)
    batch = make_batch(8, 30) | {"labels": torch.arange(8) % 2}
    batch["input_values"] += batch["labels"].reshape(8, 1, 1)  # power above the mean, or not
    losses = []
    for _ in range(20):
        losses.append(model(**batch).loss)
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < 0.5 * losses[0]
    started_at_zero = [tensor for name, tensor in model.named_parameters() if ".lora_B." in name]
    assert len(started_at_zero) == 4
    assert all(tensor.abs().max() > 0.01 for tensor in started_at_zero)

    model.eval().save_pretrained(tmp_path / "adapter")
    fresh = BrainBertForSequenceClassification.from_pretrained(tmp_path / "base")
    loaded = PeftModel.from_pretrained(fresh, tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**batch).logits, model(**batch).logits, rtol=0, atol=0)
    after = fresh.state_dict()
    for name in (name for name in before if name.startswith("brainbert.")):
        kept = after[name] if name in after else after[name.replace("_proj.", "_proj.base_layer.")]
        torch.testing.assert_close(kept, before[name], rtol=0, atol=0)
    adapter, whole = tmp_path / "adapter" / "adapter_model.safetensors", tmp_path / "base" / "model.safetensors"
    assert adapter.stat().st_size < whole.stat().st_size
