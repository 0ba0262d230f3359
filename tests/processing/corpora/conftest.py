import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from brainbert.processing.recordings import Recording


def make_recording(name="r1", *, contacts=3, seconds=22.5, seed=0, **changes) -> Recording:
    """A conditioned recording of 1/f² noise with one resampling step behind it."""
    rng = np.random.default_rng(seed)
    data = rng.standard_normal((contacts, round(seconds * 2048))).cumsum(1)
    data = (40 * (data - data.mean(1, keepdims=True)) / data.std(1, keepdims=True)).astype(np.float32)
    settings = {
        "data": data,
        "sampling_rate": 2048.0,
        "contacts": tuple(f"A{number + 1}" for number in range(contacts)),
        "types": ("seeg",) * contacts,
        "band_hz": (0.5, 240.0),
        "history": ({"step": "read", "format": "made"}, {"step": "resample", "from_hz": 512.0, "to_hz": 2048.0}),
        "id": name,
        "subject": f"subject of {name}",
    }
    return Recording(**(settings | changes))


@pytest.fixture(scope="session")
def recording():
    return make_recording


@pytest.fixture
def write_session(tmp_path):
    """Write a session of Brain Treebank: 4 channels of 20 s at 2048 Hz, a trigger each second, three words.

    Channel i is i in its first sample, i + 1/16 in the next, and so on.
    """

    def write(
        subject=4, trial=0, *, labels=("*T1a1", "T1a_2#", "DC4", "T1a3"), channels=None, samples=40960, dtype="f4",
        triggers=tuple((float(second), 2048 * second) for second in range(20)), corrupted=("T1a3*",),
        words=(("we", 2.0, 2.5), ("saw", 3.25, 3.5), ("it", 12.0, 12.5)), place=".",
    ) -> Path:  # fmt: skip
        files = {
            f"electrode_labels/sub_{subject}/electrode_labels.json": json.dumps(labels),
            "corrupted_elec.json": json.dumps({f"sub_{subject}": corrupted}),
            f"subject_metadata/sub_{subject}_trial{trial:03}_metadata.json": '{"title": "A", "filename": "a-film"}',
            f"subject_timings/sub_{subject}_trial{trial:03}_timings.csv": "type,movie_time,index\n"
            + "".join(f"trigger,{time},{sample}\n" for time, sample in triggers),
            "localization/elec_coords_full.csv": "Subject,Electrode,X,Y,Z\n"
            f"sub_{subject},T1a1,-40.5,1,2\nsub_7,T1a3,0,0,0\n",
            f"localization/sub_{subject}/depth-wm.csv": "Electrode,L,I,P,DesikanKilliany,Destrieux\n"
            "*T1a1,1,2,3,ctx-lh-insula,a\nT1a_2#,1,2,3,,b\n",
            "transcripts/a-film/features.csv": "Unnamed: 0,text,start,end,sentence,is_onset,rms,word_diff\n"
            + "".join(f"{i},{w},{a},{b},{s},1,{r},\n" for i, (w, a, b, s, r) in enumerate(map(_word, words))),
        }
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / place).mkdir(exist_ok=True)
        with h5py.File(tmp_path / place / f"sub_{subject}_trial{trial:03}.h5", "w") as file:
            for number in range(len(labels) if channels is None else channels):
                file[f"data/electrode_{number}"] = (number + np.arange(samples) / 16).astype(dtype)
        return tmp_path

    return write


def _word(given: tuple) -> tuple:
    """Give a word a sentence of its own and an rms, where it has none."""
    text, start, end, *more = given
    return (text, start, end, *more, *(f"{text} said.", 0.5)[len(more) :])
