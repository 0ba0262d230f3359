"""Read intracranial recordings, say which parts of them are signal, and bring them to what the model expects.

The order is: read, mark bad contacts, fill gaps, remove line noise, re-reference, resample, cut; `condition` does all
between reading and cutting. `open_recording` and `condition_stream` do the same for recordings of any length, a stretch
at a time.
"""

from .artefacts import fill_gaps
from .band import estimate_band
from .clips import check_clips, clip_problems, cut_clips, recording_clip_problems
from .condition import condition
from .contacts import MontageError, clean_name, neighbours, parse_contact
from .filters import remove_line_noise
from .grids import grid_neighbours, grids_from_text
from .quality import QualityReport, assess_quality
from .read import identify_recording, open_recording, read_recording
from .recording import Recording, RecordingHeader, RecordingStream, left_out, mark_bad
from .reference import bipolar, common_average, laplacian
from .resample import resample
from .stream import condition_stream

__all__ = [
    "MontageError",
    "QualityReport",
    "Recording",
    "RecordingHeader",
    "RecordingStream",
    "assess_quality",
    "bipolar",
    "check_clips",
    "clean_name",
    "clip_problems",
    "common_average",
    "condition",
    "condition_stream",
    "cut_clips",
    "estimate_band",
    "fill_gaps",
    "grid_neighbours",
    "grids_from_text",
    "identify_recording",
    "laplacian",
    "left_out",
    "mark_bad",
    "neighbours",
    "open_recording",
    "parse_contact",
    "read_recording",
    "recording_clip_problems",
    "remove_line_noise",
    "resample",
]
