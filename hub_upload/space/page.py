"""The words of the page, as HTML. Whatever comes from a file is escaped here and nowhere else."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ..handler import MAX_BYTES
from .encoder import Encoder, Look
from .pictures import reconstruction_picture, signal_picture, trajectory_picture
from .uploads import MAX_UPLOAD_BYTES

_FEW = 8  # scores shown


def header(encoder: Encoder) -> str:
    """Return what this page is, for which model, and what it is not for."""
    name = escape(encoder.name)
    link = f'<a href="{escape(encoder.link)}" target="_blank" rel="noopener">{name}</a>' if encoder.link else name
    head = {
        "reconstruction": "with its reconstruction head",
        "classification": "with a classification head",
        "": "the encoder alone",
    }[encoder.head]
    return (
        '<div class="bb-header"><h1>BrainBERT</h1>'
        "<p>Intracranial voltage in, the model’s view of it out. "
        f"Model: <b>{link}</b>, {_parameters(encoder.parameters)} parameters, {head}; "
        f"reads {encoder.rate:g} Hz in windows of {encoder.window_s:g} s.</p>"
        '<p class="bb-limits"><b>Not a medical device.</b> Do not upload data that identify a person to a public page. '
        "A plausible picture proves nothing: a demonstration model draws one, too; what a model is worth, its "
        "decoding reports say.</p></div>"
    )


def upload_hint() -> str:
    """Return what may be uploaded and what becomes of it."""
    of_files, of_arrays = (f"{limit / 2**20:.0f} MB" for limit in (MAX_UPLOAD_BYTES, MAX_BYTES))
    return (
        '<p class="bb-small">EDF, BDF, BrainVision (.vhdr, .eeg and .vmrk together), .npz or .npy; up to '
        f"{of_files}, arrays {of_arrays}. They are removed minutes after you close the page, after an hour at most.</p>"
    )


def refusal(sentence: str) -> str:
    """Return a sentence that says what could not be done, "" for none."""
    return f'<div class="bb-refusal" role="alert">{escape(sentence)}</div>' if sentence else ""


def welcome() -> str:
    """Return what stands where the pictures will be."""
    return (
        '<div class="bb-empty"><p>Upload a recording, or take the sample.</p><p class="bb-small">You will see a '
        "window of one contact as voltage and as the spectrogram that the model reads, what the model puts in the "
        "place of hidden cells, and the path of its embeddings.</p></div>"
    )


def summary(
    name: str, prepared: Mapping[str, Any], task: Mapping[str, Any], encoder: Encoder, *, told: Sequence[str] = ()
) -> str:
    """Return what was read: rate, duration, band, contacts with their state, notes; `told` come first."""
    quality: Mapping[str, str] = prepared["quality"]
    bad = sum(bool(reason) for reason in quality.values())
    band = prepared.get("band_hz")
    facts = {
        "rate": f"{prepared['sampling_rate']:g} Hz",
        "duration": _duration(prepared["duration_s"]),
        "contacts": f"{len(quality)}, {bad} bad" if bad else f"{len(quality)}",
        "pass band": f"{band[0]:.3g}–{band[1]:.3g} Hz" if band else "unknown",
    }
    cells = "".join(f"<div><dt>{key}</dt><dd>{escape(value)}</dd></div>" for key, value in facts.items())
    rows = "".join(_row(contact, prepared) for contact in sorted(quality, key=lambda each: not quality[each]))
    notes = [*told, *prepared["notes"], *_other_conditioning(task, encoder)]
    return (
        f'<div class="bb-summary"><h3>{escape(name)}</h3><dl>{cells}</dl>'
        f"<details><summary>Contacts and their quality</summary>"
        '<div class="bb-scroll"><table><thead><tr><th>contact</th><th>µV</th><th>state</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>{_list(notes)}</div>"
    )


def pictures(look: Look, encoder: Encoder, *, contact: str, start_s: float, artefact: bool) -> tuple[str, str]:
    """Return the cards of one window: those of the image, and that of the embeddings."""
    front = encoder.extractor
    seconds = len(look.voltage) / encoder.rate
    notes = list(look.notes)
    if artefact:
        notes.insert(0, "The recording was missing, flat or clipped in this window: do not trust what is shown.")
    where = f"Contact {escape(contact)}, {start_s:.1f} to {start_s + seconds:.1f} s"
    signal = signal_picture(look.voltage, look.image, encoder_front=front, start_s=start_s)
    cards = [_card("Signal", signal, f"{where}. Grey: frames that the front end drops.", notes)]
    if look.masked is not None and look.mask is not None and look.reconstructed is not None:
        images = {
            "Input: hidden cells are 0": look.masked,
            "Reconstruction by the model": look.reconstructed,
            "Reconstruction − true": np.where(look.mask, look.reconstructed - look.image, np.nan),
        }
        drawn = reconstruction_picture(images, look.mask, encoder_front=front, start_s=start_s, seconds=seconds)
        caption = (
            f"Orange marks the hidden stretches and bands. Mean error over hidden cells: "
            f"{look.error:.2f} z; of a blank image: {look.error_of_zero:.2f} z."
        )
        cards.append(_card("Masked reconstruction", drawn, caption))
    else:
        cards.append(
            _card("Masked reconstruction", "", "These weights have no reconstruction head, so there is none to show.")
        )
    if look.scores:
        cards.append(_card("Class scores", _scores(look.scores), "Softmax of the classification head."))
    times = start_s + front.first_frame_s + np.arange(len(look.frames)) * front.frame_duration_s
    path = trajectory_picture(look.frames, times, title=f"{len(look.frames)} frames of this window")
    path = _card("Embedding trajectory", path, "Neighbouring frames overlap in time, so any path looks smooth.")
    return f'<div class="bb-cards">{"".join(cards)}</div>', path


def not_embedded() -> str:
    """Return what stands where the picture across the recording will be."""
    return _card("Across the recording", "", "Embed the whole recording to see and download all its windows.")


def windows_picture(embeddings: Any, starts: Any, *, contact: str, contacts: int, window_s: float) -> str:
    """Return the card of the embeddings of one contact across the recording, (windows, hidden)."""
    usable = int(np.isfinite(embeddings).all(-1).sum())
    of_contacts = f"{contacts} contact{'s' if contacts > 1 else ''}"
    caption = (
        f"{len(starts)} windows of {window_s:g} s × {of_contacts} were embedded; {usable} of contact {escape(contact)} "
        "have signal."
    )
    if usable < 3:
        return _card("Across the recording", "", f"{caption} Three are needed for a picture.")
    drawn = trajectory_picture(embeddings, starts + window_s / 2, title=f"{usable} windows of the recording")
    return _card("Across the recording", drawn, caption)


def _card(title: str, drawn: str, caption: str, notes: Sequence[str] = ()) -> str:
    return f'<section class="bb-card"><h3>{title}</h3>{drawn}<p class="bb-small">{caption}</p>{_list(notes)}</section>'


def _list(notes: Sequence[str]) -> str:
    return f'<ul class="bb-notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _row(contact: str, prepared: Mapping[str, Any]) -> str:
    reason = prepared["quality"][contact]
    state = f"bad: {reason}" if reason else prepared["left_out"].get(contact, "good")
    kind = "bb-bad" if reason else "bb-gone" if state != "good" else "bb-good"
    microvolts = prepared["sd_uv"][contact]
    return (
        f"<tr><td>{escape(contact)}</td><td>{microvolts:.3g}</td>"
        f'<td class="{kind}">{escape(state if kind != "bb-gone" else f"left out: {state}")}</td></tr>'
    )


def _scores(scores: Mapping[str, float]) -> str:
    best = sorted(scores, key=lambda label: -scores[label])[:_FEW]
    return "".join(
        f'<div class="bb-score"><span>{escape(label)}</span><span>{scores[label]:.1%}</span>'
        f'<div style="width:{scores[label]:.1%}"></div></div>'
        for label in best
    )


def _other_conditioning(task: Mapping[str, Any], encoder: Encoder) -> list[str]:
    trained = (encoder.record.get("conditioning") or {}).get("reference")
    if trained is None or trained == task["reference"]:
        return []
    return [f"The model was trained with the reference “{trained}”: embeddings of another one mean little."]


def _parameters(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
