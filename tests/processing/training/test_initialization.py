import pytest
import torch

from brainbert.modeling_brainbert import BrainBertConfig, BrainBertModel
from brainbert.processing.training import look_at_neighbours


@pytest.fixture
def model():
    torch.manual_seed(0)
    return BrainBertModel(BrainBertConfig.from_preset("small")).eval()


def test_each_head_looks_at_the_frame_of_its_offset(model):
    look_at_neighbours([model.layers[0].attention], offsets=(-3, 2), gain=6.0)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        weights = model(torch.zeros(1, 60, 40), output_attentions=True).attentions[0][0]  # (heads, queries, keys)
    looked_at = weights.argmax(-1)[:, 10:50]
    expected = torch.arange(10, 50) + torch.tensor([-3, 2] * 6).unsqueeze(1)
    away = (looked_at - expected).abs()
    assert (away <= 1).float().mean() > 0.9  # rows are random, so that a neighbour may win here and there


def test_the_query_of_a_frame_is_the_key_of_the_frame_at_its_offset(model):
    attention = model.layers[1].attention
    look_at_neighbours([attention], offsets=(5,))
    positions = model.embeddings.positions[0, :40]
    with torch.no_grad():
        query = attention.q_proj.weight @ positions.T
        key = attention.k_proj.weight @ positions.T
    torch.testing.assert_close(query[:, :35], key[:, 5:], rtol=0, atol=2e-5)


def test_rows_of_a_head_are_orthogonal_and_as_long_as_the_gain(model):
    attention = model.layers[0].attention
    look_at_neighbours([attention], gain=1.5)
    rows = attention.k_proj.weight[:32]
    torch.testing.assert_close(rows @ rows.T, 2.25 * torch.eye(32), rtol=0, atol=1e-5)


def test_too_few_fast_positions_are_refused(model):
    with pytest.raises(ValueError, match=r"slowest=0.9 leaves 6 of 384 columns, fewer than the 32 of a head"):
        look_at_neighbours([model.layers[0].attention], slowest=0.9)
