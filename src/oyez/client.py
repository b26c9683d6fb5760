"""A session from the client's side of the wire, with oyez or any other server of its protocol.

`open_session` connects, `Session` sends audio and yields events, `Captions` turns events into
utterances.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, get_args
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import aiohttp
import msgspec

PATH = "/api-ws/v1/realtime"
MODEL = "qwen3-asr-flash-realtime"
SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
CONNECT_TIMEOUT_S = 15.0
QUIET_TIMEOUT_S = 120.0
"""How long the server may send no event after the audio has ended, before it counts as stuck."""
MAX_MESSAGE_BYTES = 64 << 20
_ITEM = "conversation.item.input_audio_transcription."


class ClientError(Exception):
    """The server cannot be used, or no longer. The message says what to do; it holds no key."""


# The events that a client reads. Other servers may send more fields, fewer fields or other events:
# every field has a default, and unknown events become `Other`.


class Created(msgspec.Struct, tag="session.created", tag_field="type"):
    """The session began."""


class Updated(msgspec.Struct, tag="session.updated", tag_field="type"):
    """A `session.update` was accepted."""


class Started(msgspec.Struct, tag="input_audio_buffer.speech_started", tag_field="type"):
    """A turn began."""

    item_id: str = ""
    audio_start_ms: int = 0


class Stopped(msgspec.Struct, tag="input_audio_buffer.speech_stopped", tag_field="type"):
    """A turn ended; its final follows."""

    item_id: str = ""
    audio_end_ms: int = 0


class Committed(msgspec.Struct, tag="input_audio_buffer.committed", tag_field="type"):
    """A turn is over; its item will be answered."""

    item_id: str = ""


class Interim(msgspec.Struct, tag=_ITEM + "text", tag_field="type"):
    """The hypothesis of a turn that goes on."""

    item_id: str = ""
    text: str = ""
    """The confirmed part."""
    stash: str = ""
    """The tentative part."""
    language: str = ""
    emotion: str = ""


class Final(msgspec.Struct, tag=_ITEM + "completed", tag_field="type"):
    """The transcript of a turn."""

    item_id: str = ""
    transcript: str = ""
    language: str = ""
    emotion: str = ""


class Detail(msgspec.Struct):
    """What went wrong."""

    message: str = ""
    code: str | None = None
    event_id: str | None = None
    """The id of the client's event that was refused, if it had one."""


class Failed(msgspec.Struct, tag=_ITEM + "failed", tag_field="type"):
    """A turn could not be recognised."""

    item_id: str = ""
    error: Detail = msgspec.field(default_factory=Detail)


class ErrorEvent(msgspec.Struct, tag="error", tag_field="type"):
    """The server refused an event of the client."""

    error: Detail = msgspec.field(default_factory=Detail)


class Finished(msgspec.Struct, tag="session.finished", tag_field="type"):
    """Everything is answered; no event follows."""


class Other(msgspec.Struct):
    """An event that has no meaning for a reader of text."""

    type: str = ""


Turn = Started | Stopped | Committed | Interim | Final | Failed
Known = Created | Updated | Turn | ErrorEvent | Finished
Event = Known | Other

_known: msgspec.json.Decoder[Known] = msgspec.json.Decoder(Known)
_other = msgspec.json.Decoder(Other)
_TYPES = {each.__struct_config__.tag for each in get_args(Known)}


def parse(message: str | bytes) -> Event:
    """Read one frame. Raises msgspec.DecodeError if it is not an event."""
    other = _other.decode(message)
    return _known.decode(message) if other.type in _TYPES else other


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn. Times are seconds of audio; None where the server sent none."""

    start_s: float | None = None
    end_s: float | None = None
    text: str = ""
    """The words that do not change any more."""
    tentative: str = ""
    """The words after them, which may change."""
    language: str = ""
    emotion: str = ""
    failure: str | None = None
    """Why the turn could not be recognised; `text` then holds what was confirmed of it."""


class Captions:
    """Collects the events of a session into utterances, one for each item."""

    def __init__(self) -> None:
        self._open: dict[str, Utterance] = {}

    @property
    def current(self) -> list[Utterance]:
        """The utterances without a final, in the order in which they began."""
        return list(self._open.values())

    @property
    def unanswered(self) -> list[Utterance]:
        """The words of `current`, marked with `…`, for a session that has ended too early."""
        return [
            replace(each, text=f"{each.text}{each.tentative} …", tentative="")
            for each in self.current
            if each.text or each.tentative
        ]

    def take(self, event: Event) -> Utterance | None:
        """Follow one event. Returns the utterance that it completes, which may have no words."""
        match event:
            case Started(item_id, start_ms):
                self._change(item_id, start_s=start_ms / 1000)
            case Stopped(item_id, end_ms):
                self._change(item_id, end_s=end_ms / 1000)
            case Interim(item_id, text, stash, lang, emotion):
                self._change(item_id, text=text, tentative=stash, language=lang, emotion=emotion)
            case Final(item_id, text, lang, emotion):
                self._change(item_id, text=text, tentative="", language=lang, emotion=emotion)
                return self._open.pop(item_id)
            case Failed(item_id, error):
                self._change(item_id, tentative="", failure=error.message or "not recognised")
                return self._open.pop(item_id)
            case _:
                pass
        return None

    def _change(self, item_id: str, **values: object) -> None:
        known = self._open.get(item_id, Utterance())
        self._open[item_id] = replace(known, **values)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Target:
    """The server to connect to."""

    url: str
    key: str | None = None
    socket_path: str | None = None
    """A Unix socket to connect through."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """The settings of a session that a client of texts chooses."""

    language: str | None = None
    """A language code, or None to have the language detected."""
    context: str = ""
    """Names and terms that may occur."""

    def as_update(self) -> dict[str, Any]:
        """The `session` object of a `session.update`; empty if every value is the default."""
        transcription: dict[str, Any] = {}
        if self.language:
            transcription["language"] = self.language
        if self.context:
            transcription["corpus"] = {"text": self.context}
        return {"input_audio_transcription": transcription} if transcription else {}


def normalised(url: str) -> str:
    """Complete `url` with the WebSocket scheme, the endpoint's path and a model where it has none.

    Raises ClientError.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise ClientError(f"{url!r} is no address of a server: write ws://HOST:PORT")
    query = parse_qs(parts.query, keep_blank_values=True)
    query.setdefault("model", [MODEL])
    path = parts.path if parts.path not in ("", "/") else PATH
    return urlunsplit((SCHEMES[parts.scheme], parts.netloc, path, urlencode(query, True), ""))


class Session:
    """An open session. One task may send while another one reads the events."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, place: str) -> None:
        self._socket = socket
        self._place = place
        self._finishing = False

    async def update(self, options: SessionOptions) -> None:
        """Send the options that are not the default. A refusal arrives as an `ErrorEvent`."""
        if update := options.as_update():
            await self.send_message(json.dumps({"type": "session.update", "session": update}))

    async def send(self, pcm: bytes) -> None:
        """Send little-endian PCM16, mono, 16 kHz. Waits while the server reads no more."""
        audio = base64.b64encode(pcm).decode()
        await self.send_message(f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}')

    async def finish(self) -> None:
        """End the audio. The server answers what is left, then the events end."""
        self._finishing = True
        await self.send_message('{"type":"session.finish"}')

    async def send_message(self, message: str) -> None:
        """Send one client event that is JSON already. Raises ClientError."""
        try:
            await self._socket.send_str(message)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise ClientError(self._end()) from error

    async def next_event(self) -> tuple[Event, str]:
        """Wait for the next event. Returns it parsed, and as received.

        Raises ClientError if the server ends the session.
        """
        while True:
            is_finishing = self._finishing
            try:
                message = await self._socket.receive(timeout=QUIET_TIMEOUT_S)
                break
            except TimeoutError as error:
                if is_finishing:
                    text = f"{self._place} has not answered for {QUIET_TIMEOUT_S:.0f} s"
                    raise ClientError(text) from error
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise ClientError(self._end())
        try:
            return parse(message.data), message.data
        except msgspec.DecodeError as error:
            raise ClientError(f"{self._place} does not speak the protocol: {error}") from error

    async def events(self) -> AsyncIterator[tuple[Event, str]]:
        """Yield each event, parsed and as received, up to and including `Finished`.

        Raises ClientError if the server ends the session before that.
        """
        while True:
            event, message = await self.next_event()
            yield event, message
            if isinstance(event, Finished):
                return

    def _end(self) -> str:
        code = self._socket.close_code
        reasons = {
            1001: "is shutting down",
            1006: "is gone: the connection broke",
            1007: "does not serve this model: give another one as ?model=… in the URL",
            1008: "ended the session: see its log, or its keys",
            1011: "had an internal error: see its log",
        }
        return f"{self._place} {reasons.get(code or 1006, f'closed the session with code {code}')}"


@asynccontextmanager
async def open_session(
    target: Target, options: SessionOptions, http: aiohttp.ClientSession | None = None
) -> AsyncIterator[Session]:
    """Open a session and wait until its options are accepted. Raises ClientError.

    http: connects, for programs with many sessions; None: the session has a connector of its own.
    """
    place = urlsplit(target.url).netloc.rpartition("@")[2] if not target.socket_path else "oyez"
    headers = {"Authorization": f"Bearer {target.key}"} if target.key else {}
    async with AsyncExitStack() as stack:
        if http is None:
            connector = aiohttp.UnixConnector(target.socket_path) if target.socket_path else None
            http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                socket = await http.ws_connect(
                    normalised(target.url), headers=headers, max_msg_size=MAX_MESSAGE_BYTES
                )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ClientError(_connection_advice(error, place)) from error
        session = Session(await stack.enter_async_context(socket), place)
        await session.update(options)
        async for event, _ in session.events():
            if isinstance(event, ErrorEvent):
                raise ClientError(event.error.message)
            if not (isinstance(event, Created) and options.as_update()):
                break  # created, or after an update the answer to it
        yield session


def _connection_advice(error: Exception, place: str) -> str:
    """Say why the connection failed and what to do about it."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        retry = error.headers.get("Retry-After") if error.headers else None
        again = f"; try again in {retry} s" if retry else ""
        answers = {
            401: f"{place} does not accept this key: give one with --key or OYEZ_API_KEY",
            403: f"{place} does not let this key in",
            404: f"{place} has no such endpoint: is it an oyez server?",
            429: f"{place} takes no more sessions of this key at the moment{again}",
            503: f"{place} is full or shutting down{again}",
        }
        return answers.get(error.status, f"{place} answered HTTP {error.status}")
    if isinstance(error, TimeoutError):
        return f"{place} does not answer"
    if isinstance(error, aiohttp.ClientConnectorSSLError | aiohttp.ClientConnectorCertificateError):
        reason = getattr(error.os_error, "verify_message", "") or error.os_error
        own = "for a CA of your own, set SSL_CERT_FILE to its file"
        return f"{place}: its certificate is not trusted: {reason}; {own}"
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = error.os_error.strerror or error.os_error
        return f"{place} cannot be reached: {reason}; is the server running there?"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return f"{place} hangs up at once: if it speaks TLS, write wss:// or https://"
    return f"{place} cannot be used: {error}"
