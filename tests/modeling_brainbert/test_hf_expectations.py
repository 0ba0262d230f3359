"""What users of transformers expect of a model: compile, checkpoint gradients, train under Trainer, attend, pool."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional
from transformers import PreTrainedModel, Trainer, TrainingArguments

from brainbert.modeling_brainbert import (
    BrainBertConfig,
    BrainBertForPreTraining,
    BrainBertForSequenceClassification,
    BrainBertModel,
    pool_frames,
)

MODELS = [BrainBertModel, BrainBertForPreTraining, BrainBertForSequenceClassification]
BATCH, FRAMES, BINS, HIDDEN, LAYERS, HEADS = 3, 30, 8, 32, 2, 4


def make_model(model_class: type[PreTrainedModel], *, attention: str = "sdpa", **settings: Any) -> PreTrainedModel:
    """Return a small model without dropout, in training mode, the same one for the same arguments."""
    torch.manual_seed(0)
    config = BrainBertConfig(
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=48,
        num_frequency_bins=BINS,
        max_position_embeddings=64,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
        **settings,
    )
    return model_class._from_config(config, attn_implementation=attention).train()


def make_batch(model_class: type[PreTrainedModel], *, valid_frames: tuple[int, ...] = (30, 21, 14)) -> dict[str, Any]:
    """Return inputs, with labels where the model takes them. A row has signal in its first valid_frames frames."""
    generator = torch.Generator().manual_seed(1)
    batch = {
        "input_values": torch.randn(BATCH, FRAMES, BINS, generator=generator),
        "attention_mask": (torch.arange(FRAMES) < torch.tensor(valid_frames).unsqueeze(-1)).long(),
    }
    if model_class is BrainBertForPreTraining:
        batch["labels"] = torch.randn(BATCH, FRAMES, BINS, generator=generator)
    if model_class is BrainBertForSequenceClassification:
        batch["labels"] = torch.tensor([0, 1, 1])
    return batch


def scalar(outputs: Any) -> torch.Tensor:
    """Return the loss, or of a model without one a sum that depends on all that it computes."""
    return outputs.loss if outputs.get("loss") is not None else outputs.pooler_output.square().sum()


def gradients(model: PreTrainedModel, batch: dict[str, Any]) -> dict[str, torch.Tensor | None]:
    model.zero_grad()
    scalar(model(**batch)).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.fixture
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("_fresh_compiler")
@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("model_class", MODELS)
def test_compiles_to_one_graph(model_class: type[PreTrainedModel], padded: bool):
    model = make_model(model_class)
    batch = make_batch(model_class)
    if not padded:
        del batch["attention_mask"]
    expected = gradients(model, batch)

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")  # fullgraph refuses graph breaks
    model.zero_grad()
    scalar(compiled(**batch)).backward()

    torch.testing.assert_close({name: parameter.grad for name, parameter in model.named_parameters()}, expected)


@pytest.mark.parametrize("model_class", MODELS)
def test_gradient_checkpointing_does_not_change_the_gradients(model_class: type[PreTrainedModel]):
    model, batch = make_model(model_class), make_batch(model_class)
    expected = gradients(model, batch)

    model.gradient_checkpointing_enable()

    assert model.is_gradient_checkpointing
    torch.testing.assert_close(gradients(model, batch), expected)


@pytest.mark.parametrize("model_class", MODELS)
def test_bfloat16_computes_in_bfloat16_and_stays_close(model_class: type[PreTrainedModel]):
    batch = make_batch(model_class)
    expected = make_model(model_class)(**batch)

    outputs = make_model(model_class).to(torch.bfloat16)(**batch)

    assert outputs[0 if model_class is BrainBertModel else 1].dtype == torch.bfloat16
    torch.testing.assert_close(scalar(outputs).float(), scalar(expected), rtol=0.01, atol=0)  # measured: 0.003


def test_the_pretraining_loss_is_float32_in_a_bfloat16_model():
    outputs = make_model(BrainBertForPreTraining).to(torch.bfloat16)(**make_batch(BrainBertForPreTraining))

    assert outputs.loss.dtype == torch.float32
    assert outputs.l1_sum.dtype == torch.float32


@pytest.mark.parametrize("model_class", MODELS)
def test_hidden_states_are_the_embeddings_and_one_tensor_per_layer(model_class: type[PreTrainedModel]):
    outputs = make_model(model_class)(**make_batch(model_class), output_hidden_states=True)

    assert [state.shape for state in outputs.hidden_states] == [(BATCH, FRAMES, HIDDEN)] * (LAYERS + 1)


@pytest.mark.parametrize("model_class", MODELS)
def test_eager_attentions_are_one_tensor_per_layer_whose_rows_sum_to_one_over_valid_frames(
    model_class: type[PreTrainedModel],
):
    batch = make_batch(model_class)
    with torch.no_grad():
        outputs = make_model(model_class, attention="eager")(**batch, output_attentions=True)

    assert [weights.shape for weights in outputs.attentions] == [(BATCH, HEADS, FRAMES, FRAMES)] * LAYERS
    valid = batch["attention_mask"].bool()[:, None, None]
    for weights in outputs.attentions:
        torch.testing.assert_close((weights * valid).sum(-1), torch.ones(BATCH, HEADS, FRAMES))
        assert float((weights * ~valid).abs().max()) == 0


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("model_class", MODELS)
def test_a_row_without_signal_gives_finite_outputs_and_gradients(model_class: type[PreTrainedModel], attention: str):
    model = make_model(model_class, attention=attention)
    batch = make_batch(model_class, valid_frames=(30, 0, 14))

    with torch.no_grad():
        assert all(value.isfinite().all() for value in model(**batch).values())
    assert all(gradient is None or gradient.isfinite().all() for gradient in gradients(model, batch).values())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="flex attention on a CPU is compiled with a C++ compiler")
def test_flex_attention_gives_finite_outputs_for_a_row_without_signal_and_sdpa_s_for_the_others():
    batch = make_batch(BrainBertModel, valid_frames=(30, 0, 14))

    with torch.no_grad():  # on a CPU it has no backward pass
        outputs = make_model(BrainBertModel, attention="flex_attention")(**batch)
        expected = make_model(BrainBertModel, attention="sdpa")(**batch)

    assert outputs.last_hidden_state.isfinite().all()
    valid = batch["attention_mask"].bool()
    torch.testing.assert_close(outputs.last_hidden_state[valid], expected.last_hidden_state[valid])
    torch.testing.assert_close(outputs.pooler_output, expected.pooler_output)


def test_a_row_without_signal_does_not_change_the_gradients_of_pretraining():
    model = make_model(BrainBertForPreTraining)
    batch = make_batch(BrainBertForPreTraining, valid_frames=(30, 0, 14))
    without = {name: values[[0, 2]] for name, values in batch.items()}

    torch.testing.assert_close(gradients(model, batch), gradients(model, without))


@pytest.mark.parametrize(
    ("settings", "labels", "loss"),
    [
        ({"num_labels": 3}, torch.tensor([2, 0, 1]), functional.cross_entropy),
        (
            {"num_labels": 2, "problem_type": "regression"},
            torch.tensor([[0.5, 1], [-1, 0], [2, 3]]),
            functional.mse_loss,
        ),
        (
            {"num_labels": 2, "problem_type": "multi_label_classification"},
            torch.tensor([[0.0, 1], [1, 1], [0, 0]]),
            functional.binary_cross_entropy_with_logits,
        ),
    ],
    ids=["classes", "two numbers", "several labels"],
)
def test_the_classification_loss_is_torch_s(
    settings: dict[str, Any], labels: torch.Tensor, loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
):
    batch = make_batch(BrainBertForSequenceClassification) | {"labels": labels}

    outputs = make_model(BrainBertForSequenceClassification, **settings)(**batch)

    assert outputs.logits.shape == (BATCH, settings["num_labels"])
    torch.testing.assert_close(outputs.loss, loss(outputs.logits, labels))


def test_with_one_label_the_loss_is_the_squared_error_of_one_number_per_window():
    labels = torch.tensor([0.5, -1, 2])
    batch = make_batch(BrainBertForSequenceClassification) | {"labels": labels}

    outputs = make_model(BrainBertForSequenceClassification, num_labels=1)(**batch)

    assert outputs.logits.shape == (BATCH, 1)
    torch.testing.assert_close(outputs.loss, (outputs.logits[:, 0] - labels).square().mean())


@pytest.mark.parametrize(
    ("valid_frames", "center", "mean"),
    [
        (30, 14.5, 14.5),  # frames 10–19; 0–29
        (25, 11.5, 12.0),  # frames 7–16; 0–24
        (24, 11.5, 11.5),  # frames 7–16; 0–23
        (10, 4.5, 4.5),  # frames 0–9; 0–9
        (0, 0.0, 0.0),
    ],
)
def test_pooling_averages_frame_numbers_as_by_hand(valid_frames: int, center: float, mean: float):
    frame_numbers = torch.arange(FRAMES, dtype=torch.float32).reshape(1, FRAMES, 1)
    mask = (torch.arange(FRAMES) < valid_frames).long().unsqueeze(0)

    assert pool_frames(frame_numbers, mask, pooling="center").item() == pytest.approx(center)
    assert pool_frames(frame_numbers, mask, pooling="mean").item() == pytest.approx(mean)


@pytest.mark.parametrize("pooling", ["center", "mean"])
def test_a_padded_sequence_has_the_embedding_that_it_has_alone(pooling: str):
    model = make_model(BrainBertModel, pooling=pooling)
    batch = make_batch(BrainBertModel, valid_frames=(30, 21, 14))
    pooled = model(**batch).pooler_output

    for row, frames in enumerate((30, 21, 14)):
        alone = model(batch["input_values"][row : row + 1, :frames])
        torch.testing.assert_close(pooled[row], alone.pooler_output[0])
        window = slice(frames // 2 - 5, frames // 2 + 5) if pooling == "center" else slice(None)
        torch.testing.assert_close(pooled[row], alone.last_hidden_state[0, window].mean(0))


def make_rows(model_class: type[PreTrainedModel], count: int) -> list[dict[str, torch.Tensor]]:
    """Return rows whose loss weighs the same in any batch: each has as many cells above the content threshold."""
    generator = torch.Generator().manual_seed(2)
    cells = torch.randn(FRAMES * BINS, generator=generator)
    rows = []
    for row in range(count):
        image = cells[torch.randperm(len(cells), generator=generator)].reshape(FRAMES, BINS)
        labels = image if model_class is BrainBertForPreTraining else torch.tensor(row % 2)
        rows.append({"input_values": image * (torch.rand(FRAMES, BINS, generator=generator) > 0.2), "labels": labels})
    return rows


def train(model_class: type[PreTrainedModel], folder: Path, *, batch_size: int, accumulate: int) -> Trainer:
    """Take three steps under Trainer and evaluate."""
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulate,
        per_device_eval_batch_size=2,
        max_steps=3,
        learning_rate=0.01,
        optim="sgd",  # a step that is proportional to the gradient
        lr_scheduler_type="constant",
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    rows = make_rows(model_class, 12)
    trainer = Trainer(model=make_model(model_class), args=arguments, train_dataset=rows, eval_dataset=rows[:5])
    trainer.train()
    return trainer


@pytest.mark.parametrize("model_class", [BrainBertForPreTraining, BrainBertForSequenceClassification])
def test_trainer_logs_and_learns_the_same_from_one_big_batch_and_from_two_accumulated_ones(
    model_class: type[PreTrainedModel], tmp_path: Path
):
    big = train(model_class, tmp_path / "big", batch_size=4, accumulate=1)
    accumulated = train(model_class, tmp_path / "accumulated", batch_size=2, accumulate=2)

    for name in ("loss", "grad_norm"):
        expected = [entry[name] for entry in big.state.log_history if name in entry]
        assert len(expected) == 3
        assert [entry[name] for entry in accumulated.state.log_history if name in entry] == pytest.approx(expected)
    torch.testing.assert_close(accumulated.model.state_dict(), big.model.state_dict())


@pytest.mark.parametrize("model_class", [BrainBertForPreTraining, BrainBertForSequenceClassification])
def test_trainer_evaluates_and_predicts(model_class: type[PreTrainedModel], tmp_path: Path):
    trainer = train(model_class, tmp_path, batch_size=4, accumulate=1)
    rows = make_rows(model_class, 12)[:5]
    with torch.no_grad():
        expected = trainer.model(**{name: torch.stack([row[name] for row in rows]) for name in rows[0]})

    prediction = trainer.predict(rows)

    assert prediction.metrics["test_loss"] == pytest.approx(float(expected.loss))
    assert trainer.evaluate()["eval_loss"] == pytest.approx(float(expected.loss))
    if model_class is BrainBertForPreTraining:  # sums and counts: one entry per batch of 2, 2 and 1 rows
        _, l1_sum, l1_count, _, _ = prediction.predictions
        assert l1_count.tolist() == [480, 480, 240]
        assert l1_sum.sum() == pytest.approx(float(expected.l1_sum))
