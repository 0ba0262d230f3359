"""Read intracranial recordings, say which parts of them are signal, and bring them to what the model expects.

The order is: read, mark bad contacts, fill gaps, remove line noise, re-reference, resample, cut; `condition` does all
between reading and cutting.
"""

from .artefacts import fill_gaps
from .band import estimate_band
from .clips import check_clips, cut_clips, recording_clip_problems
from .condition import condition
from .contacts import MontageError, clean_name, neighbours, parse_contact
from .filters import remove_line_noise
from .quality import QualityReport, assess_quality
from .read import identify_recording, read_recording
from .recording import Recording, left_out, mark_bad
from .reference import bipolar, common_average, laplacian
from .resample import resample

__all__ = [
    "MontageError",
    "QualityReport",
    "Recording",
    "assess_quality",
    "bipolar",
    "check_clips",
    "clean_name",
    "common_average",
    "condition",
    "cut_clips",
    "estimate_band",
    "fill_gaps",
    "identify_recording",
    "laplacian",
    "left_out",
    "mark_bad",
    "neighbours",
    "parse_contact",
    "read_recording",
    "recording_clip_problems",
    "remove_line_noise",
    "resample",
]
