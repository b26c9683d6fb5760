"""How many files there may be (some that are being sent, some at work, some that wait), and how
much disk space they may take.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from oyez.server.access.callers import Caller, Callers
from oyez.server.access.refusals import too_many_sessions
from oyez.server.transcriptions.errors import ApiError, no_room, too_many_files
from oyez.settings import Settings

MAX_UPLOADS = 64
"""The most files that are sent at a time. Each needs a descriptor besides its connection's."""


@dataclass(slots=True, eq=False)
class Upload:
    """What one file takes, from its first byte to its answer."""

    key_id: str | None
    max_key_bytes: int
    """The most that all files of its key may take; always enough for one file."""
    size_bytes: int = 0
    """How much of it is on disk."""
    is_complete: bool = False
    """Whether all of it has arrived: it is at work, or waits for that."""


class UploadSlots:
    """All files that there are. Where there are several keys, each may have half of what there is.
    Use it on the event loop only."""

    def __init__(self, settings: Settings, callers: Callers) -> None:
        """Begin without files. callers: shows whether there are several keys."""
        self._max_working = settings.max_transcriptions
        self._max_waiting = settings.max_waiting_transcriptions
        self._max_uploads = max(MAX_UPLOADS, self._max_working + self._max_waiting)
        self._max_file_bytes = settings.max_upload_bytes
        self._max_disk_bytes = settings.upload_disk_bytes or 10 * settings.max_upload_bytes
        self._callers = callers
        self._working = asyncio.Semaphore(self._max_working)
        self.files: set[Upload] = set()

    @contextmanager
    def upload(self, caller: Caller) -> Iterator[Upload]:
        """Count a file from its first byte to its answer. Raises ApiError if the caller has as many
        files as its key may have sessions, if too many files are being sent, or if there would be
        no slot to transcribe it."""
        key_id, own_max = caller.key_id, caller.limits.sessions
        if own_max is not None and self._taken(key_id, lambda file: 1)[1] >= own_max:
            raise ApiError.from_refusal(too_many_sessions(own_max))
        self._check_queue(key_id)
        sent, own_sent = self._taken(key_id, lambda file: not file.is_complete)
        if sent >= self._max_uploads or own_sent >= self._share(key_id, self._max_uploads):
            raise too_many_files(self._max_uploads, "are being sent")
        max_key_bytes = max(self._share(key_id, self._max_disk_bytes), self._max_file_bytes)
        upload = Upload(key_id, max_key_bytes)
        self.files.add(upload)
        try:
            yield upload
        finally:
            self.files.remove(upload)

    def grow(self, upload: Upload, size_bytes: int) -> None:
        """Count bytes that will be written next. Raises ApiError if there is no room for them."""
        taken, own = self._taken(upload.key_id, lambda file: file.size_bytes)
        if taken + size_bytes > self._max_disk_bytes or own + size_bytes > upload.max_key_bytes:
            what = "Files that are being transcribed or wait take all the room"
            raise no_room(what, code="storage")
        upload.size_bytes += size_bytes

    @asynccontextmanager
    async def work(self, upload: Upload) -> AsyncIterator[None]:
        """Wait until a complete file may be transcribed, in the order in which files are complete,
        and hold its slot. Raises ApiError if too many files wait."""
        self._check_queue(upload.key_id)
        upload.is_complete = True
        async with self._working:
            yield

    def _check_queue(self, key_id: str | None) -> None:
        max_queued = self._max_working + self._max_waiting
        own_max = self._max_working + self._share(key_id, self._max_waiting)
        queued, own_queued = self._taken(key_id, lambda file: file.is_complete)
        if queued >= max_queued or own_queued >= own_max:
            raise too_many_files(max_queued)

    def _taken(self, key_id: str | None, amount: Callable[[Upload], int]) -> tuple[int, int]:
        """Return the sum of an amount of all files, and of those of one key."""
        of_key = (file for file in self.files if file.key_id == key_id)
        return sum(map(amount, self.files)), sum(map(amount, of_key))

    def _share(self, key_id: str | None, total: int) -> int:
        """Return how much of a total one key may have: half, rounded up, if there are others."""
        return total if key_id is None or not self._callers.has_several_keys else (total + 1) // 2
