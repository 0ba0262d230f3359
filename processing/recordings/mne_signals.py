"""A recording that MNE-Python opens: what its header says about each channel, and its samples by stretch, in µV."""

import difflib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bids import electrode_positions, open_bids
from .formats import MICROVOLTS, READ_VALUES, Channel, Samples, format_of, open_raw, read_channels, refusing_broken


@dataclass(frozen=True, kw_only=True, eq=False)
class MneSignals:
    """What is known about the channels of an open file, contacts and others, and their samples by stretch.

    names: as in the file. types: "seeg", "ecog", "dbs", "eeg" or another kind of channel. bad: names that the file
    marks. positions: (channels, 3) in millimetres, NaN where unknown. coordinate_frame: as the file names it.
    """

    names: tuple[str, ...]
    types: tuple[str, ...]
    bad: tuple[str, ...]
    positions: NDArray[np.float64]
    coordinate_frame: str | None
    _path: Path = field(repr=False)
    _files: Sequence[Path] = field(repr=False)
    _raw: Any = field(repr=False)
    _channels: Sequence[Channel] = field(repr=False)
    _unit: str | None = field(repr=False)

    def samples_of(self, rows: Sequence[int]) -> Samples:
        """Return the samples of the channels with these indices, to be read by stretch.

        Raises ValueError when they have a unit that is no voltage or different rates, or are another file's.
        """
        channels = [self._channels[row] for row in rows]
        scales = _scales(channels, format_name=format_of(self._path), unit=self._unit)
        raw, picks = self._open_rows(rows)
        return Samples(
            read=_FileSamples(self._path, raw, picks=picks, scales=scales),
            num_samples=int(raw.n_times),
            sampling_rate=float(raw.info["sfreq"]),
            band_hz=_header_band(raw, channels),
        )

    def channel(self, name: str) -> tuple[NDArray[np.float64], float]:
        """Return all samples of one channel of any kind, volts where MNE-Python knows its unit, and its rate in Hz.

        Raises ValueError when there is no such channel, and when the file is broken or another's.
        """
        if self.names.count(name) != 1:
            near = difflib.get_close_matches(name, self.names, n=3) or list(self.names[:6])
            raise ValueError(
                f"{self.names.count(name)} channels of {self._path.name!r} are called {name!r}; names in the file "
                f"that are near: {', '.join(near)}."
            )
        raw, picks = self._open_rows([self.names.index(name)])
        with refusing_broken(self._path, "a complete recording"):
            return raw.get_data(picks=picks, verbose="ERROR")[0], float(raw.info["sfreq"])

    def annotations(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
        """Return onset and duration in seconds, from the first sample, and description of all annotations.

        They may name the patient: nothing but what a user knows already may be shown of them.
        """
        self._refuse_other_files(self._raw)
        found = self._raw.annotations
        # MNE-Python counts from where the measurement began, which in FIF may be before the first sample of the file.
        return found.onset - self._raw.first_time, found.duration, np.array(list(found.description), dtype=np.str_)

    def _open_rows(self, rows: Sequence[int]) -> tuple[Any, list[int]]:
        raw, picks = _same_rate(self._path, self._raw, self._channels, rows)
        self._refuse_other_files(raw)
        return raw, picks

    def _refuse_other_files(self, raw: Any) -> None:
        # What MNE-Python really opened, in case it reads a header differently than we do.
        if not {Path(name).resolve() for name in raw.filenames} <= {file.resolve() for file in self._files}:
            raise ValueError(
                f"{self._path.name!r} leads to a file other than its own data, which is not followed; export it anew."
            )


def open_mne(
    path: Path,
    *,
    files: Sequence[Path],
    unit: str | None,
    bids_path: Any = None,
    sidecars: Mapping[str, Path] | None = None,
) -> MneSignals:
    """Open an EDF, BDF, BrainVision or FIF file without reading its samples.

    files: of `check_references`; nothing else may be read. unit: to correct the header, a key of MICROVOLTS.
    bids_path, sidecars: of `find_recording` and `find_sidecars`, for a recording of a BIDS data set.
    Raises ValueError when MNE-Python cannot read it.
    """
    if bids_path is None:
        raw = open_raw(path)
        positions, frame = _montage_positions(raw)
    else:
        raw = open_bids(bids_path)
        positions, frame = electrode_positions(sidecars or {})
    nowhere = np.full(3, np.nan)
    return MneSignals(
        names=tuple(raw.ch_names),
        types=tuple(raw.get_channel_types()),
        bad=tuple(raw.info["bads"]),
        positions=np.array([positions.get(name, nowhere) for name in raw.ch_names], dtype=np.float64),
        coordinate_frame=frame,
        _path=path,
        _files=files,
        _raw=raw,
        _channels=read_channels(path, raw),
        _unit=unit,
    )


def _scales(channels: Sequence[Channel], *, format_name: str, unit: str | None) -> NDArray[np.float64]:
    """Return what each channel's volts by MNE-Python must be multiplied with to be microvolts."""
    assumed = [channel.microvolts(format_name=format_name) for channel in channels]
    if unit is not None:
        # A unit that MNE-Python does not know was read as volts.
        return np.array([1e6 * MICROVOLTS[unit] / (known or 1e6) for known in assumed])
    unknown = {channel.label: channel.unit for channel, known in zip(channels, assumed, strict=True) if known is None}
    if unknown:
        raise ValueError(
            f"{len(unknown)} contacts have a unit that is no voltage (such as {next(iter(unknown))!r}: "
            f"{next(iter(unknown.values())) or 'none'!r}); if you know it, give unit='µV' (or 'mV', 'V', 'nV', 'pV')."
        )
    return np.full(len(channels), 1e6)


def _same_rate(path: Path, raw: Any, channels: Sequence[Channel], rows: Sequence[int]) -> tuple[Any, list[int]]:
    """Open EDF and BDF anew with the contacts alone: MNE-Python brings all channels to the highest rate."""
    rates = sorted({channels[row].sampling_rate or raw.info["sfreq"] for row in rows})
    if len(rates) > 1:
        raise ValueError(
            f"The contacts have different sampling rates ({', '.join(f'{rate:g}' for rate in rates)} Hz); "
            "read those of one rate at a time with contacts=[...]."
        )
    if channels[rows[0]].sampling_rate is None:
        return raw, list(rows)
    every, labels = [channel.label for channel in channels], [channels[row].label for row in rows]
    repeated = sorted({label for label in labels if every.count(label) > 1})
    if repeated:
        raise ValueError(f"{path.name!r} has several channels called {', '.join(repeated)}; rename them in the file.")
    return open_raw(path, labels=labels), list(range(len(rows)))


class _FileSamples:
    """Read stretches of an open file in µV; one at a time, whichever thread asks."""

    def __init__(self, path: Path, raw: Any, *, picks: list[int], scales: NDArray[np.float64]) -> None:
        self._path, self._raw, self._picks, self._scales = path, raw, picks, scales
        self._lock = threading.Lock()

    def __call__(self, start: int, stop: int) -> NDArray[np.float32]:
        data = np.empty((len(self._picks), stop - start), dtype=np.float32)
        block = max(1, READ_VALUES // len(self._raw.ch_names))
        with self._lock, refusing_broken(self._path, "a complete recording"):
            for first in range(start, stop, block):
                last = min(first + block, stop)
                volts = self._raw.get_data(picks=self._picks, start=first, stop=last, verbose="ERROR")
                data[:, first - start : last - start] = volts * self._scales[:, None]
        return data


def _montage_positions(raw: Any) -> tuple[dict[str, NDArray[np.float64]], str | None]:
    montage = raw.get_montage()
    if montage is None:
        return {}, None
    found = montage.get_positions()
    frame = str(found["coord_frame"])
    if frame == "head" and found["nasion"] is None:
        # FIF writers call positions of any frame "head"; a head frame is defined by its fiducials, so this is not one.
        frame = "unknown"
    return {name: np.asarray(place) * 1000.0 for name, place in found["ch_pos"].items()}, frame


def _header_band(raw: Any, channels: Sequence[Channel]) -> tuple[float, float] | None:
    """Return the filters that the header states, None when it states none.

    MNE-Python then gives 0 and Nyquist; in EDF it mixes in the filters of the channels that are not read.
    """
    stated = [channel.filters_hz for channel in channels if channel.filters_hz is not None]
    if stated:
        low, high = max(low for low, _ in stated), min(high for _, high in stated)
    else:
        low, high = float(raw.info["highpass"] or 0.0), float(raw.info["lowpass"] or 0.0)
    nyquist = float(raw.info["sfreq"]) / 2
    if not 1 < high < nyquist:
        high = nyquist
    if not 0 <= low < high:
        low = 0.0
    return None if (low, high) == (0.0, nyquist) else (low, high)
