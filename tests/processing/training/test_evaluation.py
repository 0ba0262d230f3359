from pathlib import Path

import pytest
import torch

from brainbert.modeling_brainbert import BrainBertFeatureExtractor, BrainBertForPreTraining
from brainbert.processing.training import CollateClips, evaluate, interpolate_masked, masked_batch

TINY = Path(__file__).parents[2] / "fixtures" / "tiny"


def rows(count, seed=0):
    signal = 50 * torch.randn(count, 4096, generator=torch.Generator().manual_seed(seed)).cumsum(-1).numpy()
    return [
        {"signal": clip, "scale": 1.0, "offset": 0.0, "recording": "r", "contact": "A1", "start": number}
        for number, clip in enumerate(signal)
    ]


def batches(sizes):
    start, clips = 0, rows(sum(sizes))
    for size in sizes:
        clip = CollateClips()(clips[start : start + size])
        yield masked_batch(clip, BrainBertFeatureExtractor(), seed=0, epoch=0)
        start += size


def test_errors_are_means_over_all_masked_cells_of_all_batches():
    model = BrainBertForPreTraining.from_pretrained(TINY)
    errors = evaluate(model, batches([5, 2, 1]), content_threshold=1.0)
    predicted, mean, interpolated, content = [], [], [], []
    with torch.no_grad():
        for batch in batches([5, 2, 1]):
            mask, target = batch["mask"], batch["labels"]
            predicted.append((model(**batch).logits - target).abs()[mask])
            mean.append(target.abs()[mask])
            interpolated.append((interpolate_masked(target, mask) - target).abs()[mask])
            content.append(target.abs()[mask] > 1)
    content = torch.cat(content)
    for name, parts in (("model", predicted), ("mean", mean), ("interpolation", interpolated)):
        error = torch.cat(parts)
        assert errors[name].l1 == pytest.approx(error.mean().item(), rel=1e-5)
        assert errors[name].content == pytest.approx(error[content].mean().item(), rel=1e-5)


def test_the_model_is_left_in_the_mode_it_was_in():
    model = BrainBertForPreTraining.from_pretrained(TINY).train()
    evaluate(model, batches([2]), content_threshold=1.0)
    assert model.training


def test_a_flat_clip_takes_no_part():
    clips = rows(3)
    clips[1]["signal"] = clips[1]["signal"] * 0
    batch = masked_batch(CollateClips()(clips), BrainBertFeatureExtractor(), seed=0, epoch=0)
    assert batch["attention_mask"].any(1).tolist() == [True, False, True]
    assert not batch["mask"][1].any()


def test_recording_statistics_reach_the_extractor_row_by_row():
    extractor = BrainBertFeatureExtractor(normalization="recording")
    statistics = {
        ("r", "A1"): {"fingerprint": extractor.fingerprint, "mean": [1.0] * 40, "std": [2.0] * 40},
        ("r", "A2"): {"fingerprint": extractor.fingerprint, "mean": [0.0] * 40, "std": [1.0] * 40},
    }
    clips = rows(2)
    clips[1] = clips[0] | {"contact": "A2"}
    batch = masked_batch(CollateClips(statistics)(clips), extractor, seed=0, epoch=0)
    torch.testing.assert_close(batch["labels"][0], (batch["labels"][1] - 1) / 2)


def test_statistics_of_another_front_end_are_refused_on_the_way_to_the_model():
    other = BrainBertFeatureExtractor(normalization="recording", scale="log")
    statistics = {("r", "A1"): {"fingerprint": other.fingerprint, "mean": [1.0] * 40, "std": [2.0] * 40}}
    extractor = BrainBertFeatureExtractor(normalization="recording")
    with pytest.raises(ValueError, match="compute them again with this extractor"):
        masked_batch(CollateClips(statistics)(rows(2)), extractor, seed=0, epoch=0)


def test_a_contact_without_statistics_is_named():
    with pytest.raises(ValueError, match="no statistics of contact A1 of recording r"):
        CollateClips({})(rows(1))


def test_errors_of_shares_add_up_to_the_error_of_all():
    model = BrainBertForPreTraining.from_pretrained(TINY)
    whole = evaluate(model, batches([4, 4]), content_threshold=1.0)
    first, second = (evaluate(model, [batch], content_threshold=1.0) for batch in batches([4, 4]))
    nothing = evaluate(model, [], content_threshold=1.0)  # a process without a share
    for who, error in whole.items():
        names = iter(error.sums)  # `reduced` asks for them in this order, and stands for the sum over processes
        added = first[who].reduced(
            lambda value, names=names, who=who: value + second[who].sums[name := next(names)] + nothing[who].sums[name]
        )
        assert (added.l1, added.content) == pytest.approx((error.l1, error.content))
