"""Live captions: in a terminal, as plain lines, or as events for a program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from oyez.cli.terminal import ECHO_COLUMNS, NARROW_COLUMNS, clock, console
from oyez.cli.wrapping import printable, wrap
from oyez.client.captions import Utterance

LEVEL_CELLS = 10
QUIETEST_DB = -60.0
"""What an empty level meter means; a full one is full scale."""
ABOUT_COLUMNS = (7, 3, 9)
"""Of time, language and emotion."""
STATUS_LINES = 2
FEWEST_LINES = 3


@dataclass(frozen=True, slots=True)
class Status:
    """What is told below the captions."""

    audio_s: float
    level_db: float
    overflows: int
    ending: bool
    """Waiting for the last answers."""


class Screen(Protocol):
    """Where captions go."""

    def event(self, raw: str) -> None:
        """Each event as it came."""

    def over(self, utterance: Utterance) -> None:
        """An utterance is over."""

    def show(self, current: Sequence[Utterance], status: Status) -> None:
        """What is being said now."""

    def close(self) -> None: ...


class JsonScreen:
    """The server's events, one a line."""

    def event(self, raw: str) -> None:
        print(raw, flush=True)

    def over(self, utterance: Utterance) -> None: ...

    def show(self, current: Sequence[Utterance], status: Status) -> None: ...

    def close(self) -> None: ...


class PlainScreen:
    """A line for each utterance: time, language, emotion, text, with tabs between."""

    def event(self, raw: str) -> None: ...

    def over(self, utterance: Utterance) -> None:
        if utterance.text or utterance.failure:
            words = printable(utterance.text)
            if utterance.failure:
                words = f"{words} [not recognised: {printable(utterance.failure)}]".strip()
            print(*_about(utterance), words, sep="\t", flush=True)

    def show(self, current: Sequence[Utterance], status: Status) -> None: ...

    def close(self) -> None: ...


class TerminalScreen:
    """Finished utterances scroll up; the current one stays below, with a level meter."""

    def __init__(self, out: Console | None = None) -> None:
        self._console = out or console(sys.stdout)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def event(self, raw: str) -> None: ...

    def over(self, utterance: Utterance) -> None:
        if utterance.text or utterance.failure:
            self._console.print(finished(utterance, self._console.width))

    def show(self, current: Sequence[Utterance], status: Status) -> None:
        columns, lines = self._console.size
        most = max(FEWEST_LINES, lines - STATUS_LINES - 1)
        text = unfinished(current, columns, most)
        encoding = self._console.encoding
        line = status_line(status, columns, block="█" if encoding.startswith("utf") else "#")
        self._live.update(Group(*([text] if text else []), line), refresh=True)

    def close(self) -> None:
        self._live.update(Text(""), refresh=True)
        self._live.stop()


def finished(utterance: Utterance, columns: int) -> Text:
    """An utterance that is over, wrapped: its time, language and emotion before it, or in a
    narrow terminal above."""
    text = Text(printable(utterance.text))
    if utterance.failure:
        text.append(" [not recognised]" if text else "[not recognised]", style="red")
    if columns < NARROW_COLUMNS:
        above = Text("  ".join(filter(None, _about(utterance))), style="dim")
        return Text("\n").join([*_lines(above, columns), *_lines(text, columns)])
    parts = zip(_about(utterance), ABOUT_COLUMNS, strict=True)
    about = "  ".join(part.ljust(size) for part, size in parts)
    indent = len(about) + 2
    rest = Text("\n" + " " * indent).join(_lines(text, columns - indent))
    return Text.assemble((about + "  ", "dim"), rest)


def unfinished(current: Sequence[Utterance], columns: int, most_lines: int) -> Text | None:
    """What is being said: confirmed words firm, tentative ones dim; only the end, if it is more
    than fits."""
    lines: list[Text] = []
    for utterance in current:
        firm, tentative = printable(utterance.text), printable(utterance.tentative)
        text = Text.assemble((firm, "bold"), (tentative, "dim"))
        lines += _lines(text, columns)
    return Text("\n").join(lines[-most_lines:]) if lines else None


def status_line(status: Status, columns: int, block: str) -> Text:
    """Time, level, overflows and what Ctrl-C does, as far as they fit."""
    full = LEVEL_CELLS if columns >= NARROW_COLUMNS else LEVEL_CELLS // 2
    share = 1 - max(QUIETEST_DB, min(0.0, status.level_db)) / QUIETEST_DB
    line = "finishing" if status.ending else "listening"
    parts = [clock(status.audio_s)]
    if status.overflows:
        parts.append(f"{status.overflows} {'overflow' if status.overflows == 1 else 'overflows'}")
    parts.append("[" + (block * round(share * full)).ljust(full) + "]")
    if not status.ending:
        parts.append("Ctrl-C ends")
    for part in parts:
        if len(line) + 2 + len(part) <= columns - ECHO_COLUMNS:
            line += "  " + part
    return Text(line, style="dim", no_wrap=True)


def _about(utterance: Utterance) -> tuple[str, str, str]:
    start_s = utterance.start_s
    when = "" if start_s is None else clock(start_s, tenths=True)
    return when, printable(utterance.language), printable(utterance.emotion)


def _lines(text: Text, columns: int) -> list[Text]:
    return [text[start:stop] for start, stop in wrap(text.plain, columns)]
