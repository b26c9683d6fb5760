"""A multipart form with one file → the file on disk and what else was asked for.

The file goes to a nameless temporary file while it comes in: nothing of its size is ever in memory,
and nothing of it is left when the request is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http import HttpProcessingError

from oyez.files.threads import in_thread
from oyez.server.transcriptions.errors import SERVER, ApiError, too_large
from oyez.server.transcriptions.places import Upload

FIELDS = (
    *("file", "model", "language", "prompt", "response_format", "temperature", "stream"),
    *("timestamp_granularities[]", "timestamp_granularities"),
)
IGNORED_FIELDS = (
    *("chunking_strategy", "include", "include[]"),
    *("known_speaker_names[]", "known_speaker_references[]"),
)
"""Taken, without effect: what they ask for is not there, or no other way than always."""
MAX_FIELDS = 64
MAX_FIELD_BYTES = 256 * 1024
MAX_HEADERS, MAX_HEADER_BYTES = 128, 8190
"""Of one part of the form: aiohttp's own bounds for a request."""
LINES_A_TURN = 16
CHUNK_BYTES = 256 * 1024
LEAST_BYTES, LEAST_BYTES_S = 192 * 1024, 30.0
"""So much must come in so long, or the end. Who sends less keeps others out, or has gone away."""

T = TypeVar("T")


@dataclass(slots=True)
class Form:
    file: BinaryIO
    """At its beginning. Whoever read the form closes it."""
    values: Mapping[str, list[str]] = field(default_factory=dict)
    """Of each field in FIELDS that was there, in order."""

    def one(self, name: str) -> str | None:
        """The field's last value, None if it is absent or empty."""
        found = self.values.get(name, [])
        return (found[-1] or None) if found else None


async def read_form(request: web.Request, max_upload_bytes: int, upload: Upload) -> Form:
    """Raises ApiError: no form, no file, too large, too slow, an unknown field. upload: counts
    every byte that goes to disk."""
    if (
        request.content_length is not None
        and request.content_length > max_upload_bytes + MAX_FIELD_BYTES
    ):
        raise too_large(max_upload_bytes)
    if request.content_type != "multipart/form-data":
        raise ApiError(
            400,
            f"Content-Type is {request.content_type}: send the file as multipart/form-data.",
            code="invalid_content_type",
        )
    if encoding := request.headers.get("Content-Encoding"):
        raise ApiError(
            400,
            f"Content-Encoding is {encoding[:80]!r}: send the form as it is.",
            code="invalid_content_type",
        )
    try:
        file: BinaryIO = await in_thread(tempfile.TemporaryFile)
    except OSError as error:
        raise _no_room(error) from error
    try:
        return await _Reader(file, max_upload_bytes, upload).read(request)
    except BaseException:
        with contextlib.suppress(OSError):  # what could not be written is tried once more
            file.close()
        raise


def _no_room(error: OSError) -> ApiError:
    message = f"The server cannot keep the file: {error.strerror}; try again later."
    return ApiError(503, message, type=SERVER, code="storage")


class _Lines:
    """The content of a request whose lines are not all read in one turn of the event loop: aiohttp
    reads on for as long as there are any in memory."""

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self._lines = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def readline(self, **options: Any) -> bytes:
        self._lines += 1
        if not self._lines % LINES_A_TURN:
            await asyncio.sleep(0)
        return await self._content.readline(**options)


class _Reader:
    def __init__(self, file: BinaryIO, max_upload_bytes: int, upload: Upload) -> None:
        self._file = file
        self._max_upload_bytes = max_upload_bytes
        self._upload = upload
        self._waited_s = 0.0
        """For the client, since the last LEAST_BYTES of it were there."""
        self._came_bytes = 0
        self._has_file = False
        self._values: dict[str, list[str]] = {}

    async def read(self, request: web.Request) -> Form:
        try:
            reader = MultipartReader(
                request.headers,
                _Lines(request.content),  # type: ignore[arg-type]  # it reads from it and no more
                max_field_size=MAX_HEADER_BYTES,
                max_headers=MAX_HEADERS,
            )
            for _ in range(MAX_FIELDS):
                part = await self._in_time(reader.next())
                if part is None:
                    break
                await self._take(part)
            else:
                raise ApiError(400, f"The form has more than {MAX_FIELDS} fields.")
        except TimeoutError:
            raise ApiError(
                408,
                f"Less than {LEAST_BYTES >> 10} KiB came in {LEAST_BYTES_S:g} s: send the file "
                "faster, and without pauses.",
            ) from None
        except HttpProcessingError as error:
            raise ApiError(400, f"The form is malformed: {error.message}") from error
        except ValueError as error:
            raise ApiError(400, f"The form is malformed: {error}") from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise ApiError(400, "The form ended early.") from error
        if not self._has_file:
            message = "The form has no file: send one in the field 'file'."
            raise ApiError(400, message, param="file", code="missing_required_parameter")
        await in_thread(self._file.seek, 0)
        return Form(self._file, self._values)

    async def _take(self, part: BodyPartReader | MultipartReader) -> None:
        if not isinstance(part, BodyPartReader):
            raise ApiError(400, "A form inside a form is not read.")
        name = part.name or ""
        if name == "file" and not self._has_file:
            self._has_file = True
            await self._store(part)
        elif name in IGNORED_FIELDS:
            await self._text(part)
        elif name in FIELDS and name != "file":
            self._values.setdefault(name, []).append(await self._text(part))
        else:
            known = ", ".join(FIELDS)
            message = f"Unknown or repeated field {name[:80]!r}; there are: {known}."
            raise ApiError(400, message, param=name[:80], code="unknown_parameter")

    async def _store(self, part: BodyPartReader) -> None:
        size_bytes = 0
        while chunk := await self._chunk(part):
            size_bytes += len(chunk)
            if size_bytes > self._max_upload_bytes:
                raise too_large(self._max_upload_bytes)
            self._upload.grow(len(chunk))
            try:
                await in_thread(self._write, chunk)
            except OSError as error:
                raise _no_room(error) from error

    def _write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._file.flush()  # or a full disk is noticed when nobody expects it

    async def _text(self, part: BodyPartReader) -> str:
        text = b""
        while chunk := await self._chunk(part):
            text += chunk
            if len(text) > MAX_FIELD_BYTES:
                message = f"{part.name} is longer than {MAX_FIELD_BYTES} bytes."
                raise ApiError(400, message, param=part.name, code="invalid_value")
        return text.decode("utf-8", "replace")

    async def _chunk(self, part: BodyPartReader) -> bytes:
        chunk = bytes(await self._in_time(part.read_chunk(CHUNK_BYTES)))
        self._came_bytes += len(chunk)
        if self._came_bytes >= LEAST_BYTES:
            self._came_bytes, self._waited_s = 0, 0.0
        return chunk

    async def _in_time(self, coming: Awaitable[T]) -> T:
        """Raises TimeoutError if the client is too slow. Time that the server takes, to write for
        instance, does not count."""
        clock = asyncio.get_running_loop().time
        began_s = clock()
        async with asyncio.timeout(LEAST_BYTES_S - self._waited_s):
            came = await coming
        self._waited_s += clock() - began_s
        return came
