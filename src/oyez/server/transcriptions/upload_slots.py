"""How many files there may be (some that are being sent, some at work, some that wait), and how
much disk space they may take.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from oyez.server.access.admission import too_many_sessions
from oyez.server.access.callers import Caller, Callers
from oyez.server.transcriptions.errors import (
    ApiError,
    disk_full,
    too_many_files,
    too_many_uploads,
)

MAX_UPLOADS = 64
"""The most files that are sent at a time. Each needs a descriptor besides its connection's."""

KeyId = str | None


class UploadSlots:
    """Counts files and their bytes. Where there are several keys, each may have half of what there
    is. Use it on the event loop only."""

    def __init__(
        self,
        max_working: int,
        max_waiting: int,
        max_disk_bytes: int,
        max_file_bytes: int,
        callers: Callers,
    ) -> None:
        """Begin without files.

        Args:
            max_working: The most files that are transcribed at a time.
            max_waiting: The most complete files that wait to be transcribed.
            max_disk_bytes: The most bytes of all files together, those at work included.
            max_file_bytes: The most bytes of one file; a key may always have one such file.
            callers: Shows whether there are several keys.
        """
        self._max_working, self._max_waiting = max_working, max_waiting
        self._max_uploads = max(MAX_UPLOADS, max_working + max_waiting)
        self._max_disk_bytes, self._max_file_bytes = max_disk_bytes, max_file_bytes
        self._callers = callers
        self._working = asyncio.Semaphore(max_working)
        self._requests: Counter[KeyId] = Counter()
        """Files from their first byte to their answer."""
        self._uploads: Counter[KeyId] = Counter()
        """Files that are being sent."""
        self._queued: Counter[KeyId] = Counter()
        """Complete files, at work or waiting."""
        self._disk_bytes: Counter[KeyId] = Counter()

    def __len__(self) -> int:
        """Return the number of files, each counted from its first byte to its answer."""
        return self._requests.total()

    @contextmanager
    def request(self, caller: Caller) -> Iterator[None]:
        """Count a file from its first byte to its answer. Raises ApiError if the caller has as many
        files as its key may have sessions."""
        own = caller.limits.sessions
        if own is not None and self._requests[caller.key_id] >= own:
            raise ApiError.from_refusal(too_many_sessions(own))
        with _counted(self._requests, caller.key_id):
            yield

    @contextmanager
    def upload(self, caller: Caller) -> Iterator[Upload]:
        """Count a file while it is being sent and while it is kept. Raises ApiError if too many are
        being sent, or if there would be no slot to transcribe it."""
        self._check_queue(caller.key_id)
        own_max = self._share(caller.key_id, self._max_uploads)
        if self._uploads.total() >= self._max_uploads or self._uploads[caller.key_id] >= own_max:
            raise too_many_uploads(self._max_uploads)
        own_max_bytes = self._share(caller.key_id, self._max_disk_bytes)
        upload = Upload(self, caller.key_id, max(own_max_bytes, self._max_file_bytes))
        try:
            yield upload
        finally:
            upload.end()

    @asynccontextmanager
    async def work(self, caller: Caller) -> AsyncIterator[None]:
        """Wait until the file may be transcribed, in the order in which files are complete, and
        hold its slot. Raises ApiError if too many files wait."""
        self._check_queue(caller.key_id)
        with _counted(self._queued, caller.key_id):
            async with self._working:
                yield

    def _check_queue(self, key_id: KeyId) -> None:
        max_queued = self._max_working + self._max_waiting
        own_max = self._max_working + self._share(key_id, self._max_waiting)
        if self._queued.total() >= max_queued or self._queued[key_id] >= own_max:
            raise too_many_files(max_queued)

    def _share(self, key_id: KeyId, total: int) -> int:
        """Return how much of a total one key may have: half, rounded up, if there are others."""
        return total if key_id is None or not self._callers.has_several_keys else (total + 1) // 2


class Upload:
    """What one file takes. Made by `UploadSlots.upload`."""

    def __init__(self, slots: UploadSlots, key_id: KeyId, own_max_bytes: int) -> None:
        """Count a file that begins. own_max_bytes: the most that all files of the key may take."""
        self._slots = slots
        self._key_id = key_id
        self._own_max_bytes = own_max_bytes
        self._size_bytes = 0
        self._is_incomplete = True
        slots._uploads[key_id] += 1

    def grow(self, size_bytes: int) -> None:
        """Count bytes that will be written next. Raises ApiError if there is no room for them."""
        slots = self._slots
        if (
            slots._disk_bytes.total() + size_bytes > slots._max_disk_bytes
            or slots._disk_bytes[self._key_id] + size_bytes > self._own_max_bytes
        ):
            raise disk_full()
        slots._disk_bytes[self._key_id] += size_bytes
        self._size_bytes += size_bytes

    def complete(self) -> None:
        """Record that all of the file has arrived."""
        if self._is_incomplete:
            self._is_incomplete = False
            _subtract(self._slots._uploads, self._key_id, 1)

    def end(self) -> None:
        """Record that the file is no longer on disk."""
        self.complete()
        _subtract(self._slots._disk_bytes, self._key_id, self._size_bytes)
        self._size_bytes = 0


@contextmanager
def _counted(counter: Counter[KeyId], key_id: KeyId) -> Iterator[None]:
    counter[key_id] += 1
    try:
        yield
    finally:
        _subtract(counter, key_id, 1)


def _subtract(counter: Counter[KeyId], key_id: KeyId, amount: int) -> None:
    counter[key_id] -= amount
    if not counter[key_id]:
        del counter[key_id]  # keys come and go, so the counter must not grow
