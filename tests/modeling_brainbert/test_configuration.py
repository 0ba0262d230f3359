import pytest

from brainbert.modeling_brainbert import PRESETS, BrainBertConfig


def test_a_value_of_the_wrong_type_is_refused():
    with pytest.raises(Exception, match="hidden_size"):
        BrainBertConfig(hidden_size="768")


def test_heads_must_divide_the_hidden_size():
    with pytest.raises(Exception, match="hidden_size 100 must be even and a multiple of num_attention_heads 12"):
        BrainBertConfig(hidden_size=100)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(Exception, match="pooling is 'max'"):
        BrainBertConfig(pooling="max")


def test_an_unknown_preset_is_refused_with_the_list_of_presets():
    with pytest.raises(ValueError, match="choose one of tiny, small, base, large"):
        BrainBertConfig.from_preset("huge")


def test_a_misspelt_field_is_refused():
    with pytest.raises(ValueError, match="has no field hiden_size"):
        BrainBertConfig.from_preset("tiny", hiden_size=24)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_saving_and_loading(name, tmp_path):
    config = BrainBertConfig.from_preset(name, pooling="mean")
    config.save_pretrained(tmp_path)
    again = BrainBertConfig.from_pretrained(tmp_path)
    assert {**again.to_dict(), "transformers_version": None} == {**config.to_dict(), "transformers_version": None}
