"""What is seen while a stream is waited for, on standard error: steps, and on a terminal a line that goes when done."""

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from streamproof.record import Recorder
from streamproof.verdict import count, printable

# Times a second. Drawn by a thread of its own, as time goes on while nothing is read; drawing at every read instead
# would take time from reading.
_REFRESH = 4


class Progress:
    """Shows how much has come and for how long nothing has, within a `with` block."""

    def __init__(self, *, wanted: bool = True) -> None:
        """Nothing is shown yet.

        Args:
            wanted: False shows nothing at all, nor does a standard error that is not a terminal.
        """
        self._wanted = wanted
        self._shown = wanted and sys.stderr.isatty()
        self._started = self._last = time.monotonic()
        self._recorder: Recorder | None = None
        self._live = Live(
            console=Console(stderr=True, highlight=False),
            get_renderable=self._line,
            refresh_per_second=_REFRESH,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def say(self, step: str) -> None:
        """Say in a line that stays what is waited for from now on, and count anew; on no terminal too."""
        self._started = self._last = time.monotonic()
        self._recorder = None
        if self._wanted:
            self._live.console.print(printable(step), markup=False, soft_wrap=True)

    def on_read(self, recorder: Recorder) -> None:
        """Take that something was read; for `observe`."""
        self._recorder = recorder
        self._last = time.monotonic()

    def __enter__(self) -> Self:
        """Begin to show the line, and to count time."""
        self._started = self._last = time.monotonic()
        if self._shown:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the line."""
        self._live.stop()

    def _line(self) -> Text:
        now = time.monotonic()
        rows, size = (self._recorder.row_count, self._recorder.byte_count) if self._recorder else (0, 0)
        silence = f"last byte {now - self._last:.1f} s ago" if self._recorder else "nothing yet"
        words = f"{count(rows, 'row')}, {count(size, 'byte')}, {now - self._started:.1f} s, {silence}"
        return Text(words, no_wrap=True, overflow="ellipsis")
