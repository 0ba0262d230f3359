"""The front end gives the recorded numbers, whatever the form of its input, and refuses what it cannot read."""

import json
import warnings

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor

from brainbert.modeling_brainbert import BrainBertFeatureExtractor, stft

RECORDED = {"training": ("stft", 186), "demo": ("stft_demo", 196), "no_boundary": ("stft_no_boundary", 198)}


def voltage(*shape, seed=0):
    return 50 * np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("variant", RECORDED)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-6)])
def test_five_seconds_equal_the_recorded_spectrogram(original, variant, dtype, tolerance):
    extractor = BrainBertFeatureExtractor(variant=variant)
    key, frames = RECORDED[variant]
    image = extractor(original["waveform"], sampling_rate=2048, dtype=dtype).input_values
    assert image.shape == (3, frames, 40)
    assert extractor.num_frames(10240) == frames
    np.testing.assert_allclose(image, original[key], atol=tolerance, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-6)])
def test_one_second_equals_the_recorded_spectrogram(original, dtype, tolerance):
    image = BrainBertFeatureExtractor()(original["one_second_waveform"], sampling_rate=2048, dtype=dtype).input_values
    np.testing.assert_allclose(image, original["one_second_stft"], atol=tolerance, rtol=0)


@pytest.mark.parametrize(("variant", "frames"), [("training", 22), ("demo", 32), ("no_boundary", 34)])
def test_frames_of_one_second(variant, frames):
    extractor = BrainBertFeatureExtractor(variant=variant)
    assert extractor.num_frames(2048) == frames
    assert extractor(voltage(2048), sampling_rate=2048).input_values.shape == (1, frames, 40)


def test_a_sine_in_the_middle_of_a_bin_has_half_its_amplitude():
    time = torch.arange(4000, dtype=torch.float64) / 2048
    magnitude = stft(6 * torch.sin(2 * torch.pi * 10 * 5.12 * time), zero_boundary=False)
    assert magnitude[20, 10].item() == pytest.approx(3, abs=1e-9)
    assert magnitude[20, 13].item() == pytest.approx(0, abs=1e-9)


def test_numpy_torch_and_lists_give_the_same_numbers():
    signal = voltage(2, 3000).astype(np.float32)
    extractor = BrainBertFeatureExtractor()
    expected = extractor(signal, sampling_rate=2048).input_values
    forms = {
        "float64": signal.astype(np.float64),
        "torch": torch.from_numpy(signal),
        "list of arrays": list(signal),
        "list of lists": signal.tolist(),
        "list of tensors": list(torch.from_numpy(signal)),
        "big endian": signal.astype(">f4"),
        "not contiguous": np.asfortranarray(signal),
    }
    for name, form in forms.items():
        torch.testing.assert_close(extractor(form, sampling_rate=2048).input_values, expected, atol=0, rtol=0, msg=name)
    flat_list = extractor(signal[0].tolist(), sampling_rate=2048).input_values
    torch.testing.assert_close(flat_list, expected[:1], atol=1e-6, rtol=0)
    as_numpy = extractor(signal, sampling_rate=2048, return_tensors="np")
    np.testing.assert_array_equal(as_numpy.input_values, expected.numpy())


def test_a_read_only_array_is_accepted_without_a_warning():
    signal = voltage(3000).astype(np.float32)
    signal.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        BrainBertFeatureExtractor()(signal, sampling_rate=2048)


@pytest.mark.parametrize("variant", RECORDED)
def test_a_padded_clip_equals_the_same_clip_alone(variant):
    clips = [voltage(samples, seed=samples) for samples in (10240, 2048, 5001, 2048)]
    extractor = BrainBertFeatureExtractor(variant=variant)
    batch = extractor(clips, sampling_rate=2048)
    assert batch.input_values.shape[:2] == batch.attention_mask.shape == (4, extractor.num_frames(10240))
    for row, clip in enumerate(clips):
        alone = extractor(clip, sampling_rate=2048).input_values[0]
        frames = len(alone)
        assert batch.attention_mask[row].tolist() == [1] * frames + [0] * (batch.attention_mask.shape[1] - frames)
        torch.testing.assert_close(batch.input_values[row, :frames], alone, atol=2e-6, rtol=0)
        assert not batch.input_values[row, frames:].any()


def test_corpus_normalisation_uses_the_stored_statistics_and_survives_saving(tmp_path):
    plain = BrainBertFeatureExtractor(scale="log")
    signal = voltage(3, 4096)
    magnitude = plain.spectrogram(signal, sampling_rate=2048)
    mean, std = magnitude.mean((0, 1)), magnitude.std((0, 1))
    extractor = BrainBertFeatureExtractor(scale="log", normalization="corpus", mean=mean.tolist(), std=std.tolist())
    extractor.save_pretrained(tmp_path)
    again = AutoFeatureExtractor.from_pretrained(tmp_path)
    image = again(signal, sampling_rate=2048).input_values
    torch.testing.assert_close(image, (again.spectrogram(signal, sampling_rate=2048) - mean) / std)


def test_recording_normalisation_uses_one_row_of_statistics_per_contact():
    extractor = BrainBertFeatureExtractor(normalization="recording")
    signal = voltage(2, 4096)
    magnitude = extractor.spectrogram(signal, sampling_rate=2048)
    statistics = {
        "fingerprint": extractor.fingerprint,
        "mean": magnitude.mean(1).numpy(),
        "std": magnitude.std(1).numpy(),
    }
    image = extractor([signal[0], signal[1, :3000]], sampling_rate=2048, statistics=statistics).input_values
    expected = (magnitude - magnitude.mean(1, keepdim=True)) / magnitude.std(1, keepdim=True)
    torch.testing.assert_close(image[0], expected[0], atol=1e-5, rtol=1e-5)
    inside = slice(0, extractor.num_frames(2500))  # frames that the shorter clip's end does not touch
    torch.testing.assert_close(image[1, inside], expected[1, inside], atol=1e-5, rtol=1e-5)


def test_a_minute_of_each_contact_stands_for_its_recording():
    extractor = BrainBertFeatureExtractor(normalization="recording")
    image = extractor(voltage(1, 60 * 2048), sampling_rate=2048).input_values[0]
    torch.testing.assert_close(image.mean(0), torch.zeros(40), atol=1e-5, rtol=0)
    torch.testing.assert_close(image.std(0, correction=0), torch.ones(40), atol=1e-5, rtol=0)


def test_absolute_power_is_lost_by_clip_and_kept_by_corpus_normalisation():
    signal = voltage(1, 4096)
    clip = BrainBertFeatureExtractor()
    corpus = BrainBertFeatureExtractor(normalization="corpus", mean=[2.0] * 40, std=[1.0] * 40)

    def level(extractor, gain):
        return extractor(gain * signal, sampling_rate=2048).input_values.mean().item()

    assert level(clip, 3) == pytest.approx(level(clip, 1), abs=1e-5)
    assert level(corpus, 3) - level(corpus, 1) > 1


def test_log_scale_is_the_logarithm_of_the_magnitude_in_microvolts():
    signal = voltage(1, 4096)
    linear = BrainBertFeatureExtractor().spectrogram(signal, sampling_rate=2048)
    log = BrainBertFeatureExtractor(scale="log").spectrogram(signal, sampling_rate=2048)
    torch.testing.assert_close(log, linear.log())


def test_invalid_contacts_are_masked_on_request():
    signal = voltage(4, 3000)
    signal[1, 1234] = np.nan
    signal[2] = 7.0
    extractor = BrainBertFeatureExtractor()
    batch = extractor(signal, sampling_rate=2048, on_invalid="mask")
    assert batch.attention_mask.any(1).tolist() == [True, False, False, True]
    assert torch.isfinite(batch.input_values).all()
    alone = extractor(signal[[0, 3]], sampling_rate=2048).input_values
    torch.testing.assert_close(batch.input_values[[0, 3]], alone, atol=2e-6, rtol=0)


def test_a_rate_within_one_in_ten_thousand_is_the_same_rate():
    extractor = BrainBertFeatureExtractor(sampling_rate=399.61)
    assert extractor(voltage(3000), sampling_rate=399.6097).input_values.shape[0] == 1


def test_saved_settings_hold_no_kernels_and_come_back(tmp_path):
    extractor = BrainBertFeatureExtractor(variant="demo", scale="log", sampling_rate=1024, window_length=200)
    extractor(voltage(3000), sampling_rate=1024)
    extractor.save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert all(not isinstance(value, list) for value in saved.values())
    assert BrainBertFeatureExtractor.from_pretrained(tmp_path).fingerprint == extractor.fingerprint


@pytest.mark.parametrize(
    ("signal", "rate", "message"),
    [
        (voltage(3000), 512, r"sampled at 512 Hz and this front end reads 2048 Hz: resample it first"),
        (voltage(3000), float("nan"), "sampled at nan Hz"),
        (
            voltage(1200),
            2048,
            r"1200 samples \(0.586 s\) give 5 frames and at least 10 are needed.*1401 samples or more",
        ),
        (voltage(10240, 3), 2048, r"3 samples .* pass \(contacts, samples\)"),
        (voltage(2, 3, 3000), 2048, r"shape \(2, 3, 3000\): pass \(samples,\) for one contact"),
        ([], 2048, r"shape \(0,\)"),
        (np.array(["a", "b"]), 2048, "pass real numbers in microvolts"),
        (voltage(3000) + 1j, 2048, "pass real numbers in microvolts"),
        (np.where(np.arange(3000) == 5, np.nan, 1.0 * np.arange(3000)), 2048, "row. 0 holds NaN or infinite values"),
        (np.stack([voltage(3000), np.ones(3000)]), 2048, "row. 1 holds a flat line: leave it out"),
        ([voltage(3000), voltage(2, 3000)], 2048, "one-dimensional arrays"),
    ],
)
def test_bad_input_is_refused_with_the_remedy(signal, rate, message):
    with pytest.raises(ValueError, match=message):
        BrainBertFeatureExtractor()(signal, sampling_rate=rate)


def test_the_shortest_accepted_clip_is_the_one_that_the_refusal_names():
    extractor = BrainBertFeatureExtractor()
    assert extractor(voltage(1401), sampling_rate=2048).input_values.shape[1] == 10
    with pytest.raises(ValueError, match="at least 10"):
        extractor(voltage(1400), sampling_rate=2048)


def test_the_sampling_rate_is_required():
    with pytest.raises(TypeError, match="sampling_rate"):
        BrainBertFeatureExtractor()(voltage(3000))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variant": "paper"}, "variant is 'paper': choose one of training, demo, no_boundary"),
        ({"transform": "wavelet"}, "transform is 'wavelet'"),
        ({"normalization": "global"}, "normalization is 'global'"),
        ({"scale": "dB"}, "scale is 'dB'"),
        ({"normalization": "corpus"}, "needs mean and std, each of 40 numbers"),
        ({"normalization": "corpus", "mean": [0.0] * 40, "std": [0.0] * 40}, "std positive"),
        ({"feature_size": 300}, "1 to 201 frequency bins"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BrainBertFeatureExtractor(**settings)


def test_recording_normalisation_of_a_short_clip_without_statistics_is_refused():
    with pytest.raises(ValueError, match="needs statistics=, or at least 60 s of each contact"):
        BrainBertFeatureExtractor(normalization="recording")(voltage(3000), sampling_rate=2048)


def test_statistics_of_another_front_end_are_refused():
    statistics = {"fingerprint": BrainBertFeatureExtractor(scale="log").fingerprint, "mean": [0] * 40, "std": [1] * 40}
    with pytest.raises(ValueError, match="compute them again with this extractor"):
        BrainBertFeatureExtractor(normalization="recording")(voltage(3000), sampling_rate=2048, statistics=statistics)


def test_statistics_for_another_number_of_contacts_are_refused():
    extractor = BrainBertFeatureExtractor(normalization="recording")
    statistics = {"fingerprint": extractor.fingerprint, "mean": np.zeros((3, 40)), "std": np.ones((3, 40))}
    with pytest.raises(ValueError, match=r"shape \(3, 40\): pass \(40,\) for all contacts or \(2, 40\)"):
        extractor(voltage(2, 3000), sampling_rate=2048, statistics=statistics)


@pytest.mark.parametrize("statistics", [{"mean": [np.nan] * 40, "std": [1] * 40}, {"mean": [0] * 40, "std": [-1] * 40}])
def test_impossible_statistics_are_refused(statistics):
    extractor = BrainBertFeatureExtractor(normalization="recording")
    statistics = {"fingerprint": extractor.fingerprint, **statistics}
    with pytest.raises(ValueError, match="is negative or not finite: compute them again"):
        extractor(voltage(3000), sampling_rate=2048, statistics=statistics)


@pytest.mark.parametrize(
    ("settings", "meant"), [({"normalisation": "recording"}, "normalization"), ({"sample_rate": 1024}, "sampling_rate")]
)
def test_a_misspelt_setting_is_refused_with_the_one_that_was_meant(settings, meant):
    with pytest.raises(TypeError, match=f"did you mean '{meant}'"):
        BrainBertFeatureExtractor(**settings)


def test_fewer_samples_than_a_window_are_refused_without_a_boundary_of_zeros():
    with pytest.raises(ValueError, match="390 samples do not fill one window of 400"):
        stft(torch.randn(390), zero_boundary=False)


def test_volts_instead_of_microvolts_are_warned_about():
    extractor = BrainBertFeatureExtractor(scale="log")
    with pytest.warns(UserWarning, match="multiply by 1e6"):
        extractor(1e-6 * voltage(3000), sampling_rate=2048)


def test_a_clipped_contact_is_warned_about():
    with pytest.warns(UserWarning, match="amplifier was probably saturated"):
        BrainBertFeatureExtractor()(np.clip(voltage(3000), -60, 60), sampling_rate=2048)


def test_an_array_that_looks_transposed_is_warned_about():
    with pytest.warns(
        UserWarning, match=r"2000 contacts of 1500 samples: if it is \(samples, contacts\), transpose it"
    ):
        BrainBertFeatureExtractor()(voltage(2000, 1500), sampling_rate=2048)


def test_the_wearable_front_end_has_a_32nd_of_the_frequencies_of_the_intracranial_one(tmp_path):
    intracranial = BrainBertFeatureExtractor.named("intracranial")
    assert intracranial.to_dict() == BrainBertFeatureExtractor().to_dict()
    wearable = BrainBertFeatureExtractor.named("wearable")
    np.testing.assert_allclose(wearable.frequencies, np.array(intracranial.frequencies) / 32)
    assert (wearable.frequencies[1], wearable.frequencies[-1]) == (0.16, 6.24)
    assert (wearable.feature_size, wearable.window_length, wearable.hop_length) == (40, 400, 50)
    assert wearable.num_frames(30 * 64) == 32  # (1920 - 400) / 50 + 1, rounded up: the last has 30 samples of zeros
    wearable.save_pretrained(tmp_path)
    assert AutoFeatureExtractor.from_pretrained(tmp_path).to_dict() == wearable.to_dict()


def test_a_pulse_and_breathing_are_where_the_wearable_front_end_says():
    time_s = np.arange(60 * 64) / 64
    signal = 20 * np.sin(2 * np.pi * 0.32 * time_s) + 10 * np.sin(2 * np.pi * 1.12 * time_s)  # 67 beats a minute
    image = BrainBertFeatureExtractor.named("wearable").spectrogram(signal, sampling_rate=64)[0].exp().mean(0)
    assert image.argsort(descending=True)[:1].tolist() == [2]  # 0.32 Hz
    assert image[2].item() == pytest.approx(10, rel=0.01)
    assert image[7].item() == pytest.approx(5, rel=0.01)


def test_a_front_end_of_another_name_is_refused():
    with pytest.raises(ValueError, match="no front end 'scalp': choose one of intracranial, wearable"):
        BrainBertFeatureExtractor.named("scalp")
