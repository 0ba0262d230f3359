"""The first signal asks, and nothing is interrupted; a later Ctrl-C does interrupt."""

import os
import signal

import pytest

from brainbert.processing.training import StopRequest, interruption


def send(number):
    os.kill(os.getpid(), number)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when the test says so."""
    seconds = [100.0]
    monkeypatch.setattr(interruption.time, "monotonic", lambda: seconds[0])
    return seconds


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_only_sets_requested(number):
    stop = StopRequest()
    with stop:
        assert not stop.requested
        send(number)
        assert stop.requested


def test_a_later_ctrl_c_interrupts(clock):
    with StopRequest() as stop:
        send(signal.SIGINT)
        clock[0] += stop.SAME_S + 0.1
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_ctrl_c_that_a_launcher_passes_on_is_still_the_first(clock):
    with StopRequest() as stop:
        send(signal.SIGINT)
        clock[0] += 0.5
        send(signal.SIGINT)
        assert stop.requested


def test_ctrl_c_interrupts_while_a_scheduler_waits(clock):
    with StopRequest():
        send(signal.SIGTERM)
        clock[0] += 60
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_scheduler_that_asks_twice_does_not_interrupt(clock):
    with StopRequest() as stop:
        send(signal.SIGTERM)
        clock[0] += 60
        send(signal.SIGTERM)
        assert stop.requested


@pytest.mark.parametrize("how", ["at the end", "by an error"])
def test_handlers_are_as_they_were(how):
    def mine(number, frame):
        heard.append(number)

    heard = []
    before = {number: signal.signal(number, mine) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        try:
            with StopRequest() as stop:
                assert how == "at the end"
        except AssertionError:
            pass
        for number in before:
            send(number)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == list(before)
    assert not stop.requested
