"""One session over a WebSocket: audio out, events in."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import aiohttp
import msgspec

from oyez.client.events import Created, Event, Finished, Refused, parse

PATH = "/api-ws/v1/realtime"
MODEL = "qwen3-asr-flash-realtime"
SCHEMES = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
CONNECT_TIMEOUT_S = 15.0
QUIET_TIMEOUT_S = 120.0
"""After everything was sent: without any event for so long, the server is taken for stuck."""
MAX_MESSAGE_BYTES = 64 << 20


class ClientError(Exception):
    """The server cannot be used, or no longer. The message says what to do; never holds a key."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to connect."""

    url: str
    key: str | None = None
    socket_path: str | None = None
    """A Unix socket to connect through."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked of the session."""

    language: str | None = None
    context: str = ""

    def as_update(self) -> dict[str, Any]:
        """The `session` object of a `session.update`; empty if nothing is asked."""
        transcription: dict[str, Any] = {}
        if self.language:
            transcription["language"] = self.language
        if self.context:
            transcription["corpus"] = {"text": self.context}
        return {"input_audio_transcription": transcription} if transcription else {}


def normalised(url: str) -> str:
    """`url` with a WebSocket scheme, the endpoint's path and a model, where it names none.

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
    """An open session. Send and iterate from different tasks at will."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, place: str) -> None:
        self._socket = socket
        self._place = place
        self._finishing = False

    async def ask(self, wishes: Wishes) -> None:
        """Before any audio. A refusal arrives as a `Refused` event."""
        if update := wishes.as_update():
            await self._send({"type": "session.update", "session": update})

    async def send(self, pcm: bytes) -> None:
        """Little-endian PCM16, mono, 16 kHz. Waits while the server takes no more."""
        audio = base64.b64encode(pcm).decode()
        await self._send({"type": "input_audio_buffer.append", "audio": audio})

    async def finish(self) -> None:
        """No more audio: everything is answered, then the events end."""
        self._finishing = True
        await self._send({"type": "session.finish"})

    async def send_message(self, message: str) -> None:
        """Send one client event that is JSON already. Raises ClientError."""
        try:
            await self._socket.send_str(message)
        except (ConnectionError, aiohttp.ClientError) as error:
            raise ClientError(self._end()) from error

    async def next_event(self) -> tuple[Event, str]:
        """Wait for the next event; return it parsed and as it came.

        Raises ClientError if the server ends the session.
        """
        message = await self._receive()
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise ClientError(self._end())
        try:
            return parse(message.data), message.data
        except msgspec.DecodeError as error:
            raise ClientError(f"{self._place} does not speak the protocol: {error}") from error

    async def events(self) -> AsyncIterator[tuple[Event, str]]:
        """Each event, parsed and as it came, up to and with `Finished`. Raises ClientError if the
        server ends the session before."""
        while True:
            event, message = await self.next_event()
            yield event, message
            if isinstance(event, Finished):
                return

    async def _receive(self) -> aiohttp.WSMessage:
        while True:
            finishing = self._finishing
            try:
                return await self._socket.receive(timeout=QUIET_TIMEOUT_S)
            except TimeoutError as error:
                if finishing:
                    message = f"{self._place} has not answered for {QUIET_TIMEOUT_S:.0f} s"
                    raise ClientError(message) from error

    async def _send(self, event: dict[str, Any]) -> None:
        await self.send_message(json.dumps(event))

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
    target: Target, wishes: Wishes, http: aiohttp.ClientSession | None = None
) -> AsyncIterator[Session]:
    """A session whose wishes were accepted. Raises ClientError.

    http: makes the connection, for programs with many sessions. Without it the session makes its
    own.
    """
    if http is None:
        connector = aiohttp.UnixConnector(target.socket_path) if target.socket_path else None
        async with aiohttp.ClientSession(connector=connector) as own:
            async with open_session(target, wishes, own) as session:
                yield session
            return
    place = urlsplit(target.url).netloc.rpartition("@")[2] if not target.socket_path else "oyez"
    headers = {"Authorization": f"Bearer {target.key}"} if target.key else {}
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            socket = await http.ws_connect(
                normalised(target.url), headers=headers, max_msg_size=MAX_MESSAGE_BYTES
            )
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise ClientError(_advice(error, place)) from error
    async with socket:
        session = Session(socket, place)
        await session.ask(wishes)
        await _accepted(session, bool(wishes.as_update()))
        yield session


async def _accepted(session: Session, asked: bool) -> None:
    """Wait for `session.created` and the answer to the wishes."""
    async for event, _ in session.events():
        if isinstance(event, Refused):
            raise ClientError(event.error.message)
        if not (asked and isinstance(event, Created)):
            return


def _advice(error: Exception, place: str) -> str:
    """What to do about a connection that did not come about."""
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
