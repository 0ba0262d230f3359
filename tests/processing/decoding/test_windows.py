"""Blocks of windows depend on the recording and the settings alone."""

import threading

import numpy as np
import pytest

from brainbert.processing.decoding.windows import Windows, made_ahead
from brainbert.processing.recordings import RecordingStream


def stream(*, contacts: int = 2, hours: float = 1.0) -> RecordingStream:
    """A recording of the given length whose samples are their own numbers."""
    return RecordingStream(
        source=lambda start, stop: np.tile(np.arange(start, stop, dtype=np.float32), (contacts, 1)),
        num_samples=round(hours * 3600 * 2048),
        sampling_rate=2048.0,
        contacts=tuple(f"A{number + 1}" for number in range(contacts)),
        types=("seeg",) * contacts,
        id="r1",
        subject="s1",
    )


@pytest.mark.parametrize(
    ("contacts", "stride_s", "values", "per_block", "blocks"),
    [
        (2, 5.0, 1, 12, 60),  # 720 windows of each contact, 12 a minute
        (2, 1.0, 1, 60, 60),  # 3596 windows
        (256, 0.1, 32, 599, 60),  # strides of 205 samples; 35915 windows
        (256, 0.1, 768, 170, 212),  # 2^25 numbers are 170.7 windows of 256 · 768
        (2, 5.0, 190 * 768, 12, 60),  # all frames of a large model: 229 rows would fit
        (64, 5.0, 190 * 768, 3, 240),
        (2, 120.0, 1, 1, 30),  # a stride longer than a block
        (256, 5.0, 190 * 768, 1, 720),  # more contacts than a block has rows
    ],
)
def test_a_block_is_a_minute_of_window_starts_and_bounded_in_memory(contacts, stride_s, values, per_block, blocks):
    windows = Windows(stream(contacts=contacts), window_s=5.0, stride_s=stride_s, values_per_window=values)
    assert (windows.per_block, len(windows)) == (per_block, blocks)


def test_blocks_hold_each_window_once():
    windows = Windows(stream(hours=0.05), window_s=5.0, stride_s=1.5)  # 180 s: starts at 0, 1.5, … 175 s less a bit
    blocks = [windows.read(number) for number in range(len(windows))]
    assert [len(block.starts) for block in blocks] == [40, 40, 37]
    assert [windows.rows(number) for number in range(3)] == [80, 80, 74]
    assert np.concatenate([block.starts for block in blocks]).tolist() == [3072 * number for number in range(117)]
    for block in blocks:
        assert block.voltage[0, 0] == block.starts[0]
        assert block.voltage.shape == (2, block.starts[-1] - block.starts[0] + 10240)


def test_the_next_block_is_made_while_one_is_in_use():
    second_made = threading.Event()

    def make(number: int) -> int:
        if number == 1:
            second_made.set()
        return number

    for number in made_ahead(make, range(3)):
        if number == 0:
            assert second_made.wait(timeout=10)


def test_what_goes_wrong_in_the_background_is_raised_in_its_turn():
    def make(number: int) -> int:
        if number == 2:
            raise ValueError("the disk is gone")
        return number

    made = made_ahead(make, range(4))
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ValueError, match="the disk is gone"):
        next(made)
