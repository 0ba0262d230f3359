"""From voltage to the normalised spectrogram that BrainBERT reads."""

import difflib
import hashlib
import inspect
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor

from .spectrogram_brainbert import num_stft_frames, stft
from .superlet_brainbert import FREQUENCIES, check_superlet, num_superlet_frames, shortest_wavelet, superlet


class Variant(NamedTuple):
    """How a front end in circulation treats the edges of a clip."""

    zero_boundary: bool  # half a window of zeros before and after the clip
    trim: int  # frames dropped at each end
    clip_statistics_before_trimming: bool  # the frames that are dropped still count in the clip's mean and deviation


# "training" made the released weights; "demo" is the authors' notebook and most ports; "no_boundary" is the Neuroprobe
# leaderboard's entry. On frames that they share, the first two differ by 0.29 z units on average.
VARIANTS = {
    "training": Variant(zero_boundary=True, trim=10, clip_statistics_before_trimming=True),
    "demo": Variant(zero_boundary=True, trim=5, clip_statistics_before_trimming=False),
    "no_boundary": Variant(zero_boundary=False, trim=0, clip_statistics_before_trimming=False),
}
SUPERLET = Variant(zero_boundary=True, trim=5, clip_statistics_before_trimming=False)
TRANSFORMS = ("stft", "superlet")
NORMALIZATIONS = ("clip", "recording", "corpus")
SCALES = ("linear", "log")
# Front ends by name: windows and bins in samples are those of the intracranial one, which the model's input depends on.
NAMED: dict[str, dict[str, Any]] = {
    "intracranial": {},
    # An epoch of 30 s has 1920 samples: variants that drop frames would not see a third of it.
    "wearable": {"sampling_rate": 64, "variant": "no_boundary", "normalization": "recording", "scale": "log"},
}

RATE_TOLERANCE = 1e-4  # relative: 399.61 Hz is 399.6097 Hz
LOG_FLOOR = 1e-3  # µV: a hundredth of an amplifier's noise in one bin, so that log(0) cannot happen
CLIPPED_SHARE = 0.05  # of samples at the very maximum or minimum


class BrainBertFeatureExtractor(SequenceFeatureExtractor):
    """Turn voltage in µV into `input_values` (batch, frames, bins) and `attention_mask` (batch, frames).

    feature_size: frequency bins. Of the STFT, from 0 Hz on in steps of sampling_rate / window_length (40 bins reach
        199.68 Hz); of superlets, as many as superlet_frequencies.
    sampling_rate: hertz of the voltage that is accepted.
    transform: "stft" (default) or "superlet": sharper in time and frequency, 30 to 60 times the work. Each has released
        weights of its own.
    variant: of the STFT: "training" (default; made the released weights), "demo" or "no_boundary": see VARIANTS.
    normalization: z-score of each bin with the mean and standard deviation of
        "clip": the clip itself (the paper; throws absolute power away);
        "recording": that contact's recording, given as `statistics` in the call;
        "corpus": the training corpus, kept here as `mean` and `std`.
    scale: "linear" magnitude in µV, or its natural "log"; taken before the normalisation.
    window_length: samples in a window of the STFT. hop_length: samples from one frame to the next.
    superlet_frequencies: hertz, ascending; if not given, 40 from 0.1 to 200.
    superlet_orders: wavelets at the lowest and at the highest frequency; if not given, 3 and 30.
    superlet_cycles: of a wavelet per order; if not given, 1.
    mean, std: one number per bin, for normalization="corpus".

    Source: Wang et al. 2023, section 3; the variants were recorded from the code that uses them. `superlet` has the
    definition of superlets; five frames at each end are dropped, then normalised, as the original does.
    """

    model_input_names = ["input_values", "attention_mask"]  # noqa: RUF012 (as transformers declares it)
    minimum_frames = 10  # the paper's embedding is the mean of ten centre frames
    minimum_recording_s = 60.0  # shorter stretches do not stand for a recording

    def __init__(
        self,
        feature_size: int = 40,
        sampling_rate: float = 2048,
        padding_value: float = 0.0,
        transform: Literal["stft", "superlet"] = "stft",
        variant: Literal["training", "demo", "no_boundary"] = "training",
        normalization: Literal["clip", "recording", "corpus"] = "clip",
        scale: Literal["linear", "log"] = "linear",
        window_length: int = 400,
        hop_length: int = 50,
        superlet_frequencies: Sequence[float] | None = None,
        superlet_orders: Sequence[float] | None = None,
        superlet_cycles: float | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        for name in kwargs:  # transformers hands over settings of its own; a misspelt one of ours must not get lost
            if near := difflib.get_close_matches(name, _SETTINGS, n=1, cutoff=0.75):
                raise TypeError(f"BrainBertFeatureExtractor has no setting {name!r}: did you mean {near[0]!r}?")
        for name, value, accepted in (
            ("transform", transform, TRANSFORMS),
            ("variant", variant, tuple(VARIANTS)),
            ("normalization", normalization, NORMALIZATIONS),
            ("scale", scale, SCALES),
        ):
            if value not in accepted:
                raise ValueError(f"{name} is {value!r}: choose one of {', '.join(accepted)}.")
        if transform == "superlet":
            given = FREQUENCIES if superlet_frequencies is None else superlet_frequencies
            superlet_frequencies = [float(hertz) for hertz in given]
            if superlet_orders is not None and len(superlet_orders) != 2:
                raise ValueError(
                    f"superlet_orders has {len(superlet_orders)} numbers: give the lowest and the highest."
                )
            low, high = (3, 30) if superlet_orders is None else superlet_orders
            superlet_orders = [float(low), float(high)]
            superlet_cycles = 1.0 if superlet_cycles is None else float(superlet_cycles)
            check_superlet(superlet_frequencies, low, high, superlet_cycles, sampling_rate=sampling_rate)
            if len(superlet_frequencies) != feature_size:
                raise ValueError(
                    f"feature_size is {feature_size} and there are {len(superlet_frequencies)} superlet_frequencies: "
                    "make them agree."
                )
            if variant != "training":
                raise ValueError(f"variant is {variant!r}, and superlets come in one variant: leave it out.")
            if window_length != 400:
                raise ValueError("window_length belongs to the STFT, and superlets have no window: leave it out.")
        elif (superlet_frequencies, superlet_orders, superlet_cycles) != (None, None, None):
            raise ValueError('superlet_… settings belong to transform="superlet": leave them out of the STFT.')
        elif not 1 <= feature_size <= window_length // 2 + 1:
            raise ValueError(
                f"feature_size is {feature_size}: a window of {window_length} samples has 1 to "
                f"{window_length // 2 + 1} frequency bins."
            )
        if normalization == "corpus":
            if mean is None or std is None or len(mean) != feature_size or len(std) != feature_size:
                raise ValueError(
                    f'normalization="corpus" needs mean and std, each of {feature_size} numbers (one per bin): compute '
                    "them with brainbert.processing.corpora.corpus_statistics."
                )
            if not (np.isfinite(mean).all() and np.isfinite(std).all() and min(std) > 0):
                raise ValueError("mean and std of the corpus must be finite, and std positive: compute them again.")
        super().__init__(feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs)
        self.transform = transform
        self.variant = variant
        self.normalization = normalization
        self.scale = scale
        self.window_length = window_length
        self.hop_length = hop_length
        self.superlet_frequencies = superlet_frequencies
        self.superlet_orders = superlet_orders
        self.superlet_cycles = superlet_cycles
        self.mean = None if mean is None else [float(value) for value in mean]
        self.std = None if std is None else [float(value) for value in std]

    @classmethod
    def named(cls, name: Literal["intracranial", "wearable"]) -> "BrainBertFeatureExtractor":
        """Return the front end of this name; both have 40 bins and the same windows in samples.

        name: "intracranial", all defaults: 2048 Hz, windows of 0.195 s every 24 ms, bins from 0 to 199.68 Hz in steps
            of 5.12 Hz.
            "wearable": the same at 64 Hz, for wristbands: windows of 6.25 s every 0.78 s, bins from 0 to 6.24 Hz in
            steps of 0.16 Hz. Breathing (0.2 to 0.4 Hz) lies in bins 1 to 3, a pulse of 48 to 120 a minute in bins 5 to
            13, its overtones and the arm's movement above. The log of the magnitude, normalised by the recording, keeps
            the strength of both, which the z-score of a clip loses; all of an epoch of 30 s is seen, in 32 frames.
        Raises ValueError for another name.
        """
        if name not in NAMED:
            raise ValueError(f"There is no front end {name!r}: choose one of {', '.join(NAMED)}.")
        return cls(**NAMED[name])

    @property
    def fingerprint(self) -> str:
        """What statistics depend on: transform, variant, scale, rate and window. Statistics of another are refused."""
        if self.superlet_orders is not None:
            low, high = self.superlet_orders
            digest = hashlib.sha256(repr(self.superlet_frequencies).encode()).hexdigest()[:8]
            what = f"superlet-{low:g}-{high:g}-{self.superlet_cycles:g}-{self.scale}-{self.sampling_rate:g}Hz"
            return f"{what}-{self.hop_length}-{self.feature_size}-{digest}"
        return (
            f"{self.transform}-{self.variant}-{self.scale}-{self.sampling_rate:g}Hz"
            f"-{self.window_length}-{self.hop_length}-{self.feature_size}"
        )

    @property
    def frequencies(self) -> list[float]:
        """Centre frequency of each bin in hertz."""
        if self.superlet_frequencies is not None:
            return list(self.superlet_frequencies)
        return [bin * self.sampling_rate / self.window_length for bin in range(self.feature_size)]

    @property
    def frame_duration_s(self) -> float:
        """Seconds from one frame to the next."""
        return self.hop_length / self.sampling_rate

    @property
    def first_frame_s(self) -> float:
        """Centre of the first frame that is kept, in seconds after the first sample."""
        centre = 0 if self._edges.zero_boundary else self.window_length / 2
        return (centre + self._edges.trim * self.hop_length) / self.sampling_rate

    def num_frames(self, samples: int) -> int:
        """Return how many frames `samples` samples give, after trimming."""
        if self.transform == "superlet":
            frames = num_superlet_frames(samples, self.hop_length)
        else:
            frames = num_stft_frames(
                samples, self.window_length, self.hop_length, zero_boundary=self._edges.zero_boundary
            )
        return max(0, frames - 2 * self._edges.trim)

    @property
    def _edges(self) -> Variant:
        return SUPERLET if self.transform == "superlet" else VARIANTS[self.variant]

    def __call__(
        self,
        voltage: Any,
        *,
        sampling_rate: float,
        statistics: Mapping[str, Any] | None = None,
        on_invalid: Literal["raise", "mask"] = "raise",
        dtype: torch.dtype = torch.float32,
        return_tensors: Literal["pt", "np"] = "pt",
    ) -> BatchFeature:
        """Return `input_values` (batch, frames, bins) and `attention_mask` (batch, frames; 1 where there is signal).

        voltage: µV; numpy or torch. (samples,) or a flat list is one contact, (contacts, samples) a batch, a list of
            one-dimensional arrays a ragged batch, padded at the end. A padded clip equals the same clip alone.
        sampling_rate: of the voltage, in hertz; must be the extractor's.
        statistics: for normalization="recording": {"fingerprint", "mean", "std"}, the last two (bins,) or
            (contacts, bins). Without it every contact needs at least 60 s of signal in this call.
        on_invalid: what to do with a contact that is constant or not finite: "raise", or "mask" it (all of its
            attention_mask is 0), which needs no synchronisation with the device.
        dtype: torch.float32 or torch.float64, of the computation and of input_values.
        return_tensors: "pt" (on the device of the voltage) or "np".

        Raises ValueError for another rate, fewer than ten frames, more than two dimensions, invalid contacts,
        statistics of another front end. Warns about clipped contacts and implausible units.
        """
        if on_invalid not in ("raise", "mask"):
            raise ValueError(f'on_invalid is {on_invalid!r}: choose "raise" or "mask".')
        if return_tensors not in ("pt", "np"):
            raise ValueError(f'return_tensors is {return_tensors!r}: choose "pt" or "np".')
        self._check_rate(sampling_rate)
        groups, batch_size = self._group_by_length(voltage, dtype)
        images, masks = [], []
        for rows, group in groups:
            valid = self._find_valid(group, rows, on_invalid)
            # A CPU can look whether there is anything to put away; a device would have to be waited for.
            if on_invalid == "mask" and not (group.device.type == "cpu" and bool(valid.all())):
                group = torch.where(valid.unsqueeze(-1), group, 0)
            magnitude = self._magnitude(group)
            images.append(self._normalize(magnitude, statistics, rows, batch_size, group.shape[-1]).contiguous())
            masks.append(valid.long().unsqueeze(-1).expand(-1, images[-1].shape[1]).contiguous())
        input_values, attention_mask = images[0], masks[0]
        if len(groups) > 1:
            frames = max(image.shape[1] for image in images)
            input_values = images[0].new_full((batch_size, frames, self.feature_size), self.padding_value)
            attention_mask = masks[0].new_zeros((batch_size, frames))
            for (rows, _), image, mask in zip(groups, images, masks, strict=True):
                input_values[rows, : image.shape[1]] = image
                attention_mask[rows, : image.shape[1]] = mask
        features = {"input_values": input_values, "attention_mask": attention_mask}
        if return_tensors == "np":
            return BatchFeature({name: tensor.detach().cpu().numpy() for name, tensor in features.items()})
        return BatchFeature(features)

    def spectrogram(self, voltage: Any, *, sampling_rate: float, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return the scaled magnitude (contacts, frames, bins), trimmed and not normalised: what statistics are of.

        voltage: µV, (samples,) or (contacts, samples). Raises ValueError as a call does, contacts that are constant or
        not finite included.
        """
        self._check_rate(sampling_rate)
        groups, _ = self._group_by_length(voltage, dtype)
        if len(groups) > 1:
            raise ValueError("The contacts differ in length: pass them one by one.")
        rows, group = groups[0]
        self._find_valid(group, rows, "raise")
        return self._trim(self._magnitude(group))

    def _check_rate(self, sampling_rate: float) -> None:
        if not abs(sampling_rate - self.sampling_rate) <= RATE_TOLERANCE * self.sampling_rate:
            raise ValueError(
                f"The voltage is sampled at {sampling_rate:g} Hz and this front end reads {self.sampling_rate:g} Hz: "
                f"resample it first, for instance with brainbert.processing.recordings.resample."
            )

    def _group_by_length(self, voltage: Any, dtype: torch.dtype) -> tuple[list[tuple[list[int], torch.Tensor]], int]:
        """Return [(rows, (rows, samples) tensor)] with one entry per length, and the number of rows."""
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype is {dtype}: choose torch.float32 or torch.float64.")
        if isinstance(voltage, (list, tuple)) and len(voltage) and np.ndim(voltage[0]) > 0:
            sequences = [_as_tensor(sequence, dtype) for sequence in voltage]
            if any(sequence.ndim != 1 for sequence in sequences):
                raise ValueError("A list must hold one-dimensional arrays, one per contact, each (samples,).")
            rows_of_length: dict[int, list[int]] = {}
            for row, sequence in enumerate(sequences):
                rows_of_length.setdefault(sequence.shape[0], []).append(row)
            groups = [(rows, torch.stack([sequences[row] for row in rows])) for rows in rows_of_length.values()]
        else:
            tensor = _as_tensor(voltage, dtype)
            if tensor.ndim not in (1, 2) or tensor.numel() == 0:
                raise ValueError(
                    f"The voltage has shape {tuple(tensor.shape)}: pass (samples,) for one contact, (contacts, "
                    "samples) for several, or a list of arrays of different lengths."
                )
            tensor = tensor.reshape(-1, tensor.shape[-1])
            if tensor.shape[0] > tensor.shape[1]:
                warnings.warn(
                    f"The voltage holds {tensor.shape[0]} contacts of {tensor.shape[1]} samples: if it is (samples, "
                    "contacts), transpose it.",
                    stacklevel=4,
                )
            groups = [(list(range(tensor.shape[0])), tensor)]
        for _, group in groups:
            samples = group.shape[-1]
            if self.num_frames(samples) < self.minimum_frames:
                needed = next(needed for needed in itertools.count(1) if self.num_frames(needed) >= self.minimum_frames)
                raise ValueError(
                    f"{samples} samples ({samples / self.sampling_rate:.3g} s) give {self.num_frames(samples)} frames "
                    f"and at least {self.minimum_frames} are needed: pass (contacts, samples) with {needed} samples or "
                    "more."
                )
        return groups, sum(len(rows) for rows, _ in groups)

    def _find_valid(self, voltage: torch.Tensor, rows: list[int], on_invalid: str) -> torch.Tensor:
        """Return which rows of (rows, samples) are fit for the front end: (rows,) boolean; or refuse the others.

        They are finite, not constant, and for superlets without a stretch of exact zeros that swallows a wavelet.
        """
        low, high = voltage.amin(dim=-1), voltage.amax(dim=-1)  # a NaN anywhere makes both NaN
        finite = torch.isfinite(high - low)
        changing = low < high
        valid = finite & changing
        if self.superlet_orders is not None and self.superlet_cycles is not None:
            shortest = shortest_wavelet(
                self.frequencies, self.superlet_orders[0] * self.superlet_cycles, sampling_rate=self.sampling_rate
            )
            valid = valid & ~_has_zeros(voltage, shortest)
        if on_invalid == "mask":
            return valid
        if not bool(valid.all()):
            broken, what = next(
                (rows_of, reason)
                for rows_of, reason in (
                    (~finite, "NaN or infinite values"),
                    (~changing, "a flat line"),
                    (~valid, "a stretch of exact zeros, where superlets have no magnitude"),
                )
                if bool(rows_of.any())
            )
            names = ", ".join(str(rows[index]) for index in torch.nonzero(broken).flatten().tolist())
            raise ValueError(
                f'The voltage of contact (row) {names} holds {what}: leave it out, or pass on_invalid="mask".'
            )
        some = voltage[:, ::8]  # enough to tell a share of 5 %
        at_limits = ((some == low.unsqueeze(-1)) | (some == high.unsqueeze(-1))).float().mean(-1)
        if bool((at_limits > CLIPPED_SHARE).any()):
            names = ", ".join(str(rows[i]) for i in torch.nonzero(at_limits > CLIPPED_SHARE).flatten().tolist())
            warnings.warn(
                f"More than {CLIPPED_SHARE:.0%} of the samples of contact (row) {names} lie at its very maximum or "
                "minimum: the amplifier was probably saturated, and the embedding means little.",
                stacklevel=4,
            )
        if self.normalization != "clip" or self.scale == "log":
            deviation = float(voltage.std(dim=-1).median())
            if not 0.5 <= deviation <= 20_000:
                warnings.warn(
                    f"The voltage has a standard deviation of {deviation:.2g}, and intracranial signals have 1 to 1000 "
                    "µV: check that it is in microvolts (MNE gives volts: multiply by 1e6).",
                    stacklevel=4,
                )
        return valid

    def _magnitude(self, voltage: torch.Tensor) -> torch.Tensor:
        if self.superlet_orders is not None and self.superlet_cycles is not None:
            low, high = self.superlet_orders
            magnitude = superlet(
                voltage,
                sampling_rate=self.sampling_rate,
                frequencies=self.frequencies,
                order_min=low,
                order_max=high,
                base_cycles=self.superlet_cycles,
                hop_length=self.hop_length,
            )
        else:
            magnitude = stft(
                voltage,
                window_length=self.window_length,
                hop_length=self.hop_length,
                num_bins=self.feature_size,
                zero_boundary=self._edges.zero_boundary,
                # With statistics of all frames, those at the edges, where an offset begins and ends, drown its traces.
                remove_offset=self.normalization != "clip" or not self._edges.clip_statistics_before_trimming,
            )
        return magnitude.clamp(min=LOG_FLOOR).log() if self.scale == "log" else magnitude

    def _trim(self, image: torch.Tensor) -> torch.Tensor:
        trim = self._edges.trim
        return image[:, trim : image.shape[1] - trim]

    def _normalize(
        self,
        magnitude: torch.Tensor,
        statistics: Mapping[str, Any] | None,
        rows: list[int],
        batch_size: int,
        samples: int,
    ) -> torch.Tensor:
        """Return the trimmed z-scores of (rows, frames, bins)."""
        trimmed = self._trim(magnitude)
        if statistics is not None and self.normalization != "recording":
            raise ValueError(
                f'statistics belong to normalization="recording" and this extractor has "{self.normalization}": '
                "leave them out, or load the extractor with another normalization."
            )
        if self.normalization == "clip":
            before = self._edges.clip_statistics_before_trimming
            return _z_score(trimmed, *_mean_and_deviation(magnitude if before else trimmed))
        if self.normalization == "corpus":
            return _z_score(trimmed, trimmed.new_tensor(self.mean), trimmed.new_tensor(self.std))
        if statistics is None:
            if samples < self.minimum_recording_s * self.sampling_rate:
                raise ValueError(
                    f'normalization="recording" needs statistics=, or at least {self.minimum_recording_s:g} s of each '
                    f"contact in the call (this one holds {samples / self.sampling_rate:.3g} s): compute them with "
                    "brainbert.processing.corpora.recording_statistics."
                )
            return _z_score(trimmed, *_mean_and_deviation(trimmed))
        if statistics["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"The statistics were computed with the front end {statistics['fingerprint']} and this one is "
                f"{self.fingerprint}: compute them again with this extractor."
            )
        per_row = []
        for name in ("mean", "std"):
            values = statistics[name]
            if not isinstance(values, torch.Tensor):  # a tensor may be on a device, which a check would hold up
                values = torch.from_numpy(np.array(values, dtype=np.float64))
                if not (torch.isfinite(values).all() and (name == "mean" or (values >= 0).all())):
                    raise ValueError(f"The statistics' {name} is negative or not finite: compute them again.")
            values = values.to(trimmed)
            if values.shape not in ((self.feature_size,), (batch_size, self.feature_size)):
                raise ValueError(
                    f"The statistics' {name} has shape {tuple(values.shape)}: pass ({self.feature_size},) for all "
                    f"contacts or ({batch_size}, {self.feature_size}), one row per contact."
                )
            per_row.append(values if values.ndim == 1 else values[rows].unsqueeze(1))
        return _z_score(trimmed, *per_row)


_SETTINGS = [name for name in inspect.signature(BrainBertFeatureExtractor.__init__).parameters if name != "kwargs"]


def _as_tensor(values: Any, dtype: torch.dtype) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        if values.is_complex() or values.dtype == torch.bool:
            raise ValueError(f"The voltage is {values.dtype}: pass real numbers in microvolts.")
        return values.to(dtype)
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"The voltage is {array.dtype}: pass real numbers in microvolts, (contacts, samples).")
    array = np.ascontiguousarray(array, dtype=np.float64 if dtype == torch.float64 else np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _has_zeros(voltage: torch.Tensor, count: int) -> torch.Tensor:
    """Return which rows of (rows, samples) hold `count` exact zeros in a row, (rows,) boolean."""
    if voltage.shape[-1] < count:
        return torch.zeros(len(voltage), dtype=torch.bool, device=voltage.device)
    zeros = (voltage == 0).cumsum(-1, dtype=torch.int32)
    zeros = torch.nn.functional.pad(zeros, (1, 0))
    return (zeros[:, count:] - zeros[:, :-count] == count).any(-1)


def _mean_and_deviation(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean = image.mean(dim=1, keepdim=True)
    # In two passes by hand: torch.std_mean takes five times as long over a dimension that is not the last.
    return mean, (image - mean).square().mean(dim=1, keepdim=True).sqrt()


def _z_score(image: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> torch.Tensor:
    return (image - mean) / torch.where(deviation > 0, deviation, 1)


__all__ = ["BrainBertFeatureExtractor"]
