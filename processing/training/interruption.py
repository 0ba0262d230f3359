"""Be asked to stop, and stop at a moment of one's own choice."""

import signal
import time
from types import FrameType, TracebackType


class StopRequest:
    """While the block runs, the first SIGTERM or Ctrl-C only sets `requested`; a later Ctrl-C interrupts as usual.

    Schedulers send SIGTERM some time before they kill; it leaves time for what has to be saved. Main thread only.
    """

    # One Ctrl-C may come twice: from the terminal, and passed on by a launcher.
    SAME_S = 2.0

    def __init__(self) -> None:
        self.requested = False
        self._since = 0.0
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self.requested:
            self.requested, self._since = True, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._since > self.SAME_S:
            raise KeyboardInterrupt
