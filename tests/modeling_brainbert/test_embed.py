"""`BrainBertModel.embed` gives what `forward` gives, and computes less."""

from typing import Any

import pytest
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertModel, pool_frames

LAYERS, FRAMES, BINS = 3, 37, 8
MASKS = {
    "no mask": None,
    "ragged": [37, 24, 9, 0],  # valid frames of each row: fewer than ten, and none, among them
}


def make_model(*, attention: str = "sdpa", **settings: Any) -> BrainBertModel:
    torch.manual_seed(0)
    config = BrainBertConfig(
        hidden_size=32,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        intermediate_size=48,
        num_frequency_bins=BINS,
        max_position_embeddings=64,
        **settings,
    )
    return BrainBertModel._from_config(config, attn_implementation=attention).eval()


def make_batch(mask: str = "ragged") -> dict[str, torch.Tensor | None]:
    valid = MASKS[mask]
    return {
        "input_values": torch.randn(4, FRAMES, BINS, generator=torch.Generator().manual_seed(1)),
        "attention_mask": None if valid is None else (torch.arange(FRAMES) < torch.tensor(valid)[:, None]).long(),
    }


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("layer", range(-LAYERS - 1, LAYERS + 1))
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.no_grad()
def test_embed_pools_the_hidden_states_of_forward(attention: str, layer: int, mask: str):
    model, batch = make_model(attention=attention), make_batch(mask)
    expected = model(**batch, output_hidden_states=True).hidden_states[layer]

    torch.testing.assert_close(model.embed(**batch, pooling="frames", layer=layer), expected, rtol=0, atol=1e-6)
    for pooling in ("center", "mean"):
        torch.testing.assert_close(
            model.embed(**batch, pooling=pooling, layer=layer),
            pool_frames(expected, batch["attention_mask"], pooling=pooling),
            rtol=0,
            atol=1e-6,
        )


@pytest.mark.parametrize("pooling", ["center", "mean"])
@torch.no_grad()
def test_embed_without_settings_is_the_pooler_output(pooling: str):
    model, batch = make_model(pooling=pooling), make_batch()
    torch.testing.assert_close(model.embed(**batch), model(**batch).pooler_output, rtol=0, atol=1e-6)


@torch.no_grad()
def test_the_centre_of_a_mask_with_holes_is_that_of_its_valid_frames():
    model, batch = make_model(), make_batch("no mask")
    batch["attention_mask"] = (torch.arange(FRAMES) % 3 > 0).long().repeat(4, 1)
    torch.testing.assert_close(model.embed(**batch, pooling="center"), model(**batch).pooler_output, rtol=0, atol=1e-6)


@torch.no_grad()
def test_embed_runs_in_bfloat16_and_stays_close():
    model, batch = make_model(), make_batch()
    expected = model.embed(**batch)
    embeddings = model.to(torch.bfloat16).embed(**batch)
    assert embeddings.dtype == torch.bfloat16
    torch.testing.assert_close(embeddings.float(), expected, rtol=0, atol=0.05)


@torch.no_grad()
def test_layers_after_the_one_asked_for_are_not_run():
    model, batch = make_model(), make_batch()
    run = []
    for number, layer in enumerate(model.layers, start=1):
        layer.register_forward_hook(lambda *_, number=number: run.append(number))
    model.embed(**batch, layer=2)
    assert run == [1, 2]


@torch.no_grad()
def test_the_last_layer_computes_ten_frames_for_the_centre():
    model, batch = make_model(), make_batch()
    frames = []
    for layer in model.layers:
        layer.intermediate.register_forward_hook(lambda _module, _inputs, output: frames.append(output.shape[1]))
    model.embed(**batch, pooling="center")
    assert frames == [37, 37, 10]


def test_embed_has_the_gradients_of_forward():
    model, batch = make_model(), make_batch()
    model(**batch).pooler_output.square().sum().backward()
    expected = {name: parameter.grad for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.embed(**batch).square().sum().backward()
    torch.testing.assert_close({name: parameter.grad for name, parameter in model.named_parameters()}, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pooling": "max"}, "pooling is 'max': choose center, mean or frames"),
        ({"layer": 4}, "layer is 4 and this model has 3: choose 0 "),
        ({"layer": -5}, r"to 3, or -1 \(the last\) to -4"),
    ],
)
def test_what_a_model_does_not_have_is_refused(settings: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        make_model().embed(**make_batch(), **settings)
