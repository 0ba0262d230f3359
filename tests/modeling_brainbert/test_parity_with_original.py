"""Our encoder computes what the authors' computes, and what torch.nn.TransformerEncoder computes."""

import numpy as np
import pytest
import torch
from torch import nn

from brainbert.hub_upload.convert_checkpoint import convert_state_dict
from brainbert.modeling_brainbert import BrainBertConfig, BrainBertForPreTraining, BrainBertModel

IMPLEMENTATIONS = ("eager", "sdpa", "flex_attention")


def original_weights(original):
    return {name[7:]: torch.from_numpy(array) for name, array in original.items() if name.startswith("weight/")}


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_hidden_states_and_reconstruction_equal_the_recorded_ones(tiny, original, implementation):
    model = BrainBertForPreTraining.from_pretrained(tiny, attn_implementation=implementation)
    assert model.config._attn_implementation == implementation
    valid = ~original["pad_mask"]
    with torch.no_grad():
        output = model(
            torch.from_numpy(original["input"]),
            attention_mask=torch.from_numpy(valid).long(),
            output_hidden_states=True,
        )
    np.testing.assert_allclose(output.hidden_states[-1][valid], original["hidden"][valid], atol=1e-5, rtol=0)
    np.testing.assert_allclose(output.logits[valid], original["prediction"][valid], atol=1e-5, rtol=0)


def test_loss_of_the_recorded_prediction_equals_the_recorded_loss(tiny, original):
    # The recorded mean runs over padded cells too, so the prediction is put in as it was recorded.
    model = BrainBertForPreTraining.from_pretrained(tiny)
    target, mask = torch.from_numpy(original["input"]), torch.from_numpy(original["mask"])
    model.reconstruction_head.forward = lambda hidden_states: torch.from_numpy(original["prediction"])
    output = model(target, labels=target, mask=mask)
    assert output.loss.item() == pytest.approx(float(original["loss"]), abs=1e-5)
    assert (output.l1_sum / output.l1_count).item() == pytest.approx(float(original["l1"]), abs=1e-5)
    assert (output.content_sum / output.content_count).item() == pytest.approx(float(original["content_l1"]), abs=1e-5)


def test_padded_cells_never_enter_the_loss(tiny, original):
    model = BrainBertForPreTraining.from_pretrained(tiny)
    image, mask, valid = torch.from_numpy(original["input"]), original["mask"], ~original["pad_mask"]
    output = model(image, attention_mask=torch.from_numpy(valid), labels=image, mask=torch.from_numpy(mask))
    counted = mask & valid[..., None]
    error = np.abs(original["prediction"] - original["input"])
    content = counted & (np.abs(original["input"]) > 1)
    assert output.l1_count == counted.sum() < mask.sum()
    assert output.loss.item() == pytest.approx(error[counted].mean() + 2 * error[content].mean(), abs=1e-5)


def test_without_a_mask_every_unpadded_cell_counts(tiny, original):
    model = BrainBertForPreTraining.from_pretrained(tiny)
    image, valid = torch.from_numpy(original["input"]), torch.from_numpy(~original["pad_mask"])
    assert model(image, attention_mask=valid, labels=image).l1_count == 40 * valid.sum()


def test_content_term_is_zero_where_no_target_exceeds_the_threshold(tiny):
    model = BrainBertForPreTraining.from_pretrained(tiny)
    image = torch.full((1, 20, 40), 0.5)
    output = model(image, labels=image)
    assert output.content_count == 0
    assert output.loss.item() == pytest.approx((output.l1_sum / output.l1_count).item())


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_another_configuration_equals_a_plain_transformer_encoder(implementation):
    torch.manual_seed(5)
    hidden, frames, bins = 48, 77, 21
    config = BrainBertConfig(
        hidden_size=hidden,
        num_hidden_layers=3,
        num_attention_heads=6,
        intermediate_size=100,
        num_frequency_bins=bins,
        layer_norm_eps=1e-6,
    )
    layer = nn.TransformerEncoderLayer(
        hidden, 6, 100, dropout=0.0, activation="gelu", layer_norm_eps=1e-6, batch_first=True
    )
    plain = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).eval()
    projection, norm = nn.Linear(bins, hidden), nn.LayerNorm(hidden, eps=1e-6)
    for parameter in (*plain.parameters(), *norm.parameters()):
        nn.init.normal_(parameter, std=0.3)
    weights = {f"transformer.{name}": weight for name, weight in plain.state_dict().items()}
    weights |= {f"input_encoding.in_proj.{name}": weight for name, weight in projection.state_dict().items()}
    weights |= {f"input_encoding.layer_norm.{name}": weight for name, weight in norm.state_dict().items()}

    model = BrainBertModel._from_config(config, attn_implementation=implementation).eval()
    model.load_state_dict({name.removeprefix("brainbert."): w for name, w in convert_state_dict(weights).items()})
    image = torch.randn(4, frames, bins)
    padding = torch.arange(frames) >= torch.tensor([[frames], [60], [11], [76]])
    position, column = np.arange(frames)[:, None], np.arange(hidden)[None]
    angle = position / 10000 ** ((column // 2 * 2) / hidden)
    table = torch.from_numpy(np.where(column % 2 == 0, np.sin(angle), np.cos(angle))).float()
    with torch.no_grad():
        expected = plain(norm(projection(image) + table), src_key_padding_mask=padding)
        ours = model(image, attention_mask=~padding).last_hidden_state
    torch.testing.assert_close(ours[~padding], expected[~padding], atol=1e-5, rtol=0)


def test_the_table_of_positions_is_the_recorded_one_bit_for_bit(tiny, original):
    model = BrainBertModel.from_pretrained(tiny)
    recorded = original["weight/input_encoding.positional_encoding.pe"]
    np.testing.assert_array_equal(model.embeddings.positions.numpy(), recorded)


def test_conversion_refuses_keys_that_are_not_the_authors(original):
    weights = original_weights(original) | {"transformer.layers.0.surprise.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"not of the authors' BrainBERT: transformer\.layers\.0\.surprise\.weight"):
        convert_state_dict(weights)


def test_conversion_gives_exactly_the_keys_of_our_model(tiny, original):
    model = BrainBertForPreTraining.from_pretrained(tiny)
    assert set(convert_state_dict(original_weights(original))) == set(model.state_dict())


def test_large_has_the_released_number_of_parameters():
    with torch.device("meta"):
        model = BrainBertForPreTraining(BrainBertConfig.from_preset("large"))
    assert sum(parameter.numel() for parameter in model.parameters()) == 43_183_144
    assert sum(parameter.numel() for parameter in model.brainbert.parameters()) == 42_560_256


def test_initial_weights_are_those_of_pytorch_with_xavier_for_the_packed_projection():
    torch.manual_seed(0)
    model = BrainBertForPreTraining(BrainBertConfig.from_preset("small"))
    hidden = 384
    layer = model.brainbert.layers[1]
    # A uniform distribution over ±b has standard deviation b / √3.
    bounds = {
        model.brainbert.embeddings.projection: 40**-0.5,
        layer.attention.q_proj: (6 / (hidden + 3 * hidden)) ** 0.5,
        layer.attention.k_proj: (6 / (hidden + 3 * hidden)) ** 0.5,
        layer.attention.v_proj: (6 / (hidden + 3 * hidden)) ** 0.5,
        layer.attention.o_proj: hidden**-0.5,
        layer.intermediate: hidden**-0.5,
        layer.output: 1200**-0.5,
        model.reconstruction_head.dense: hidden**-0.5,
        model.reconstruction_head.decoder: hidden**-0.5,
    }
    for linear, bound in bounds.items():
        assert linear.weight.abs().max() <= bound
        assert linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert not linear.bias.any()
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all()
            assert not module.bias.any()


def test_a_spectrogram_with_other_bins_is_refused(tiny):
    with pytest.raises(ValueError, match=r"reads \(batch, frames, 40\): use the feature extractor"):
        BrainBertModel.from_pretrained(tiny)(torch.zeros(1, 20, 41))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"attention_mask": torch.ones(2, 19)}, r"attention_mask has shape \(2, 19\)"),
        ({"labels": torch.zeros(20, 40)}, r"labels has shape \(20, 40\) and the image \(2, 20, 40\)"),
        ({"labels": torch.zeros(2, 20, 40), "mask": torch.ones(2, 20, 1)}, r"mask has shape \(2, 20, 1\)"),
    ],
)
def test_shapes_that_would_only_broadcast_are_refused(tiny, arguments, message):
    with pytest.raises(ValueError, match=message):
        BrainBertForPreTraining.from_pretrained(tiny)(torch.zeros(2, 20, 40), **arguments)


def test_a_spectrogram_that_is_too_long_is_refused(tiny):
    with pytest.raises(ValueError, match="5001 frames are more than this model's max_position_embeddings 5000"):
        BrainBertModel.from_pretrained(tiny)(torch.zeros(1, 5001, 40))
