"""How many files there may be: some that come in, some at work, some that wait their turn, no more;
and what they take on disk."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from oyez.server.access.callers import Caller
from oyez.server.access.refusals import too_many_sessions
from oyez.server.transcriptions.errors import ApiError, disk_full, too_many, too_many_uploads

MAX_UPLOADS = 64
"""Files that come in at a time: each is a descriptor beside its connection's."""

KeyId = str | None


class Places:
    """Event loop only. Where there are several keys, each may have half of what is there."""

    def __init__(
        self,
        max_working: int,
        max_waiting: int,
        max_disk_bytes: int,
        max_file_bytes: int,
        has_several_keys: Callable[[], bool],
    ) -> None:
        """max_disk_bytes: of all files together, those at work included."""
        self._max_working, self._max_waiting = max_working, max_waiting
        self._max_uploads = max(MAX_UPLOADS, max_working + max_waiting)
        self._max_disk_bytes, self._max_file_bytes = max_disk_bytes, max_file_bytes
        self._has_several_keys = has_several_keys
        self._turns = asyncio.Semaphore(max_working)
        self._requests: Counter[KeyId] = Counter()
        self._uploads: Counter[KeyId] = Counter()
        self._placed: Counter[KeyId] = Counter()
        self._disk_bytes: Counter[KeyId] = Counter()

    def __len__(self) -> int:
        """Files, from their first byte to their answer."""
        return self._requests.total()

    @contextmanager
    def request(self, caller: Caller) -> Iterator[None]:
        """From the first byte of a file to its answer. Raises ApiError if the caller has as many as
        its key may have sessions."""
        own = caller.limits.sessions
        if own is not None and self._requests[caller.key_id] >= own:
            raise ApiError.of(too_many_sessions(own))
        with _counted(self._requests, caller.key_id):
            yield

    @contextmanager
    def upload(self, caller: Caller) -> Iterator[Upload]:
        """While a file comes in and is kept: it has no place yet. Raises ApiError if too many come
        in, or if there is no place that it could have."""
        self._check_place(caller.key_id)
        own_most = self._share(caller.key_id, self._max_uploads)
        if self._uploads.total() >= self._max_uploads or self._uploads[caller.key_id] >= own_most:
            raise too_many_uploads(self._max_uploads)
        own_most_bytes = self._share(caller.key_id, self._max_disk_bytes)
        upload = Upload(self, caller.key_id, max(own_most_bytes, self._max_file_bytes))
        try:
            yield upload
        finally:
            upload.end()

    @asynccontextmanager
    async def turn(self, caller: Caller) -> AsyncIterator[None]:
        """Work, when it is one's turn: in the order in which files are complete. Raises ApiError if
        there is no place to wait for it."""
        self._check_place(caller.key_id)
        with _counted(self._placed, caller.key_id):
            async with self._turns:
                yield

    def _check_place(self, key_id: KeyId) -> None:
        most = self._max_working + self._max_waiting
        own_most = self._max_working + self._share(key_id, self._max_waiting)
        if self._placed.total() >= most or self._placed[key_id] >= own_most:
            raise too_many(most)

    def _share(self, key_id: KeyId, most: int) -> int:
        return most if key_id is None or not self._has_several_keys() else (most + 1) // 2


class Upload:
    """What one file takes. Made by `Places.upload`."""

    def __init__(self, places: Places, key_id: KeyId, own_most_bytes: int) -> None:
        """own_most_bytes: what all files of the key may take."""
        self._places = places
        self._key_id = key_id
        self._own_most_bytes = own_most_bytes
        self._size_bytes = 0
        self._is_coming = True
        places._uploads[key_id] += 1

    def grow(self, size_bytes: int) -> None:
        """So much is about to be written. Raises ApiError if there is no room for it."""
        places = self._places
        if (
            places._disk_bytes.total() + size_bytes > places._max_disk_bytes
            or places._disk_bytes[self._key_id] + size_bytes > self._own_most_bytes
        ):
            raise disk_full()
        places._disk_bytes[self._key_id] += size_bytes
        self._size_bytes += size_bytes

    def complete(self) -> None:
        """All of it is there."""
        if self._is_coming:
            self._is_coming = False
            _take(self._places._uploads, self._key_id, 1)

    def end(self) -> None:
        """It is on disk no more."""
        self.complete()
        _take(self._places._disk_bytes, self._key_id, self._size_bytes)
        self._size_bytes = 0


@contextmanager
def _counted(counter: Counter[KeyId], key_id: KeyId) -> Iterator[None]:
    counter[key_id] += 1
    try:
        yield
    finally:
        _take(counter, key_id, 1)


def _take(counter: Counter[KeyId], key_id: KeyId, amount: int) -> None:
    counter[key_id] -= amount
    if not counter[key_id]:
        del counter[key_id]  # keys come and go
