"""Voltage for a generated Brain Treebank: noise made of few tiles, so that hours of it take megabytes on disk.

Signals are µV as 16-bit integers. A contact has 27 tiles of an eighth of a second for each of three states: rest,
response, and strong response, in which 70 to 150 Hz are stronger and 13 to 30 Hz weaker. Which tile comes is drawn at
random, which state is planted. Compression finds the repetitions.
"""

from collections.abc import Iterator

import numpy as np
from generated_treebank_words import Session, Transcript
from numpy.typing import NDArray

TILES_A_SECOND = 8
LEVELS_UV, VARIANTS = (-25.0, 0.0, 25.0), 3  # what a tile begins and ends at; tiles of each pair of them
NOISE_SD_UV = 30.0
BANDS_HZ_GAIN = (((70, 150), (1.0, 1.6, 2.4)), ((13, 30), (1.0, 0.7, 0.5)))  # of amplitude, in each state
# About an onset, where a response to speech is strong: what the ten frames about it see that the paper embeds.
STRONG_S = (-0.19, 0.19)
LONGEST_RESPONSE_S = 1.0  # after a word that none follows
# Of the time, in stretches of 1.5 s on average, the state is a coin's: no contact follows the movie all the time.
WANDERING, WANDERING_S = 0.25, 1.5


def planted_states(
    planted: str | None, session: Session, transcript: Transcript, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the state of each tile of a contact: (tiles,), all 0 where nothing is planted.

    speech: the response (1) lasts from a word's onset to the next one's, or for a second. About an onset it is strong
        (2), so that something is left when each window is normalised by itself: within speech, nothing else changes.
    volume, pitch: it does so for the louder and higher half of the words; silence has stretches cut from the states
        of speech, so that this contact does not tell the two apart.
    """
    tiles = -(-session.num_samples * TILES_A_SECOND // session.sampling_rate)
    if planted is None:
        return np.zeros(tiles, dtype=np.int64)
    word, at_onset = _word_of_tile(session, tiles)
    speaking = word >= 0
    if planted == "speech":
        state = np.where(at_onset, 2, speaking)
    else:
        above = {"volume": transcript.loud, "pitch": transcript.high}[planted]
        state = above[session.row[np.argsort(session.sample, kind="stable")]][word].astype(np.int64)
        spoken = state[speaking]
        edges = np.flatnonzero(np.diff(np.concatenate([[0], ~speaking, [0]])))
        for start, stop in edges.reshape(-1, 2):
            state[start:stop] = np.resize(np.roll(spoken, -rng.integers(len(spoken))), stop - start)
    stretch = np.cumsum(rng.random(tiles) < 1 / (WANDERING_S * TILES_A_SECOND))
    wanders = rng.random(stretch[-1] + 1) < WANDERING
    coin = rng.integers(0, 2, stretch[-1] + 1)
    return np.where(wanders[stretch], coin[stretch], state)


def voltage(
    states: NDArray[np.int64], session: Session, rng: np.random.Generator, *, chunk: int
) -> Iterator[NDArray[np.int16]]:
    """Yield a contact's voltage in chunks of `chunk` samples, a multiple of the tiles', and what is left.

    states: (tiles,) of `planted_states`.
    """
    length = session.sampling_rate // TILES_A_SECOND
    tiles = _tiles(length, rng)
    level = rng.integers(0, len(LEVELS_UV), len(states) + 1)
    variant = rng.integers(0, VARIANTS, len(states))
    for start in range(0, session.num_samples, chunk):
        part = slice(start // length, (start + chunk) // length)
        drawn = tiles[states[part], level[:-1][part], level[1:][part], variant[part]]
        yield drawn.reshape(-1)[: session.num_samples - start]


def _word_of_tile(session: Session, tiles: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return for each tile the word that its centre responds to, in the order of their onsets, or -1: (tiles,).

    And whether an onset is near: (tiles,).
    """
    rate = session.sampling_rate
    order = np.argsort(session.sample, kind="stable")
    onset, end = session.sample[order], session.end_sample[order]
    # A word whose end lies beyond a pause does not last through it.
    lasts = np.maximum(onset + LONGEST_RESPONSE_S * rate, np.minimum(end, onset + 2 * rate))
    until = np.minimum(lasts, np.append(onset[1:], np.inf))
    centre = (np.arange(tiles) + 0.5) * rate / TILES_A_SECOND
    word = np.searchsorted(onset, centre, side="right") - 1
    before, after = (np.searchsorted(onset, centre - rate * limit) for limit in STRONG_S)
    return np.where((word >= 0) & (centre < until[word]), word, -1), before > after


def _tiles(length: int, rng: np.random.Generator) -> NDArray[np.int16]:
    """Return (3, levels, levels, variants, samples) µV: state, level at the start, level at the end, variant.

    Each is periodic 1/f noise that passes through 0 at its ends, on a slope from one level to the other.
    """
    hertz = np.fft.rfftfreq(length, 1 / (length * TILES_A_SECOND))
    shape = (3, len(LEVELS_UV), len(LEVELS_UV), VARIANTS, len(hertz))
    spectrum = (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)) / np.maximum(hertz, hertz[1])
    spectrum[..., 0] = 0
    scale = NOISE_SD_UV / np.fft.irfft(spectrum[0], n=length).std()
    for (low, high), gains in BANDS_HZ_GAIN:
        for state, gain in enumerate(gains):
            spectrum[state, ..., (hertz >= low) & (hertz <= high)] *= gain
    noise = scale * np.fft.irfft(spectrum, n=length)
    noise -= noise[..., :1]
    levels, rise = np.array(LEVELS_UV), (1 - np.cos(np.pi * np.arange(length) / length)) / 2
    slope = levels[:, None, None] + (levels[None, :, None] - levels[:, None, None]) * rise
    return np.round(noise + slope[None, :, :, None, :]).astype(np.int16)
