"""What a public data set's module yields: recordings, and what was going on in stretches of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..recordings import Recording, RecordingStream


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledRecording:
    """One person's recording with labelled windows of one length, which the data set says.

    recording: at the model's rate. Its `subject` is a code, and the independent unit: a patient, a participant.
        Where the data set is made of pieces (clips, epochs), they lie back to back, and no window crosses from one to
        another.
    onset_s: (windows,), seconds from the first sample to the beginning of each window.
    values: (windows,), text = the name of a class, or float64 = the value of a regression.
    left_out: reason → number of windows or rows of the data set that are not here.
    Raises ValueError when the parts contradict each other.
    """

    recording: Recording | RecordingStream
    onset_s: NDArray[np.float64]
    values: NDArray[Any]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if np.shape(self.values) != np.shape(self.onset_s) or np.ndim(self.onset_s) != 1:
            raise ValueError(
                f"onset_s is {np.shape(self.onset_s)} and values are {np.shape(self.values)}: give one of each for a "
                "window."
            )
