"""The server's side of one WebSocket (RFC 6455), over a connection that aiohttp has accepted.

aiohttp answers the upgrade and owns the connection; frames are read and written by the sans-I/O
protocol of the `websockets` package, which is strict where aiohttp is lenient (frames that are not
masked, close codes, fragments). Pings are answered here, as soon as they are read, whatever the
session does meanwhile.

Everything is bounded: bytes that are read and not parsed, frames per iteration of the event loop,
control frames per second. Whole messages are handed on at once; their owner sets with `read_on`
whether more may be read.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress

from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import SEND_EOF, Protocol, Side, State
from websockets.utils import accept_key

PARSED_BYTES = 512
"""So many bytes are parsed in one go: at most 85 frames, a few milliseconds of work."""
FRAMES_PER_SLICE = 64
SLICE_S = 0.005
"""After about so many frames, or so long, the other frames wait for the next iteration of the event
loop."""
CONTROL_FRAMES_PER_SECOND = 100
"""More pings and pongs than this close the connection (1008)."""
LINGER_S = 2.0
"""How long the rest of a client's bytes is read and dropped after an error of the client. Closing
at once would reset the connection, and the client would lose the Close frame with the reason."""
MAX_REASON_BYTES = 123

_TCP_CLOSED = (7, 8)
"""TCP_CLOSE and TCP_CLOSE_WAIT of Linux's tcp_states.h: the first field of `struct tcp_info`."""

_FRAMES_LOG = logging.getLogger("oyez.server.frames")
"""For `websockets`, which logs every frame at DEBUG: audio and text must not be in any log."""
_FRAMES_LOG.setLevel(logging.ERROR)


class _Protocol(Protocol):
    """The protocol of the package, except for one point of RFC 6455."""

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            # a client may leave in the middle of a message (RFC 6455, section 5.4); `websockets`
            # takes it for an error
            self.current_size = None
        super().recv_frame(frame)


class WebSocket:
    """One connection, on the event loop. Call `accept`, then `listen` and `send`, then `close` or
    `finish`, and `release`."""

    def __init__(self, max_message_bytes: int) -> None:
        """max_message_bytes: a longer message closes the connection with 1009."""
        self._protocol = _Protocol(Side.SERVER, max_size=max_message_bytes, logger=_FRAMES_LOG)
        self._loop = asyncio.get_running_loop()
        self._connection: web.RequestHandler | None = None
        self._transport: asyncio.Transport | None = None
        self._writer: AbstractStreamWriter | None = None
        self._early: list[bytes] = []
        self._on_message: Callable[[bytes], None] = self._early.append
        self._on_read: Callable[[], None] = _ignore
        self._unparsed = bytearray()
        self._parsing: asyncio.Handle | None = None
        self._reads = True
        self._fragments: bytearray | None = None
        self._utf8: codecs.IncrementalDecoder | None = None
        self._second = 0
        self._control_frames = 0
        self._data_at_s = self._loop.time()
        self._pinged_s = 0.0
        self.ended = asyncio.Event()
        """No more messages will come: the client has closed or left, or broke the protocol."""
        self._lost = asyncio.Event()
        """The connection is gone."""

    async def accept(self, request: web.Request, subprotocol: str | None) -> None:
        """Answer the upgrade, which must be a valid one, and begin to read. Raises ConnectionError
        if the client has left."""
        headers = {
            hdrs.UPGRADE: "websocket",
            hdrs.CONNECTION: "Upgrade",
            hdrs.SEC_WEBSOCKET_ACCEPT: accept_key(request.headers[hdrs.SEC_WEBSOCKET_KEY]),
        }
        if subprotocol is not None:
            headers[hdrs.SEC_WEBSOCKET_PROTOCOL] = subprotocol
        self.response = web.StreamResponse(status=101, headers=headers)
        self.response.force_close()
        connection, transport = request.protocol, request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        self._connection, self._transport = connection, transport
        self._writer = await self.response.prepare(request)
        connection.keep_alive(False)
        connection.set_parser(self)  # type: ignore[arg-type]  # it needs feed_data and feed_eof only

    def listen(self, on_message: Callable[[bytes], None], on_read: Callable[[], None]) -> None:
        """on_message: takes every whole message, text or binary, also those that came before.
        on_read: called after bytes were read and what is complete of them was handed on."""
        self._on_message, self._on_read = on_message, on_read
        early, self._early = self._early, []
        for message in early:
            on_message(message)

    def release(self) -> None:
        """Drop everything that waits, and the callbacks."""
        self._on_message = self._on_read = _ignore
        self._unparsed.clear()
        self._fragments = None
        self._protocol.reader.discard()
        self._protocol.parser_exc = None  # its traceback refers to the last frame, and to all else
        self._protocol.parser.close()  # it refers to the protocol, which refers to it
        if self._parsing:
            self._parsing.cancel()
            self._parsing = None

    @property
    def held_bytes(self) -> int:
        """The memory of bytes that are no whole message yet."""
        parts = (self._unparsed, self._protocol.reader.buffer, self._fragments or b"")
        return sum(map(len, parts))

    @property
    def close_code(self) -> int:
        """How it was closed: the client's code, or ours where the client broke the protocol."""
        close = self._protocol.close_rcvd or self._protocol.close_sent
        return int(close.code) if close else CloseCode.ABNORMAL_CLOSURE

    @property
    def is_connected(self) -> bool:
        transport = self._transport
        return transport is not None and not self._lost.is_set() and not transport.is_closing()

    def loss(self, ping_interval_s: float, ping_timeout_s: float) -> str:
        """Return why the client is taken to be gone, or else "" and send a ping if that is due: if
        no byte came for the interval. Nothing is due while nothing is read."""
        now_s = self._loop.time()
        silent_s = now_s - self._data_at_s if self._reads else 0.0
        if silent_s > ping_timeout_s:
            return "the client is gone"
        if self._has_left():
            return "the client left"
        if silent_s > ping_interval_s and now_s - self._pinged_s > ping_interval_s:
            self._pinged_s = now_s
            if self._protocol.state is State.OPEN:
                self._protocol.send_ping(b"")
                self._flush()
        return ""

    def _has_left(self) -> bool:
        """Return whether the client has closed its end, where the system can say so (Linux can).
        While nothing is read from a connection, there is no other way to notice."""
        if self._transport is None or self._reads or not hasattr(socket, "TCP_INFO"):
            return False
        connection = self._transport.get_extra_info("socket")
        try:
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return True
        return info[0] in _TCP_CLOSED

    def read_on(self, wanted: bool) -> None:
        """Set whether more may be read. While the client does not read, nothing is read from it
        either, because pings are answered."""
        if wanted and self._connection is not None and self._connection.writing_paused:
            wanted = False
        if wanted is self._reads or self._lost.is_set():
            return
        self._reads = wanted
        self._data_at_s = self._loop.time()
        self._regulate()

    async def send(self, text: str) -> None:
        """Write one text message; wait while the client does not read. Raises ConnectionError when
        the connection is gone or closing."""
        try:
            self._protocol.send_text(text.encode())
        except InvalidState:
            raise ConnectionResetError("the connection is closing") from None
        self._flush()
        if self._writer is None or not self.is_connected:
            raise ConnectionResetError("the client has left")
        await self._writer.drain()

    async def close(self, code: int, reason: str, timeout_s: float) -> None:
        """Send a Close frame and wait for the client's, for so long; what comes meanwhile is
        dropped. The connection is closed then."""
        if self._protocol.state is State.OPEN:
            cut = reason.encode()[:MAX_REASON_BYTES].decode("utf-8", "ignore")
            self._protocol.send_close(code, cut)
            self._flush()
        self._drop_input()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), timeout_s)
        self._close_transport()

    async def finish(self) -> None:
        """Close the connection after `ended`. Where the client broke the protocol, what it still
        sends is read and dropped for a while."""
        self._drop_input()
        if self._protocol.close_rcvd is None and self._transport is not None and self.is_connected:
            if self._transport.can_write_eof():
                self._transport.write_eof()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._lost.wait(), LINGER_S)
        self._close_transport()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    # aiohttp calls the following two, as it would those of its own reader

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Bytes from the client."""
        self._data_at_s = self._loop.time()
        if not self.ended.is_set():
            self._unparsed += data
            if self._parsing is None and self._reads:
                self._parse()
        return False, b""

    def feed_eof(self) -> None:
        """The client has left."""
        self._lost.set()
        self.ended.set()

    def _parse(self) -> None:
        """Handle some frames of what was read, and go on in the next iteration of the event
        loop."""
        self._parsing = None
        frames, over_s = 0, time.perf_counter() + SLICE_S
        while self._unparsed and self._reads and frames < FRAMES_PER_SLICE:
            if time.perf_counter() > over_s:
                break
            self._protocol.receive_data(self._unparsed[:PARSED_BYTES])
            del self._unparsed[:PARSED_BYTES]
            received = self._protocol.events_received()
            frames += len(received)
            for frame in received:
                assert isinstance(frame, Frame)
                if frame.opcode in (Opcode.PING, Opcode.PONG):
                    self._count_control_frame()
                elif frame.opcode is not Opcode.CLOSE and self._protocol.state is State.OPEN:
                    self._handle_data(frame)
            self._flush()
            if self.ended.is_set():
                self._unparsed.clear()
        self._regulate()
        self._on_read()

    def _handle_data(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.opcode is Opcode.CONT:
            assert self._fragments is not None, "the protocol checks the order of fragments"
            self._fragments += data
        if frame.opcode is Opcode.TEXT and not frame.fin:
            self._utf8 = codecs.getincrementaldecoder("utf-8")()
        try:
            if self._utf8:
                self._utf8.decode(data, final=frame.fin)
            elif frame.opcode is Opcode.TEXT and not data.isascii():
                data.decode()
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
            return
        if not frame.fin:
            if frame.opcode is not Opcode.CONT:
                self._fragments = bytearray(data)
            return
        if self._fragments is not None:
            data = bytes(self._fragments)
            self._fragments = self._utf8 = None
        self._on_message(data)

    def _count_control_frame(self) -> None:
        second = int(self._loop.time())
        if second != self._second:
            self._second, self._control_frames = second, 0
        self._control_frames += 1
        if self._control_frames > CONTROL_FRAMES_PER_SECOND and self._protocol.state is State.OPEN:
            self._protocol.fail(CloseCode.POLICY_VIOLATION, "too many pings and pongs")

    def _flush(self) -> None:
        """Write what the protocol has to send, and set `ended` if that was the last of it."""
        for data in self._protocol.data_to_send():
            if data == SEND_EOF:
                self.ended.set()
            elif self._transport is not None and not self._transport.is_closing():
                self._transport.write(data)

    def _close_transport(self) -> None:
        """Close the connection; drop it where the client does not even read what was written."""
        if self._transport is None:
            return
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.close()

    def _drop_input(self) -> None:
        """Read on, and ignore everything but a Close frame."""
        self._on_message = self._on_read = _ignore
        self.read_on(True)

    def _regulate(self) -> None:
        """If reading is wanted, parse what was read, and then read from the connection."""
        if self._reads and self._unparsed and self._parsing is None:
            self._parsing = self._loop.call_soon(self._parse)
        if self._connection is None or self._lost.is_set():
            return
        if self._reads and not self._unparsed:
            self._connection.resume_reading()
        else:
            self._connection.pause_reading()


def _ignore(*arguments: object) -> None:
    pass
