from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.signal import fftconvolve

from brainbert.modeling_brainbert import BrainBertFeatureExtractor, num_superlet_frames, stft, superlet

MODEL_HZ = np.linspace(0.1, 200, 40)


def z_score(amplitude):
    trimmed = np.asarray(amplitude)[:, 5:-5]
    return (trimmed - trimmed.mean(1, keepdims=True)) / trimmed.std(1, keepdims=True)


def by_convolution(signal, *, rate, frequencies, order_min, order_max, base_cycles, hop=50):
    """The definition in superlet's docstring, one wavelet at a time over every sample: (frames, bins)."""
    frequencies = np.asarray(frequencies)
    orders = order_min + (order_max - order_min) * (frequencies - frequencies[0]) / (frequencies[-1] - frequencies[0])
    image = np.empty((-(-len(signal) // hop), len(frequencies)))
    for bin, (frequency, order) in enumerate(zip(frequencies, orders, strict=True)):
        logarithm = np.zeros(len(image))
        for wavelet_order in range(order_min, int(np.ceil(order)) + 1):
            share = 1.0 if wavelet_order <= order else order - np.floor(order)
            cycles = wavelet_order * base_cycles
            length = 10 * cycles * rate / (2 * np.pi * frequency)
            t = np.arange((1 - length) / 2, (1 + length) / 2) / rate
            deviation = cycles / (5 * frequency)
            wavelet = np.exp(-(t**2) / (2 * deviation**2)) * np.exp(2j * np.pi * frequency * t)
            wavelet *= np.sqrt(rate) / (4 * np.pi) / (deviation * rate * np.sqrt(2 * np.pi))
            response = fftconvolve(signal, wavelet, mode="same")[::hop]
            logarithm += share * np.log(np.abs(response))
        image[:, bin] = np.exp(logarithm / (order - order_min + 1))
    return image


@pytest.fixture(scope="module")
def references():
    """Numbers recorded from other code: see tests/fixtures/README.md."""
    with np.load(Path(__file__).parents[1] / "fixtures" / "superlet_references.npz") as arrays:
        return dict(arrays)


@pytest.fixture
def signal():
    generator = np.random.default_rng(0)
    return generator.standard_normal((2, 3001)).cumsum(-1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-4)])
def test_z_scores_are_the_recorded_ones(original, dtype, tolerance):
    extractor = BrainBertFeatureExtractor(transform="superlet")
    image = extractor(original["waveform"], sampling_rate=2048, dtype=dtype).input_values
    assert image.shape == (3, 195, 40)
    np.testing.assert_allclose(image, original["superlet"], atol=tolerance, rtol=0)


def test_amplitude_is_the_recorded_one(original):
    amplitude = superlet(torch.from_numpy(original["waveform"])).numpy()
    # Recorded in complex64: 1e-7 of the largest amplitude of a bin.
    recorded = original["superlet_amplitude"].transpose(0, 2, 1)
    np.testing.assert_allclose(amplitude / recorded.max(1, keepdims=True), recorded / recorded.max(1, keepdims=True),
                               atol=1e-6)  # fmt: skip


@pytest.mark.parametrize(
    ("rate", "frequencies", "orders", "cycles"),
    [
        (2048, MODEL_HZ, (3, 30), 1),
        (500, np.linspace(5, 120, 17), (2, 12), 3),
        (1000, np.geomspace(2, 300, 25), (1, 8), 2),
        (2048, np.array([30.0, 60, 90]), (1, 30), 1),
        (512, np.linspace(20, 200, 8), (5, 5.5), 1),
    ],
)
def test_double_precision_is_the_definition_to_nine_digits(signal, rate, frequencies, orders, cycles):
    order_min, order_max = orders
    ours = superlet(
        torch.from_numpy(signal),
        sampling_rate=rate,
        frequencies=frequencies.tolist(),
        order_min=order_min,
        order_max=order_max,
        base_cycles=cycles,
    )
    for row, image in zip(signal, ours, strict=True):
        expected = by_convolution(
            row, rate=rate, frequencies=frequencies, order_min=order_min, order_max=order_max, base_cycles=cycles
        )
        np.testing.assert_allclose(image, expected, rtol=1e-9)


def test_a_long_recording_is_what_convolution_gives():
    signal = np.random.default_rng(1).standard_normal(40_000).cumsum()
    frequencies = [0.7, 3.0, 8.0, 90.0]  # wavelets of 7 s down to 50 ms
    settings = {"order_min": 3, "order_max": 12, "base_cycles": 1}
    ours = superlet(torch.from_numpy(signal), frequencies=frequencies, hop_length=5, **settings)
    assert len(ours) == 8000  # frames, which is more than one Fourier transform over hops takes
    expected = by_convolution(signal, rate=2048, frequencies=frequencies, hop=5, **settings)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_equal_orders_are_a_morlet_transform(signal):
    ours = superlet(torch.from_numpy(signal[0]), frequencies=[20.0, 40.0], order_min=7, order_max=7)
    length = 10 * 7 * 2048 / (2 * np.pi * 40)
    t = np.arange((1 - length) / 2, (1 + length) / 2) / 2048
    wavelet = np.exp(-((5 * 40 * t / 7) ** 2) / 2 + 80j * np.pi * t)
    response = np.abs(fftconvolve(signal[0], wavelet, mode="same"))[::50]
    ratio = ours[:, 1].numpy() / response
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


def test_a_sine_has_the_gain_that_is_stated():
    time = torch.arange(8192, dtype=torch.float64) / 2048
    image = superlet(3 * torch.sin(2 * torch.pi * 50 * time), frequencies=[10.0, 50.0, 90.0])
    assert float(image[80, 1]) == pytest.approx(3 * 2048**0.5 / (8 * np.pi), rel=1e-4)
    energy = superlet(3 * torch.sin(2 * torch.pi * 50 * time), frequencies=[10.0, 50.0, 90.0], definition="moca")
    assert float(energy[80, 1]) == pytest.approx(3**2 / 2, rel=5e-3)


def test_mocas_definition_is_what_the_authors_of_the_publication_get(references):
    settings = {"frequencies": np.linspace(20, 200, 10).tolist(), "sampling_rate": 1000, "base_cycles": 3}
    energy = superlet(
        torch.from_numpy(references["moca_waveform"]), order_min=2, order_max=5.5, definition="moca", **settings
    )
    np.testing.assert_allclose(energy, references["moca_energy"], rtol=1e-9)


def test_double_precision_is_the_original_run_in_double_precision(original, references):
    amplitude = superlet(torch.from_numpy(original["waveform"][0]))
    np.testing.assert_allclose(amplitude[::5], references["original_double"], rtol=1e-9)


def test_mocas_definition_multiplies_all_orders_from_one():
    # Half the second wavelet's weight at order 1.5: (|w1| |w2|^.5)^(1 / 1.5), squared and doubled.
    signal = torch.from_numpy(np.random.default_rng(2).standard_normal(4000))
    settings = {"frequencies": [20.0], "sampling_rate": 1000, "base_cycles": 3, "definition": "moca"}
    combined = superlet(signal, order_min=1.5, order_max=1.5, **settings)
    first = superlet(signal, order_min=1, order_max=1, **settings)
    both = superlet(signal, order_min=2, order_max=2, **settings)
    # both = sqrt(first · second), so second = both² / first.
    np.testing.assert_allclose(combined, (first * (both**2 / first) ** 0.5) ** (1 / 1.5), rtol=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_float32_is_right_to_a_ten_thousandth_whatever_the_offset(original, offset):
    voltage = torch.from_numpy(original["waveform"] + offset).float()
    np.testing.assert_allclose(z_score(superlet(voltage)), z_score(superlet(voltage.double())), atol=1e-4, rtol=0)


@pytest.mark.parametrize("at_once", [70, 205, 300, 10_000])
def test_numbers_do_not_depend_on_the_chunks(original, at_once):
    voltage = torch.from_numpy(original["waveform"]).float()
    assert torch.equal(superlet(voltage, frames_at_once=at_once), superlet(voltage))
    np.testing.assert_allclose(
        superlet(voltage.double(), frames_at_once=at_once), superlet(voltage.double()), rtol=1e-12
    )


def test_a_clip_alone_is_the_clip_in_a_batch(original):
    voltage = torch.from_numpy(original["waveform"]).float()
    assert torch.equal(superlet(voltage)[1], superlet(voltage[1]))
    assert superlet(voltage[:, None]).shape == (3, 1, 205, 40)


def test_gradients_are_those_of_finite_differences():
    voltage = torch.randn(1, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)

    def transform(voltage):
        return superlet(voltage, sampling_rate=256, frequencies=[2.0, 20.0, 50.0], order_max=9, hop_length=40)

    assert torch.autograd.gradcheck(transform, (voltage,))
    for hop_length in (50, 150):  # by doubling, and window by window
        settings = {"hop_length": hop_length, "num_bins": 3}
        assert torch.autograd.gradcheck(
            lambda voltage, settings=settings: stft(voltage, **settings), (voltage,), fast_mode=True
        )


def test_gradients_are_finite_where_there_is_no_signal():
    voltage = torch.zeros(1, 2000, requires_grad=True)
    (superlet(voltage).sum() + stft(voltage).sum()).backward()
    assert torch.isfinite(voltage.grad).all()


def test_low_precision_settings_of_others_change_nothing(original):
    voltage = torch.from_numpy(original["waveform"]).float()
    expected = superlet(voltage), stft(voltage)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = superlet(voltage), stft(voltage)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frequencies": [10.0, 5.0]}, "ascending"),
        ({"frequencies": [0.0, 5.0]}, "above 0"),
        ({"frequencies": [5.0, 1100.0]}, "1100 Hz, is above half the sampling rate of 2048 Hz"),
        ({"order_min": 0}, "from 0 to 30"),
        ({"order_min": 9, "order_max": 4}, "from 9 to 4"),
        ({"base_cycles": 0}, "cycles"),
        ({"frequencies": [50.0]}, "A single superlet frequency cannot have orders from 3 to 30"),
        ({"frames_at_once": 0}, "frames_at_once is 0"),
        ({"hop_length": 0}, "hop_length is 0"),
        ({"definition": "mne"}, "choose one of original, moca"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        superlet(torch.zeros(3000), **settings)


@pytest.mark.parametrize("hop_length", [50, 60])  # by doubling, and window by window
def test_the_stft_compiles_without_a_break_and_gives_the_same(original, hop_length):
    voltage = torch.from_numpy(original["waveform"]).float()
    torch.compiler.reset()
    compiled = torch.compile(stft, fullgraph=True, backend="aot_eager")
    np.testing.assert_allclose(
        compiled(voltage, hop_length=hop_length), stft(voltage, hop_length=hop_length), atol=1e-5
    )  # fmt: skip


@pytest.mark.parametrize("variant", ["training", "demo", "no_boundary"])
def test_an_offset_of_a_millivolt_costs_the_stft_nothing(original, variant):
    extractor = BrainBertFeatureExtractor(variant=variant)
    voltage = (original["waveform"] + 1000).astype(np.float32)
    image = extractor(voltage, sampling_rate=2048).input_values
    expected = extractor(voltage, sampling_rate=2048, dtype=torch.float64).input_values
    np.testing.assert_allclose(image, expected, atol=5e-5, rtol=0)  # without removing it, 3e-4


@pytest.mark.parametrize("dtype", [torch.int64, torch.float16, torch.bfloat16])
def test_other_types_are_refused(dtype):
    for transform in (superlet, stft):
        with pytest.raises(ValueError, match="pass float32 or float64"):
            transform(torch.zeros(3000, dtype=dtype))


def test_no_clips_give_no_images():
    assert superlet(torch.zeros(0, 3000)).shape == (0, 60, 40)
    assert stft(torch.zeros(0, 3000)).shape == (0, 61, 40)


def test_exporting_leaves_no_stand_ins_behind(original):
    class Both(torch.nn.Module):
        def forward(self, voltage):
            return stft(voltage), superlet(voltage, frequencies=[30.0, 60.0])

    voltage = torch.from_numpy(original["waveform"]).float()
    exported = torch.export.export(Both(), (voltage,)).module()(voltage)
    for ours, theirs in zip(Both()(voltage), exported, strict=True):
        assert type(ours) is torch.Tensor
        assert torch.equal(ours, theirs)


class TestFeatureExtractor:
    def test_frames_times_and_frequencies(self):
        extractor = BrainBertFeatureExtractor(transform="superlet")
        assert extractor.num_frames(10240) == 195 == num_superlet_frames(10240) - 10
        assert extractor.first_frame_s == pytest.approx(250 / 2048)
        assert extractor.frequencies[0] == 0.1
        assert extractor.frequencies[-1] == 200

    def test_settings_come_back_and_hold_no_kernels(self, tmp_path):
        extractor = BrainBertFeatureExtractor(
            transform="superlet", feature_size=3, superlet_frequencies=[5, 50, 100], superlet_orders=(2, 9)
        )
        extractor.save_pretrained(tmp_path)
        again = BrainBertFeatureExtractor.from_pretrained(tmp_path)
        assert again.to_dict() == extractor.to_dict()
        assert (tmp_path / "preprocessor_config.json").stat().st_size < 1000
        assert again.fingerprint == extractor.fingerprint
        assert again.fingerprint != BrainBertFeatureExtractor(transform="superlet").fingerprint

    def test_a_stretch_of_exact_zeros_is_refused_or_flagged(self, original):
        voltage = original["waveform"].copy()
        voltage[1, 4000:4100] = 0  # a wavelet of 200 Hz and three cycles has 49 samples
        voltage[2, 4000:4048] = 0
        extractor = BrainBertFeatureExtractor(transform="superlet")
        with pytest.raises(ValueError, match=r"contact \(row\) 1 holds a stretch of exact zeros"):
            extractor(voltage, sampling_rate=2048)
        flagged = extractor(voltage, sampling_rate=2048, on_invalid="mask")
        assert flagged.attention_mask[:, 0].tolist() == [1, 0, 1]
        assert torch.isfinite(flagged.input_values).all()
        BrainBertFeatureExtractor()(voltage, sampling_rate=2048)  # the STFT does not mind

    @pytest.mark.parametrize("normalization", ["corpus", "recording"])
    def test_other_normalizations(self, original, normalization):
        extractor = BrainBertFeatureExtractor(transform="superlet", feature_size=40)
        magnitude = extractor.spectrogram(original["waveform"], sampling_rate=2048)
        mean, std = magnitude.mean((0, 1)).tolist(), magnitude.std((0, 1)).tolist()
        statistics = None
        if normalization == "corpus":
            extractor = BrainBertFeatureExtractor(
                transform="superlet", normalization="corpus", mean=mean, std=std
            )  # fmt: skip
        else:
            extractor = BrainBertFeatureExtractor(transform="superlet", normalization="recording")
            statistics = {"fingerprint": extractor.fingerprint, "mean": mean, "std": std}
        image = extractor(original["waveform"], sampling_rate=2048, statistics=statistics).input_values
        np.testing.assert_allclose(image.mean((0, 1)), 0, atol=1e-4)
        np.testing.assert_allclose(image.std((0, 1)), 1, atol=1e-4)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"transform": "superlet", "feature_size": 20}, "feature_size is 20 and there are 40"),
            ({"transform": "superlet", "variant": "demo"}, "superlets come in one variant"),
            ({"transform": "superlet", "window_length": 200}, "superlets have no window"),
            ({"transform": "superlet", "superlet_orders": [3]}, "1 numbers: give the lowest and the highest"),
            ({"transform": "superlet", "superlet_frequencies": []}, "list of ascending hertz above 0"),
            ({"superlet_cycles": 3}, "leave them out of the STFT"),
            ({"transform": "superlet", "sampling_rate": 256}, "above half the sampling rate of 256 Hz"),
        ],
    )
    def test_settings_that_contradict_each_other_are_refused(self, settings, message):
        with pytest.raises(ValueError, match=message):
            BrainBertFeatureExtractor(**settings)
