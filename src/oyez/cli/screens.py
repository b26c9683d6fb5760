"""How recognition is shown while it goes on, by `oyez listen` and `oyez transcribe`.

In a terminal, both keep a few lines at the bottom that are drawn again and again; what is final
scrolls up above them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from oyez.cli.terminal import ECHO_COLUMNS, NARROW_COLUMNS, console, joined_to_fit, wrap
from oyez.cli.values import clock, counted, printable
from oyez.client import Utterance
from oyez.files.results import Partial, Progress, Result, Segment

LEVEL_CELLS = 10
QUIETEST_DB = -60.0
"""The level at which the level meter is empty; it is full at full scale."""
ABOUT_COLUMNS = (7, 3, 9)
"""The widths of time, language and emotion."""
STATUS_LINES = 2
FEWEST_LINES = 3
PARTIAL_LINES = 4
BAR_CELLS = 24
REFRESH_S = 0.1
LINE_EVERY_S = 10.0


class LiveLines:
    """The lines at the bottom of a terminal that are drawn again and again."""

    def __init__(self, out: Console, *, redirect_stdout: bool = True) -> None:
        """redirect_stdout: stdout is the same terminal, so what is printed there goes above."""
        self._live = Live(
            console=out, auto_refresh=False, transient=True, redirect_stdout=redirect_stdout
        )
        self._live.start()

    def draw(self, text: Text | None, status: Text) -> None:
        """Replace what was drawn before. text: stands above the status line."""
        self._live.update(Group(*([text] if text else []), status), refresh=True)

    def clear(self) -> None:
        """Remove what was drawn."""
        self._live.update(Text(""), refresh=True)

    def close(self) -> None:
        """Remove what was drawn, and give the terminal back."""
        self.clear()
        self._live.stop()


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a live session, shown below the captions."""

    audio_s: float
    level_db: float
    overflows: int
    ending: bool
    """Whether the audio has ended and only answers are missing."""


class Screen:
    """Where captions go: a line for each utterance, with time, language, emotion and text between
    tabs."""

    def event(self, raw: str) -> None:
        """Take an event as the server sent it."""

    def finished(self, utterance: Utterance) -> None:
        """Take an utterance that does not change any more."""
        if utterance.text or utterance.failure:
            words = printable(utterance.text)
            if utterance.failure:
                words = f"{words} [not recognised: {printable(utterance.failure)}]".strip()
            print(*_about(utterance), words, sep="\t", flush=True)

    def show(self, current: Sequence[Utterance], status: Status) -> None:
        """Take the utterances that go on, and the state of the session."""

    def close(self) -> None:
        """Give the terminal back."""


class JsonScreen(Screen):
    """Prints the server's events, one a line."""

    def event(self, raw: str) -> None:
        print(raw, flush=True)

    def finished(self, utterance: Utterance) -> None:
        """Print nothing more: its events are printed already."""


class TerminalScreen(Screen):
    """Finished utterances scroll up; the current ones stay below, with a level meter."""

    def __init__(self, out: Console) -> None:
        self._console = out
        self._lines = LiveLines(out)

    def finished(self, utterance: Utterance) -> None:
        if utterance.text or utterance.failure:
            self._console.print(finished_text(utterance, self._console.width))

    def show(self, current: Sequence[Utterance], status: Status) -> None:
        columns, lines = self._console.size
        most_lines = max(FEWEST_LINES, lines - STATUS_LINES - 1)
        block = "█" if self._console.encoding.startswith("utf") else "#"
        text = unfinished_text(current, columns, most_lines)
        self._lines.draw(text, status_line(status, columns, block))

    def close(self) -> None:
        self._lines.close()


class FileProgress:
    """The progress of one file after the other, on stderr: a plain line now and then.

    Or, in a terminal, a bar with position, duration and speed, and above it the current hypothesis.
    """

    def __init__(self, *, quiet: bool = False, in_terminal: bool = False) -> None:
        """quiet: print only notices."""
        self._quiet = quiet
        self._console = console(sys.stderr)
        self._lines: LiveLines | None = None
        if in_terminal and not quiet:
            self._lines = LiveLines(self._console, redirect_stdout=sys.stdout.isatty())

    def begin(self, name: str, duration_s: float | None) -> None:
        """Begin with a file. duration_s: None if it is unknown."""
        self._name, self._duration_s = printable(name), duration_s
        self._began_s = self._shown_s = time.monotonic()
        self._done_s = 0.0
        self._partial: Partial | None = None
        self._draw()

    def take(self, result: Result) -> None:
        """Take what the transcription of the file yields."""
        if isinstance(result, Progress):
            self._done_s = result.done_s
        else:
            self._partial = result if isinstance(result, Partial) else None
        waited_s = time.monotonic() - self._shown_s
        if isinstance(result, Segment) or waited_s >= REFRESH_S:
            self._draw()
        if not self._lines and not self._quiet and waited_s >= LINE_EVERY_S:
            self._shown_s = time.monotonic()
            self.notice(f"{self._name}: {position(self._done_s, self._duration_s)}")

    def end(self, line: str) -> None:
        """End the file; `line` says where the text is and how fast it came."""
        if self._lines:
            self._lines.clear()
        if not self._quiet:
            self.notice(line)

    def notice(self, line: str) -> None:
        """Print something important, also with `quiet`."""
        if self._lines:
            self._console.print(Text(printable(line)), soft_wrap=True)
        else:
            print(printable(line), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self._lines:
            self._lines.close()

    def _draw(self) -> None:
        if not self._lines:
            return
        self._shown_s = time.monotonic()
        columns, said = self._console.width, self._partial
        current = [Utterance(text=said.confirmed, tentative=said.tentative)] if said else []
        speed = self._done_s / max(1e-3, self._shown_s - self._began_s)
        line = progress_line(self._name, self._done_s, self._duration_s, speed, columns)
        text = unfinished_text(current, columns, PARTIAL_LINES)
        self._lines.draw(text, Text(line, no_wrap=True))


def position(done_s: float, duration_s: float | None) -> str:
    """Write `1:20 of 2:40`, or `1:20` if the duration is unknown."""
    return clock(done_s) + (f" of {clock(duration_s)}" if duration_s else "")


def progress_line(
    name: str, done_s: float, duration_s: float | None, speed: float, columns: int
) -> str:
    """Write `talk.mp3  [#####     ]  1:20 of 2:40  18.4x  0:05 left`, as far as it fits."""
    columns -= ECHO_COLUMNS + 1
    parts = []
    if duration_s and columns >= NARROW_COLUMNS - 1:
        cells = round(min(1.0, done_s / duration_s) * BAR_CELLS)
        parts.append("[" + ("#" * cells).ljust(BAR_CELLS) + "]")
    parts.append(position(done_s, duration_s))
    if speed >= 0.05:
        parts.append(f"{speed:.1f}x")
        if duration_s:
            parts.append(f"{clock(max(0.0, duration_s - done_s) / speed)} left")
    line = joined_to_fit(parts, columns)
    room = columns - len(line) - 2
    short = name if len(name) <= room else "…" + name[len(name) - room + 1 :]
    return f"{short}  {line}" if room >= 8 else line[:columns]


def status_line(status: Status, columns: int, block: str) -> Text:
    """Write time, overflows, level and what Ctrl-C does, as far as they fit."""
    full = LEVEL_CELLS if columns >= NARROW_COLUMNS else LEVEL_CELLS // 2
    share = 1 - max(QUIETEST_DB, min(0.0, status.level_db)) / QUIETEST_DB
    parts = [
        "finishing" if status.ending else "listening",
        clock(status.audio_s),
        counted(status.overflows, "overflow") if status.overflows else "",
        "[" + (block * round(share * full)).ljust(full) + "]",
        "" if status.ending else "Ctrl-C ends",
    ]
    line = joined_to_fit(filter(None, parts), columns - ECHO_COLUMNS)
    return Text(line, style="dim", no_wrap=True)


def finished_text(utterance: Utterance, columns: int) -> Text:
    """Wrap an utterance, with its time, language and emotion before it.

    In a narrow terminal they stand above it.
    """
    text = Text(printable(utterance.text))
    if utterance.failure:
        text.append(" [not recognised]" if text else "[not recognised]", style="red")
    if columns < NARROW_COLUMNS:
        above = Text("  ".join(filter(None, _about(utterance))), style="dim")
        return Text("\n").join([*wrap(above, columns), *wrap(text, columns)])
    parts = zip(_about(utterance), ABOUT_COLUMNS, strict=True)
    about = "".join(part.ljust(size) + "  " for part, size in parts)
    rest = Text("\n" + " " * len(about)).join(wrap(text, columns - len(about)))
    return Text.assemble((about, "dim"), rest)


def unfinished_text(current: Sequence[Utterance], columns: int, most_lines: int) -> Text | None:
    """Wrap the utterances that go on: confirmed words bold, tentative ones dim.

    Only the last `most_lines` lines are kept. None if there are no words.
    """
    lines: list[Text] = []
    for utterance in current:
        confirmed, tentative = printable(utterance.text), printable(utterance.tentative)
        lines += wrap(Text.assemble((confirmed, "bold"), (tentative, "dim")), columns)
    return Text("\n").join(lines[-most_lines:]) if lines else None


def _about(utterance: Utterance) -> tuple[str, str, str]:
    start_s = utterance.start_s
    when = "" if start_s is None else clock(start_s, tenths=True)
    return when, printable(utterance.language), printable(utterance.emotion)
