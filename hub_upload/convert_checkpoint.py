"""Map the weights of the authors' code to ours.

This module knows names and shapes only; it opens no file.
"""

from collections.abc import Mapping

import torch

_EMBEDDINGS = {
    "input_encoding.in_proj": "brainbert.embeddings.projection",
    "input_encoding.layer_norm": "brainbert.embeddings.layer_norm",
}
_HEAD = {
    "spec_prediction_head.hidden_layer": "reconstruction_head.dense",
    "spec_prediction_head.layer_norm": "reconstruction_head.layer_norm",
    "spec_prediction_head.output": "reconstruction_head.decoder",
}
_LAYER = {
    "self_attn.out_proj": "attention.o_proj",
    "linear1": "intermediate",
    "linear2": "output",
    "norm1": "attention_layer_norm",
    "norm2": "output_layer_norm",
}


def convert_state_dict(original: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the state dict of BrainBertForPreTraining for the state dict `original` of the authors' model.

    The packed query–key–value matrix is split in three; the sinusoidal table is dropped (we compute it).
    Raises ValueError naming the keys that are not the authors'.
    """
    converted: dict[str, torch.Tensor] = {}
    unknown = []
    for key, tensor in original.items():
        module, _, parameter = key.rpartition(".")
        if key == "input_encoding.positional_encoding.pe":
            continue
        if module in _EMBEDDINGS or module in _HEAD:
            converted[f"{(_EMBEDDINGS | _HEAD)[module]}.{parameter}"] = tensor
            continue
        name = key.removeprefix("transformer.layers.")
        number, _, inside = name.partition(".")
        layer = f"brainbert.layers.{number}"
        module, _, parameter = inside.rpartition(".")
        if name == key or not number.isdigit():
            unknown.append(key)
        elif inside in ("self_attn.in_proj_weight", "self_attn.in_proj_bias"):
            parameter = inside.removeprefix("self_attn.in_proj_")
            for projection, part in zip(("q_proj", "k_proj", "v_proj"), tensor.chunk(3), strict=True):
                converted[f"{layer}.attention.{projection}.{parameter}"] = part.contiguous()
        elif module in _LAYER:
            converted[f"{layer}.{_LAYER[module]}.{parameter}"] = tensor
        else:
            unknown.append(key)
    if unknown:
        raise ValueError(f"These keys are not of the authors' BrainBERT: {', '.join(unknown)}.")
    return converted
