"""A multipart form with one file: it is read while it arrives, and its fields are checked.

The file goes to a nameless temporary file. It is never in memory as a whole, and nothing of it is
left when the request is over.
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

from oyez.engines.base import LANGUAGES
from oyez.files.media import run_blocking
from oyez.protocol.errors import one_of
from oyez.server.transcriptions.errors import SERVER, ApiError, file_too_large, invalid_value
from oyez.server.transcriptions.upload_slots import Upload

FIELDS = (
    "file",
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "stream",
    "timestamp_granularities[]",
    "timestamp_granularities",
)
IGNORED_FIELDS = (
    "chunking_strategy",
    "include",
    "include[]",
    "known_speaker_names[]",
    "known_speaker_references[]",
)
"""Fields that are accepted without effect: they ask for what oyez does not have or always does."""
FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")
STREAMED_FORMATS = ("json", "text")
MAX_PROMPT_CHARS = 40_000
MAX_MODEL_CHARS = 200
MAX_FIELDS = 64
MAX_FIELD_BYTES = 256 * 1024
MAX_HEADERS, MAX_HEADER_BYTES = 128, 8190
"""Bounds of one part's headers; they are aiohttp's own for a request."""
LINES_PER_ITERATION = 16
"""How many lines of a form are read in one iteration of the event loop."""
CHUNK_BYTES = 256 * 1024
MIN_RATE_BYTES, MIN_RATE_S = 192 * 1024, 30.0
"""At least so many bytes must arrive in so many seconds. A slower client keeps others out, or has
gone away."""
MAX_NAME_CHARS = 80
"""A field's name is cut to this length in an error."""

T = TypeVar("T")


@dataclass(slots=True)
class Form:
    file: BinaryIO
    """The uploaded file at its beginning. The caller of `read_form` closes it."""
    values: Mapping[str, list[str]] = field(default_factory=dict)
    """The values of each field in FIELDS that was sent, in order."""

    def last(self, name: str) -> str | None:
        """Return the field's last value; None if the field is absent or empty."""
        found = self.values.get(name, [])
        return (found[-1] or None) if found else None


@dataclass(frozen=True, slots=True)
class Parameters:
    """The fields of a form besides the file, checked."""

    model: str = ""
    """Any name: the server runs one model."""
    language: str | None = None
    """Code of the language of the audio; None: it is recognised."""
    prompt: str = ""
    """Names and terms that may occur."""
    response_format: str = "json"
    """One of FORMATS."""
    granularities: tuple[str, ...] = ("segment",)
    """What `verbose_json` gives times for: some of GRANULARITIES."""
    stream: bool = False
    """Whether the answer is a stream of events."""


async def read_form(request: web.Request, max_upload_bytes: int, upload: Upload) -> Form:
    """Read a request's form, its file to disk.

    Args:
        request: The request, whose body has not been read.
        max_upload_bytes: The most bytes that the file may have.
        upload: Counts every byte that goes to disk.

    Raises:
        ApiError: The body is not such a form, has no file or an unknown field, or is too large or
            too slow.
    """
    if (
        request.content_length is not None
        and request.content_length > max_upload_bytes + MAX_FIELD_BYTES
    ):
        raise file_too_large(max_upload_bytes)
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
        file: BinaryIO = await run_blocking(tempfile.TemporaryFile)
    except OSError as error:
        raise _cannot_store(error) from error
    try:
        return await _FormReader(file, max_upload_bytes, upload).read(request)
    except BaseException:
        with contextlib.suppress(OSError):  # closing tries to write once more, and may fail
            file.close()
        raise


def _cannot_store(error: OSError) -> ApiError:
    message = f"The server cannot keep the file: {error.strerror}; try again later."
    return ApiError(503, message, type=SERVER, code="storage")


class _PacedLines:
    """A request's content that lets other tasks run every few lines.

    aiohttp's reader of forms reads on without a pause for as long as there are lines in memory.
    """

    def __init__(self, content: StreamReader) -> None:
        self._content = content
        self._lines = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._content, name)

    async def readline(self, **options: Any) -> bytes:
        self._lines += 1
        if not self._lines % LINES_PER_ITERATION:
            await asyncio.sleep(0)
        return await self._content.readline(**options)


class _FormReader:
    def __init__(self, file: BinaryIO, max_upload_bytes: int, upload: Upload) -> None:
        self._file = file
        self._max_upload_bytes = max_upload_bytes
        self._upload = upload
        self._waited_s = 0.0
        """Time spent waiting for the client in the current MIN_RATE_BYTES."""
        self._received_bytes = 0
        """How much of the current MIN_RATE_BYTES has arrived."""
        self._has_file = False
        self._values: dict[str, list[str]] = {}

    async def read(self, request: web.Request) -> Form:
        try:
            reader = MultipartReader(
                request.headers,
                _PacedLines(request.content),  # type: ignore[arg-type]  # only its reading is used
                max_field_size=MAX_HEADER_BYTES,
                max_headers=MAX_HEADERS,
            )
            for _ in range(MAX_FIELDS):
                part = await self._in_time(reader.next())
                if part is None:
                    break
                await self._read_part(part)
            else:
                raise ApiError(400, f"The form has more than {MAX_FIELDS} fields.")
        except TimeoutError:
            raise ApiError(
                408,
                f"Less than {MIN_RATE_BYTES >> 10} KiB came in {MIN_RATE_S:g} s: send the file "
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
        await run_blocking(self._file.seek, 0)
        return Form(self._file, self._values)

    async def _read_part(self, part: BodyPartReader | MultipartReader) -> None:
        if not isinstance(part, BodyPartReader):
            raise ApiError(400, "A form inside a form is not read.")
        name = part.name or ""
        if name == "file" and not self._has_file:
            self._has_file = True
            await self._store(part)
        elif name in IGNORED_FIELDS:
            await self._read_text(part)
        elif name in FIELDS and name != "file":
            self._values.setdefault(name, []).append(await self._read_text(part))
        else:
            known = ", ".join(FIELDS)
            shown = name[:MAX_NAME_CHARS]
            message = f"Unknown or repeated field {shown!r}; there are: {known}."
            raise ApiError(400, message, param=shown, code="unknown_parameter")

    async def _store(self, part: BodyPartReader) -> None:
        size_bytes = 0
        while chunk := await self._read_chunk(part):
            size_bytes += len(chunk)
            if size_bytes > self._max_upload_bytes:
                raise file_too_large(self._max_upload_bytes)
            self._upload.grow(len(chunk))
            try:
                await run_blocking(self._write, chunk)
            except OSError as error:
                raise _cannot_store(error) from error

    def _write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._file.flush()  # else a full disk would be noticed only by a later call

    async def _read_text(self, part: BodyPartReader) -> str:
        text = b""
        while chunk := await self._read_chunk(part):
            text += chunk
            if len(text) > MAX_FIELD_BYTES:
                message = f"{part.name} is longer than {MAX_FIELD_BYTES} bytes."
                raise ApiError(400, message, param=part.name, code="invalid_value")
        return text.decode("utf-8", "replace")

    async def _read_chunk(self, part: BodyPartReader) -> bytes:
        chunk = bytes(await self._in_time(part.read_chunk(CHUNK_BYTES)))
        self._received_bytes += len(chunk)
        if self._received_bytes >= MIN_RATE_BYTES:
            self._received_bytes, self._waited_s = 0, 0.0
        return chunk

    async def _in_time(self, reading: Awaitable[T]) -> T:
        """Await something from the client. Raises TimeoutError if the client is too slow; time that
        the server itself takes, to write for instance, does not count."""
        clock = asyncio.get_running_loop().time
        began_s = clock()
        async with asyncio.timeout(MIN_RATE_S - self._waited_s):
            result = await reading
        self._waited_s += clock() - began_s
        return result


def check_parameters(form: Form, allowed: tuple[str, ...] = ()) -> Parameters:
    """Check the fields of a form. allowed: the only languages that the caller may ask for; empty:
    all. Raises ApiError that names the field and its values."""
    response_format = form.last("response_format") or "json"
    if response_format not in FORMATS:
        raise invalid_value("response_format", response_format, one_of(FORMATS))
    stream = _flag(form, "stream")
    if stream and response_format not in STREAMED_FORMATS:
        message = f"stream=true goes with response_format {one_of(STREAMED_FORMATS)} only."
        raise ApiError(400, message, param="response_format", code="invalid_value")
    prompt = form.last("prompt") or ""
    if len(prompt) > MAX_PROMPT_CHARS:
        message = f"prompt is longer than {MAX_PROMPT_CHARS} characters."
        raise ApiError(400, message, param="prompt", code="invalid_value")
    _check_temperature(form)
    return Parameters(
        model=_model(form),
        language=_language(form, allowed or LANGUAGES),
        prompt=prompt,
        response_format=response_format,
        granularities=_granularities(form, response_format),
        stream=stream,
    )


def _model(form: Form) -> str:
    # The name goes into usage, which people read in terminals and spreadsheets.
    value = form.last("model") or ""
    if len(value) > MAX_MODEL_CHARS or not value.isprintable():
        raise invalid_value("model", value, f"up to {MAX_MODEL_CHARS} printable characters")
    return value


def _flag(form: Form, name: str) -> bool:
    value = (form.last(name) or "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise invalid_value(name, value, "'true', 'false'")
    return value in ("true", "1")


def _language(form: Form, allowed: tuple[str, ...]) -> str | None:
    value = form.last("language")
    if value is None:
        return None
    if value.lower() not in allowed:
        raise invalid_value("language", value, one_of(allowed))
    return value.lower()


def _granularities(form: Form, response_format: str) -> tuple[str, ...]:
    name = "timestamp_granularities"
    values = [*form.values.get(name + "[]", []), *form.values.get(name, [])]
    for value in values:
        if value not in GRANULARITIES:
            raise invalid_value(name, value, one_of(GRANULARITIES))
    if values and response_format != "verbose_json":
        message = f"{name} goes with response_format 'verbose_json' only."
        raise ApiError(400, message, param=name, code="invalid_value")
    return tuple(values) or ("segment",)


def _check_temperature(form: Form) -> None:
    """Raise ApiError if the temperature is not a number from 0 to 1. It has no effect."""
    value = form.last("temperature")
    try:
        if value is None or 0 <= float(value) <= 1:
            return
    except ValueError:
        pass
    raise invalid_value("temperature", value, "0 to 1 (without effect)")
