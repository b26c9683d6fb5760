"""Records that wait to be written: the newest of each session and day."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from oyez.accounts.record import Record


@dataclass(slots=True)
class Entry:
    record: Record
    futures: list[Future[None]]
    """Done when this record, or one that took its place, is in the database."""

    @property
    def key(self) -> tuple[str, date]:
        return self.record.usage.session_id, self.record.usage.day

    @property
    def has_ended(self) -> bool:
        return self.record.usage.ended_at is not None

    def done(self, problem: Exception | None = None) -> None:
        """Tell those who wait. May be said twice, by two threads: the first counts."""
        for future in self.futures:
            with suppress(InvalidStateError):
                future.set_exception(problem) if problem else future.set_result(None)


class Waiting:
    """Not thread-safe.

    A record takes the place of a waiting one of the same session and day: its figures contain
    the other's. What was reached by the end of a day stays apart, so that days stay apart.
    """

    def __init__(self) -> None:
        self._entries: dict[tuple[str, date], Entry] = {}
        self.ended = 0
        """Of them, those of sessions that have ended."""

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, record: Record) -> Future[None]:
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # one who stops waiting cannot cancel it for others
        fresh = Entry(record, [future])
        waiting = self._entries.setdefault(fresh.key, fresh)
        if waiting is not fresh:
            self.ended -= waiting.has_ended
            waiting.record = record
        self.ended += waiting.has_ended
        return waiting.futures[0]

    def take(self, most: int) -> list[Entry]:
        """Those that wait longest; they wait no more."""
        taken = [self._entries.pop(key) for key in list(self._entries)[:most]]
        self.ended -= sum(entry.has_ended for entry in taken)
        return taken

    def put_back(self, entries: Iterable[Entry]) -> None:
        """What was taken and not written, in front again; newer ones keep their place."""
        older = {}
        for entry in entries:
            newer = self._entries.get(entry.key)
            if newer:
                newer.futures += entry.futures
            else:
                older[entry.key] = entry
        self.ended += sum(entry.has_ended for entry in older.values())
        self._entries = older | self._entries
