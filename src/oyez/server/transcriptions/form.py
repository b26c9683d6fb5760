"""A multipart form with one file: it is read while it arrives, and its fields are checked.

The file goes to a nameless temporary file. It is never in memory as a whole, and nothing of it is
left when the request is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, BinaryIO, ParamSpec, TypeVar

import msgspec
from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http import HttpProcessingError
from msgspec import Meta

from oyez.engines.base import LANGUAGES
from oyez.files.media import run_blocking
from oyez.protocol.errors import one_of
from oyez.protocol.server_events import about
from oyez.server.transcriptions.errors import (
    MAX_SHOWN_CHARS,
    ApiError,
    file_too_large,
    invalid_value,
    wrong_field,
)

IGNORED_FIELDS = (
    "chunking_strategy", "include", "include[]", "known_speaker_names[]",
    "known_speaker_references[]",
)  # fmt: skip
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

P = ParamSpec("P")
T = TypeVar("T")


def _one_of(values: Sequence[str], **more: object) -> Meta:
    return Meta(extra_json_schema={"enum": values, **more})


class Parameters(msgspec.Struct, frozen=True):
    """The fields of a form besides the file, checked; in their order in an error."""

    model: Annotated[
        str,
        Meta(max_length=MAX_MODEL_CHARS),
        about("Any name, because the server runs one model."),
    ]
    language: Annotated[
        str, _one_of(LANGUAGES), about("Without it, the language of each sentence is detected.")
    ]
    prompt: Annotated[
        str,
        Meta(max_length=MAX_PROMPT_CHARS),
        about("Names and terms that may occur in the audio."),
    ]
    response_format: Annotated[str, _one_of(FORMATS, default="json")]
    temperature: Annotated[float, Meta(ge=0, le=1), about("It has no effect.")]
    stream: Annotated[
        bool,
        Meta(extra_json_schema={"default": False}),
        about(
            "Answer with server-sent events while the file is transcribed. The `response_format` "
            "must be `json` or `text`."
        ),
    ]
    granularities: Annotated[
        tuple[Annotated[str, _one_of(GRANULARITIES)], ...],
        about("The parts for which `verbose_json` has times; `segment` by default."),
    ] = msgspec.field(name="timestamp_granularities[]")


Values = Mapping[str, list[str]]
"""The values of each field that was sent, in order."""
FIELDS = ("file", *Parameters.__struct_encode_fields__, "timestamp_granularities")


async def read_form(
    request: web.Request, max_upload_bytes: int, grow: Callable[[int], None]
) -> tuple[BinaryIO, Values]:
    """Read a request's form: return its file at its beginning, to be closed, and its other fields.

    grow: counts bytes before they go to disk, and may raise ApiError. Raises ApiError if the body
    is not such a form, has no file or an unknown field, or is too large or too slow.
    """
    if (request.content_length or 0) > max_upload_bytes + MAX_FIELD_BYTES:
        raise file_too_large(max_upload_bytes)
    if request.content_type != "multipart/form-data":
        message = f"Content-Type is {request.content_type}: send the file as multipart/form-data."
        raise ApiError(400, message, code="invalid_content_type")
    if encoding := request.headers.get("Content-Encoding"):
        message = f"Content-Encoding is {encoding[:80]!r}: send the form as it is."
        raise ApiError(400, message, code="invalid_content_type")
    made: list[BinaryIO] = []  # filled in the thread: the task may be cancelled meanwhile
    try:
        await _on_disk(lambda: made.append(tempfile.TemporaryFile()))  # noqa: SIM115
        return made[0], await _FormReader(made[0], max_upload_bytes, grow).read(request)
    except BaseException:
        with contextlib.suppress(OSError):  # closing tries to write once more, and may fail
            for file in made:
                file.close()
        raise


async def _on_disk(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Make or write the file in a thread. Raises ApiError if that fails."""
    try:
        return await run_blocking(function, *args, **kwargs)
    except OSError as error:
        message = f"The server cannot keep the file: {error.strerror}; try again later."
        raise ApiError(503, message, code="storage") from error


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
    def __init__(self, file: BinaryIO, max_upload_bytes: int, grow: Callable[[int], None]) -> None:
        self._file = file
        self._max_upload_bytes = max_upload_bytes
        self._grow = grow
        self._has_file = False
        self._values: dict[str, list[str]] = {}
        self._received_bytes, self._waited_s = 0, 0.0
        """How much of the current MIN_RATE_BYTES has come, and the time spent waiting for it."""

    async def read(self, request: web.Request) -> Values:
        try:
            await self._read_parts(request)
        except TimeoutError:
            raise ApiError(
                408,
                f"Less than {MIN_RATE_BYTES >> 10} KiB came in {MIN_RATE_S:g} s: send the file "
                "faster, and without pauses.",
            ) from None
        except (HttpProcessingError, ValueError) as error:
            reason = getattr(error, "message", error)
            raise ApiError(400, f"The form is malformed: {reason}") from error
        except (web.RequestPayloadError, ConnectionError) as error:
            raise ApiError(400, "The form ended early.") from error
        if not self._has_file:
            message = "The form has no file: send one in the field 'file'."
            raise ApiError(400, message, param="file", code="missing_required_parameter")
        await run_blocking(self._file.seek, 0)
        return self._values

    async def _read_parts(self, request: web.Request) -> None:
        reader = MultipartReader(
            request.headers,
            _PacedLines(request.content),  # type: ignore[arg-type]  # only its reading is used
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )
        for _ in range(MAX_FIELDS):
            part = await self._in_time(reader.next())
            if part is None:
                return
            if not isinstance(part, BodyPartReader):
                raise ApiError(400, "A form inside a form is not read.")
            await self._read_part(part, part.name or "")
        raise ApiError(400, f"The form has more than {MAX_FIELDS} fields.")

    async def _read_part(self, part: BodyPartReader, name: str) -> None:
        if name == "file" and not self._has_file:
            self._has_file = True
            await self._store(part)
        elif name in IGNORED_FIELDS:
            await self._read_text(part, name)
        elif name in FIELDS and name != "file":
            self._values.setdefault(name, []).append(await self._read_text(part, name))
        else:
            shown = name[:MAX_SHOWN_CHARS]
            message = f"Unknown or repeated field {shown!r}; there are: {', '.join(FIELDS)}."
            raise ApiError(400, message, param=shown, code="unknown_parameter")

    async def _store(self, part: BodyPartReader) -> None:
        size_bytes = 0
        while chunk := await self._read_chunk(part):
            size_bytes += len(chunk)
            if size_bytes > self._max_upload_bytes:
                raise file_too_large(self._max_upload_bytes)
            self._grow(len(chunk))
            await _on_disk(self._write, chunk)

    def _write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._file.flush()  # else a full disk would be noticed only by a later call

    async def _read_text(self, part: BodyPartReader, name: str) -> str:
        text = b""
        while chunk := await self._read_chunk(part):
            text += chunk
            if len(text) > MAX_FIELD_BYTES:
                raise wrong_field(name, f"{name} is longer than {MAX_FIELD_BYTES} bytes.")
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


def check_parameters(values: Values, languages: tuple[str, ...] = ()) -> Parameters:
    """Check the fields of a form. languages: the only ones that the caller may ask for; empty: all.
    Raises ApiError that names the field and its values."""
    last = {name: given[-1] for name, given in values.items()}
    response_format = last.get("response_format") or "json"
    if response_format not in FORMATS:
        raise invalid_value("response_format", response_format, one_of(FORMATS))
    stream = (last.get("stream") or "false").lower()
    if stream not in ("true", "false", "1", "0"):
        raise invalid_value("stream", stream, "'true', 'false'")
    if stream in ("true", "1") and response_format not in STREAMED_FORMATS:
        message = f"stream=true goes with response_format {one_of(STREAMED_FORMATS)} only."
        raise wrong_field("response_format", message)
    prompt = last.get("prompt") or ""
    if len(prompt) > MAX_PROMPT_CHARS:
        raise wrong_field("prompt", f"prompt is longer than {MAX_PROMPT_CHARS} characters.")
    temperature = last.get("temperature") or "0"
    if not _is_temperature(temperature):
        raise invalid_value("temperature", temperature, "0 to 1 (without effect)")
    # The name goes into usage, which people read in terminals and spreadsheets.
    model = last.get("model") or ""
    if len(model) > MAX_MODEL_CHARS or not model.isprintable():
        raise invalid_value("model", model, f"up to {MAX_MODEL_CHARS} printable characters")
    language = last.get("language") or ""
    if language and language.lower() not in (languages or LANGUAGES):
        raise invalid_value("language", language, one_of(languages or LANGUAGES))
    name = "timestamp_granularities"
    granularities = [*values.get(name + "[]", []), *values.get(name, [])]
    for value in granularities:
        if value not in GRANULARITIES:
            raise invalid_value(name, value, one_of(GRANULARITIES))
    if granularities and response_format != "verbose_json":
        raise wrong_field(name, f"{name} goes with response_format 'verbose_json' only.")
    return Parameters(
        model=model,
        language=language.lower(),
        prompt=prompt,
        response_format=response_format,
        temperature=float(temperature),
        granularities=tuple(granularities) or ("segment",),
        stream=stream in ("true", "1"),
    )


def _is_temperature(value: str) -> bool:
    try:
        return 0 <= float(value) <= 1
    except ValueError:
        return False
