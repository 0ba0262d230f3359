"""Make a recording of arrays by name: voltage in µV, its rate, and names of contacts if there are any."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from brainbert.processing.recordings import Recording

from .preparation import check_rate

VOLTAGE = ("voltage", "data", "signal", "x")  # names of an array among several, the first that is there
RATE = ("sampling_rate", "sfreq", "fs", "rate")
NAMES = ("contacts", "names", "ch_names")


def recording_of(arrays: Mapping[str, Any], name: str, *, given_rate: float | None) -> Recording:
    """Return the recording of `voltage` (contacts, samples) or (samples,) in µV, `sampling_rate` and `contacts`.

    name: of the file. given_rate: Hz; used where the file does not say its own.
    Contacts without names are numbers, which no reference takes for neighbours.
    Raises ValueError for arrays without voltage or rate, and for voltage that is none.
    """
    voltage = _voltage(arrays, name)
    rate = next((float(arrays[name].reshape(-1)[0]) for name in RATE if name in arrays and arrays[name].size), None)
    if rate is None and given_rate is None:
        raise ValueError(f"{name} does not say its sampling rate: give it in the field “Rate of an array”, in hertz.")
    check_rate(rate if rate is not None else float(given_rate or 0))
    names = next((arrays[name] for name in NAMES if name in arrays), None)
    if names is None:
        contacts = tuple(str(number) for number in range(1, len(voltage) + 1))
    elif names.dtype.kind == "U" and names.shape == (len(voltage),):
        contacts = tuple(str(name) for name in names)
    else:
        raise ValueError(
            f"{name} names contacts in an array of {names.dtype}, {names.shape}, and has {len(voltage)} of them: "
            "give one text each."
        )
    return Recording(
        data=voltage,
        sampling_rate=rate if rate is not None else float(given_rate or 0),
        contacts=contacts,
        types=("seeg",) * len(voltage),
        history=({"step": "read", "format": "arrays"},),
        id="upload",
        subject="upload",
    )


def _voltage(arrays: Mapping[str, Any], name: str) -> Any:
    found = next((arrays[key] for key in VOLTAGE if key in arrays), None)
    if found is None and len(arrays) == 1:
        (found,) = arrays.values()
    if found is None:
        raise ValueError(f"{name} holds {', '.join(arrays) or 'nothing'} and no array called voltage: name it so.")
    if found.dtype.kind not in "fiu":
        raise ValueError(f"The voltage in {name} is {found.dtype}: give real numbers in µV.")
    if found.ndim not in (1, 2) or not found.size:
        raise ValueError(f"The voltage in {name} has shape {found.shape}: give (contacts, samples) or (samples,).")
    voltage = np.atleast_2d(found)
    if voltage.shape[0] > voltage.shape[1]:
        raise ValueError(
            f"The voltage in {name} has {voltage.shape[0]} rows of {voltage.shape[1]} samples: give it as (contacts, "
            "samples), transposed."
        )
    return np.ascontiguousarray(voltage, dtype=np.float32)
