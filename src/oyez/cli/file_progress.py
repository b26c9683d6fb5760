"""How a transcription gets on: a bar in a terminal, a line now and then elsewhere. On stderr."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from rich.console import Group
from rich.live import Live
from rich.text import Text

from oyez.cli.caption_screen import unfinished
from oyez.cli.terminal import ECHO_COLUMNS, NARROW_COLUMNS, clock, console
from oyez.cli.wrapping import printable
from oyez.client.captions import Utterance
from oyez.files.results import Partial

LINE_EVERY_S = 10.0
REFRESH_S = 0.1
BAR_CELLS = 24
PARTIAL_LINES = 4


class FileProgress(Protocol):
    """Told of one file after the other."""

    def begin(self, name: str, duration_s: float | None) -> None: ...

    def partial(self, partial: Partial) -> None: ...

    def segment(self) -> None:
        """What was tentative has become a segment."""

    def reached(self, done_s: float) -> None: ...

    def end(self, line: str) -> None:
        """The file is done with; `line` says how."""

    def say(self, line: str) -> None:
        """Something worth knowing."""

    def close(self) -> None: ...


class NoProgress:
    """For --quiet: what is worth knowing is still told."""

    def begin(self, name: str, duration_s: float | None) -> None: ...

    def partial(self, partial: Partial) -> None: ...

    def segment(self) -> None: ...

    def reached(self, done_s: float) -> None: ...

    def end(self, line: str) -> None: ...

    def say(self, line: str) -> None:
        print(printable(line), file=sys.stderr, flush=True)

    def close(self) -> None: ...


class LineProgress(NoProgress):
    """Plain lines."""

    def __init__(self) -> None:
        self._name = ""
        self._of = ""
        self._told_s = 0.0

    def begin(self, name: str, duration_s: float | None) -> None:
        self._name = name
        self._of = f" of {clock(duration_s)}" if duration_s else ""
        self._told_s = time.monotonic()

    def reached(self, done_s: float) -> None:
        if time.monotonic() - self._told_s >= LINE_EVERY_S:
            self._told_s = time.monotonic()
            self.say(f"{self._name}: {clock(done_s)}{self._of}")

    def end(self, line: str) -> None:
        self.say(line)


class TerminalProgress:
    """A bar with position, duration and speed, and above it what is being heard."""

    def __init__(self, *, redirect_stdout: bool) -> None:
        """redirect_stdout: stdout is the same terminal; what is printed there goes above."""
        self._console = console(sys.stderr)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=redirect_stdout,
        )
        self._live.start()
        self._name = ""
        self._duration_s: float | None = None
        self._began_s = 0.0
        self._done_s = 0.0
        self._partial: Partial | None = None
        self._shown_s = 0.0

    def begin(self, name: str, duration_s: float | None) -> None:
        self._name, self._duration_s = printable(name), duration_s
        self._began_s = time.monotonic()
        self._done_s = 0.0
        self._partial = None
        self._show()

    def partial(self, partial: Partial) -> None:
        self._partial = partial
        self._show_if_due()

    def segment(self) -> None:
        self._partial = None
        self._show()

    def reached(self, done_s: float) -> None:
        self._done_s = done_s
        self._show_if_due()

    def end(self, line: str) -> None:
        self._live.update(Text(""), refresh=True)
        self.say(line)

    def say(self, line: str) -> None:
        self._console.print(Text(printable(line)), soft_wrap=True)

    def close(self) -> None:
        self._live.update(Text(""), refresh=True)
        self._live.stop()

    def _show_if_due(self) -> None:
        if time.monotonic() - self._shown_s >= REFRESH_S:
            self._show()

    def _show(self) -> None:
        self._shown_s = time.monotonic()
        columns = self._console.width
        current = []
        if self._partial:
            heard = Utterance(text=self._partial.confirmed, tentative=self._partial.tentative)
            current.append(heard)
        text = unfinished(current, columns, PARTIAL_LINES)
        passed_s = max(1e-3, time.monotonic() - self._began_s)
        line = bar_line(
            self._name, self._done_s, self._duration_s, self._done_s / passed_s, columns
        )
        self._live.update(Group(*([text] if text else []), Text(line, no_wrap=True)), refresh=True)


def bar_line(name: str, done_s: float, duration_s: float | None, speed: float, columns: int) -> str:
    """`talk.mp3 [#####     ] 1:20 of 2:40  18.4x  0:05 left`, as far as it fits."""
    columns -= ECHO_COLUMNS
    parts = []
    if duration_s and columns >= NARROW_COLUMNS:
        cells = round(min(1.0, done_s / duration_s) * BAR_CELLS)
        parts.append("[" + ("#" * cells).ljust(BAR_CELLS) + "]")
    parts.append(clock(done_s) + (f" of {clock(duration_s)}" if duration_s else ""))
    if speed >= 0.05:
        parts.append(f"{speed:.1f}x")
        if duration_s:
            parts.append(f"{clock(max(0.0, duration_s - done_s) / speed)} left")
    line = parts[0]
    for part in parts[1:]:
        if len(line) + 2 + len(part) < columns:
            line += "  " + part
    room = columns - 1 - len(line) - 2
    short = name if len(name) <= room else "…" + name[len(name) - room + 1 :]
    return f"{short}  {line}" if room >= 8 else line[: columns - 1]
