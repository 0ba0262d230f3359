"""Open iEEG in NWB 2 files (HDF5): voltages by stretch, and nothing that says who the patient is.

The layout is read with h5py, as the NWB schema gives it, instead of with PyNWB: PyNWB reads the whole file, subject
included, and opens a file that uses an extension (AJILE12 does) only by building classes from the definitions in it.
Here session, subject, notes and cached definitions are never opened.

A file from elsewhere is not trusted: see hdf5.py.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .formats import MICROVOLTS, READ_VALUES, Samples, refusing_broken
from .hdf5 import Refusal, followed, refuse_ways_out
from .nwb_electrodes import (
    BAD_COLUMNS,
    MILLIMETRES,
    NAME_COLUMNS,
    TYPE_COLUMNS,
    bad_electrodes,
    contact_names,
    contact_type,
    pass_band,
    positions_mm,
)

_BLOCK_TIMESTAMPS = 2**20
_CHUNK_CACHE_BYTES = 2**24  # stretches share compressed chunks of this size with their neighbours
_MAX_RATE_ERROR = 1e-4
_UNIT_WORDS = {"volts": "V", "volt": "V", "millivolts": "mV", "microvolts": "µV"}


@dataclass(frozen=True, kw_only=True, eq=False)
class NwbSignals:
    """One ElectricalSeries of an open NWB file: what is known about its contacts, and its samples by stretch.

    names: as in the file, or group and number. types: "seeg", "ecog" or "dbs", None where the file does not say.
    bad: names that the file marks. sampling_rate: Hz.
    positions: (contacts, 3) in millimetres, NaN where unknown. coordinate_frame: as the file names it, or "unknown".
    band_hz: what the file says about filters, None when it says nothing.
    series: which one of several it is, such as "2 of 3"; None when the file has just one.
    """

    names: tuple[str, ...]
    types: tuple[str | None, ...]
    bad: tuple[str, ...]
    sampling_rate: float
    num_samples: int
    positions: NDArray[np.float64] | None
    coordinate_frame: str | None
    band_hz: tuple[float, float] | None
    series: str | None
    _path: Path = field(repr=False)
    _data: Any = field(repr=False)  # keeps the file open
    _scale: NDArray[np.float64] = field(repr=False)
    _offset: float = field(repr=False)

    def read(self, rows: Sequence[int], start: int, stop: int) -> NDArray[np.float32]:
        """Return samples start to stop of the contacts with these indices: (rows, stop - start), float32, µV.

        Only this stretch is read, and at most 32 MiB of it is held in double precision.
        The stretch must be inside the recording, as `RecordingStream` sees to it.
        Raises ValueError when the file is broken there.
        """
        chosen = np.asarray(rows, dtype=np.intp)
        first, end = int(chosen.min()), int(chosen.max()) + 1
        scale = self._scale[chosen, None]
        result = np.empty((len(chosen), stop - start), dtype=np.float32)
        block = max(1, READ_VALUES // (end - first))
        with _refusing_broken(self._path):
            for begin in range(start, stop, block):
                here = slice(begin, min(begin + block, stop))
                values = self._data[here, first:end][:, chosen - first] if self._data.ndim == 2 else self._data[here]
                result[:, begin - start : here.stop - start] = values.T.reshape(len(chosen), -1) * scale + self._offset
        return result

    def samples_of(self, rows: Sequence[int]) -> Samples:
        """Return the samples of the contacts with these indices, to be read by stretch."""
        return Samples(
            read=lambda start, stop: self.read(rows, start, stop),
            num_samples=self.num_samples,
            sampling_rate=self.sampling_rate,
            band_hz=self.band_hz,
        )


def open_nwb(
    path: str | Path, *, series: str | None = None, unit: str | None = None, position_unit: str | None = None
) -> NwbSignals:
    """Open one ElectricalSeries of an NWB 2 file without reading its samples.

    series: its name, when the file has several in acquisition and processing.
    unit: "V", "mV", "µV", "uV", "nV" or "pV", to correct a file that names another unit.
    position_unit: "m", "cm", "mm", "µm" or "um", for a file that does not name the unit of its positions.
    Timestamps instead of a rate are read once, in blocks of 2**20: no interval may be shorter than a half or longer
    than one and a half of the usual one; over a block they may differ from one rate, and it from the mean rate of all,
    by 1e-4 and half a sample. Single intervals may jitter: samplers are regular, and clocks write microseconds.
    Warns when positions have no unit or are no numbers, or when a column of bad contacts is not understood.
    Raises FileNotFoundError, and ValueError for a file that is broken, no NWB 2 or leads to other files, for several
    series without a name, an electrode that is listed twice, and timestamps with gaps.
    Source: NWB schema 2, ElectricalSeries: volts = data · conversion · channel_conversion + offset.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path.name!r} at the path given; check the path.")
    for name, given, known in (("unit", unit, MICROVOLTS), ("position_unit", position_unit, MILLIMETRES)):
        if given is not None and given not in known:
            raise ValueError(f"{name} is {given!r}; use one of {', '.join(repr(word) for word in known)}.")
    with _refusing_broken(path):
        file, own = _open_file(path)
        try:
            group, place = _choose_series(file, path, series=series)
            return _open_series(file, path, group, place=place, own=own, unit=unit, position_unit=position_unit)
        except BaseException:
            file.close()
            raise


def place_of_series(path: Path, *, series: str | None = None) -> str | None:
    """Return which series of the file `open_nwb` opens, such as "2 of 3"; None when it has just one.

    Raises what `open_nwb` raises for the file as a whole and for the name.
    """
    with _refusing_broken(path):
        file, _ = _open_file(path)
        with file:
            return _choose_series(file, path, series=series)[1]


def _open_file(path: Path) -> tuple[h5py.File, frozenset[int]]:
    """Open an NWB 2 file that leads to no other file; return it and the addresses of its objects."""
    file = h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE_BYTES)
    try:
        own = refuse_ways_out(file, path)
        version = _text(file.attrs.get("nwb_version", ""))
        if not version:
            raise Refusal(
                f"{path.name!r} is HDF5 but not NWB, so nothing says what its numbers are; export it as NWB or EDF, or "
                "build a Recording from its arrays."
            )
        if not version.removeprefix("NWB-").startswith("2"):
            raise Refusal(f"{path.name!r} has NWB version {version}; only NWB 2 is read here: convert it.")
    except BaseException:
        file.close()
        raise
    return file, own


@contextmanager
def _refusing_broken(path: Path) -> Iterator[None]:
    try:
        yield
    except Refusal as refusal:
        raise ValueError(str(refusal)) from None
    except Exception as error:
        with refusing_broken(path, "NWB"):
            raise error


def _choose_series(file: h5py.File, path: Path, *, series: str | None) -> tuple[h5py.Group, str | None]:
    """Return the series, and its place among those of the file, which come in the order of their names."""
    found: dict[str, h5py.Group] = {}

    def remember(name: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and _text(item.attrs.get("neurodata_type", "")) == "ElectricalSeries":
            found[name] = item

    for part in ("acquisition", "processing"):
        if part in file:
            file[part].visititems(remember)
    matching = [name for name in found if series is None or series in (name, name.rsplit("/", 1)[-1])]
    if len(matching) != 1:
        listed = ", ".join(f"{name!r} of shape {item['data'].shape}" for name, item in found.items())
        raise Refusal(
            f"{path.name!r} has {len(matching)} ElectricalSeries{f' called {series!r}' if series else ''}; "
            + (f"name one with series=...: {listed}." if found else "only ElectricalSeries of NWB are read here.")
        )
    place = f"{list(found).index(matching[0]) + 1} of {len(found)}" if len(found) > 1 else None
    return found[matching[0]], place


def _open_series(
    file: h5py.File,
    path: Path,
    group: h5py.Group,
    *,
    place: str | None,
    own: frozenset[int],
    unit: str | None,
    position_unit: str | None,
) -> NwbSignals:
    data, rows = group["data"], [int(row) for row in group["electrodes"][()]]
    channels = data.shape[1] if data.ndim == 2 else 1
    if data.ndim not in (1, 2) or data.dtype.kind not in "iuf" or channels != len(rows) or data.shape[0] == 0:
        transposed = " (these are transposed)" if data.shape[:1] == (len(rows),) else ""
        raise Refusal(
            f"The series has {data.dtype} data of shape {data.shape} for {len(rows)} electrodes; NWB has numbers of "
            f"shape (time, electrodes){transposed}: write the file anew."
        )
    made = data.id.get_create_plist()
    if not all(h5py.h5z.filter_avail(made.get_filter(i)[0]) for i in range(made.get_nfilters())):
        raise Refusal(
            f"{path.name!r} is compressed with a filter that is not installed; install and import hdf5plugin before "
            "reading, or write the file anew with gzip."
        )
    if len(set(rows)) < len(rows):
        raise Refusal(
            "The series lists an electrode more than once, so that nothing says which samples are its own; write the "
            "file anew with each electrode once."
        )
    table = followed(file, group["electrodes"].attrs["table"], own=own)
    length = table["group"].shape[0]
    if not all(0 <= row < length for row in rows):
        raise Refusal(f"The series has electrodes beyond the {length} that the file lists; write the file anew.")
    columns = {
        name: _values(table[name])
        for name in (*NAME_COLUMNS, *TYPE_COLUMNS, *BAD_COLUMNS, "filtering", "x", "y", "z")
        if name in table and f"{name}_index" not in table and table[name].shape == (length,)
    }
    groups = [followed(file, reference, own=own) for reference in table["group"][()]]
    names = contact_names(columns, [_own_name(each) for each in groups], rows=rows)
    bad = bad_electrodes(columns, rows=rows)
    descriptions = {axis: _text(table[axis].attrs.get("description", "")) for axis in "xyz" if axis in columns}
    positions, frame = positions_mm(columns, descriptions, rows=rows, unit=position_unit)
    rate = _sampling_rate(group, num_samples=data.shape[0])
    filters = [
        _text(group.attrs.get("filtering", "")),
        *(str(columns.get("filtering", [""] * length)[r]) for r in rows),
    ]
    scale, offset = _microvolts(group, channels=channels, unit=unit)
    return NwbSignals(
        names=tuple(names),
        types=tuple(contact_type(_said_about(row, columns, groups[row])) for row in rows),
        bad=tuple(name for name, row in zip(names, rows, strict=True) if row in bad),
        sampling_rate=rate,
        num_samples=int(data.shape[0]),
        positions=positions,
        coordinate_frame=frame,
        band_hz=pass_band(filters, nyquist=rate / 2),
        series=place,
        _path=path,
        _data=data,
        _scale=scale,
        _offset=offset,
    )


def _microvolts(group: h5py.Group, *, channels: int, unit: str | None) -> tuple[NDArray[np.float64], float]:
    """Return what the stored numbers are to be multiplied with, by channel, and what is to be added: µV."""
    said = _text(group["data"].attrs.get("unit", "volts"))
    named = unit or _UNIT_WORDS.get(said.lower(), said)
    if named not in MICROVOLTS:
        raise Refusal(f"The series is in {said!r}, which is no voltage; if you know its unit, give unit='µV' or such.")
    scale = np.full(channels, float(group["data"].attrs.get("conversion", 1.0)))
    if "channel_conversion" in group:
        scale *= np.asarray(group["channel_conversion"][()], dtype=np.float64)
    offset = float(group["data"].attrs.get("offset", 0.0))
    if not (np.isfinite(scale).all() and (scale != 0).all() and np.isfinite(offset)):
        raise Refusal("The series has a conversion to volts that is 0 or no number; correct it in the file.")
    return scale * MICROVOLTS[named], offset * MICROVOLTS[named]


def _sampling_rate(group: h5py.Group, *, num_samples: int) -> float:
    if "starting_time" in group:
        # In the shortest form, or a rate stored in single precision as 399.61 would become 399.6099853515625.
        rate = float(str(group["starting_time"].attrs["rate"]))
    else:
        rate = _rate_of(group["timestamps"], num_samples=num_samples)
    if not 0 < rate < np.inf:
        raise Refusal(f"The series has a sampling rate of {rate} Hz; correct it in the file.")
    return rate


def _rate_of(timestamps: h5py.Dataset, *, num_samples: int) -> float:
    """Return the mean rate (Hz) of timestamps in seconds; refuse gaps, repeats and a rate that changes."""
    if timestamps.shape != (num_samples,) or num_samples < 2:
        raise Refusal(
            f"The series has timestamps of shape {timestamps.shape} for {num_samples} samples; it needs one for each "
            "of at least two."
        )
    origin, last = float(timestamps[0]), float(timestamps[-1])
    usual = float(np.median(np.diff(timestamps[:_BLOCK_TIMESTAMPS])))
    period = (last - origin) / (num_samples - 1)
    changes: list[float] = []
    for start in range(0, num_samples - 1, _BLOCK_TIMESTAMPS):
        times = timestamps[start : start + _BLOCK_TIMESTAMPS + 1] - origin
        steps = np.diff(times)
        wrong = np.flatnonzero(~((steps > 0.5 * usual) & (steps < 1.5 * usual)))
        if wrong.size:
            first = int(wrong[0])
            raise Refusal(
                f"The timestamps go from {times[first]:.6f} to {times[first + 1]:.6f} s after the start where "
                f"{usual:.6f} s are usual: there is a gap or a repeat; write each stretch as a series of its own."
            )
        pace, index = float(np.mean(steps)), np.arange(len(times))
        uneven = (np.abs(times - times[0] - index * pace) > (_MAX_RATE_ERROR * index + 0.5) * pace).any()
        if uneven or abs(pace - period) > (_MAX_RATE_ERROR + 0.5 / len(steps)) * period:
            changes.append(float(times[0]))
    if changes:  # after all blocks, because a gap in a later one moves the mean
        raise Refusal(
            f"The rate of the timestamps changes by more than {_MAX_RATE_ERROR:g}, seen from {changes[0]:.6f} s after "
            "the start on; resample the series to one rate."
        )
    return float(f"{1 / period:.9g}")  # 2048 from timestamps that are multiples of 1/2048 in double precision


def _said_about(row: int, columns: dict[str, list[Any]], group: h5py.Group) -> list[str]:
    """Return what may name the kind of an electrode, the most particular first."""
    said = [str(columns[name][row]) for name in TYPE_COLUMNS if name in columns]
    for item in (group, group.get("device")):
        if item is not None:
            said += [_text(item.attrs.get("description", "")), _own_name(item)]
    return said


def _own_name(item: Any) -> str:
    return str(item.name).rsplit("/", 1)[-1]


def _values(dataset: h5py.Dataset) -> list[Any]:
    return [_text(value) if isinstance(value, bytes) else value for value in dataset[()].tolist()]


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
