"""A WebSocket client that sends exactly the bytes it is given, for what no library would send."""

from __future__ import annotations

import base64
import json
import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PATH = "/api-ws/v1/realtime?model=qwen3-asr-flash-realtime"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
GONE = -1
"""The opcode of what stands for the end of the connection."""


def frame(
    payload: bytes = b"",
    opcode: int = TEXT,
    *,
    final: bool = True,
    reserved: int = 0,
    mask: bytes | None = bytes(4),
    length_bytes: int | None = None,
    claimed_bytes: int | None = None,
) -> bytes:
    """RFC 6455, section 5.2. reserved: the three bits, as a number. mask: None: unmasked.
    length_bytes: 0, 2 or 8 in the extended length, whatever is needed. claimed_bytes: a length
    that is not the payload's."""
    size = len(payload) if claimed_bytes is None else claimed_bytes
    if length_bytes is None:
        length_bytes = 0 if size < 126 else 2 if size < 1 << 16 else 8
    short = {0: size, 2: 126, 8: 127}[length_bytes]
    head = bytes(
        [(0x80 if final else 0) | reserved << 4 | opcode, (0 if mask is None else 0x80) | short]
    )
    head += size.to_bytes(length_bytes, "big") if length_bytes else b""
    if mask is None:
        return head + payload
    return head + mask + (payload if mask == bytes(4) else _masked(payload, mask))


def _masked(payload: bytes, mask: bytes) -> bytes:
    key = mask * (len(payload) // 4 + 1)
    number = int.from_bytes(payload, "big") ^ int.from_bytes(key[: len(payload)], "big")
    return number.to_bytes(len(payload), "big")


def message(event: str, **fields: Any) -> bytes:
    """A frame with a client event. event: without `input_audio_buffer.` where it has that."""
    name = event if event.startswith("session.") else f"input_audio_buffer.{event}"
    return frame(json.dumps({"type": name, **fields}).encode())


def append(audio: bytes) -> bytes:
    """A frame that appends this audio."""
    return message("append", audio=base64.b64encode(audio).decode())


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    payload: bytes
    arrived_s: float
    """On time.monotonic."""

    @property
    def event(self) -> dict[str, Any]:
        """A text frame as the server event that it is."""
        return dict(json.loads(self.payload))

    @property
    def code(self) -> int | None:
        """Of a close frame: its code; None: it has none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else None


def connect(
    address: str,
    *,
    source: str = "127.0.0.1",
    receive_buffer_bytes: int | None = None,
    tls: ssl.SSLContext | None = None,
    timeout_s: float = 5.0,
) -> socket.socket:
    """TCP to host:port. source: the address it comes from; all of 127.0.0.0/8 may be."""
    host, _, port = address.rpartition(":")
    plain = socket.socket()
    if receive_buffer_bytes:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    plain.settimeout(timeout_s)
    try:
        plain.bind((source, 0))
        plain.connect((host, int(port)))
        return tls.wrap_socket(plain, server_hostname=host) if tls else plain
    except BaseException:
        plain.close()
        raise


def upgrade(key: str | None = None, path: str = PATH, *headers: str) -> bytes:
    """The request that opens a session."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *([f"Authorization: Bearer {key}"] if key else []),
        *headers,
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode()


class BlockingWebSocket:
    """An open session. Raises ConnectionRefusedError, with the answer, where it was refused."""

    def __init__(
        self,
        address: str,
        key: str,
        *,
        source: str = "127.0.0.1",
        receive_buffer_bytes: int | None = None,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        self.socket = connect(
            address,
            source=source,
            receive_buffer_bytes=receive_buffer_bytes,
            tls=tls,
            timeout_s=timeout_s,
        )
        self._unread = bytearray()
        self._read_to = 0
        self.is_open = True
        self.socket.sendall(upgrade(key))
        while b"\r\n\r\n" not in self._unread:
            if not self._read(timeout_s):
                break
        head = bytes(self._unread).partition(b"\r\n\r\n")[0]
        del self._unread[: len(head) + 4]
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self.close()
            raise ConnectionRefusedError(head.decode("latin-1"))

    def __enter__(self) -> BlockingWebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Vanish: what the server has not read yet is lost with the connection."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, *parts: bytes, timeout_s: float = 5.0) -> bool:
        """Send these bytes, and read what comes meanwhile. False: they were not taken in time, or
        the connection has ended."""
        until_s = time.monotonic() + timeout_s
        waiting = memoryview(b"".join(parts))
        while waiting and self.is_open:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            ready = self._ready(select.POLLIN | select.POLLOUT, left_s)
            if ready & select.POLLOUT:
                try:
                    waiting = waiting[self.socket.send(waiting[: 1 << 16]) :]
                except (OSError, ssl.SSLError):
                    self.is_open = False
            if ready & ~select.POLLOUT:
                self._read(0)
        return not waiting

    def send_slowly(self, data: bytes, size: int, interval_s: float) -> bool:
        """`size` bytes every interval_s."""
        for start in range(0, len(data), size):
            if not self.send(data[start : start + size]):
                return False
            time.sleep(interval_s)
        return True

    def frames(self, seconds: float = 1.0) -> list[Frame]:
        """Everything that comes within this time, or until the connection ends."""
        return self.until(lambda _: False, seconds)

    def until(self, is_last: Callable[[Frame], bool], seconds: float = 5.0) -> list[Frame]:
        """Frames up to the first that is as wanted, or the end of the connection or of the time."""
        found: list[Frame] = []
        until_s = time.monotonic() + seconds
        while True:
            while (one := self._next_frame()) is not None:
                found.append(one)
                if is_last(one):
                    return found
            if not self.is_open:
                return [*found, Frame(GONE, b"", time.monotonic())]
            left_s = until_s - time.monotonic()
            if left_s <= 0 or (not self._read(left_s) and self.is_open):
                return found

    def until_event(self, name: str, seconds: float = 5.0) -> list[dict[str, Any]]:
        """The events up to the one whose type ends like this. Raises AssertionError without it."""
        found = self.until(
            lambda one: one.opcode == TEXT and one.event["type"].endswith(name), seconds
        )
        events = [one.event for one in found if one.opcode == TEXT]
        assert events and events[-1]["type"].endswith(name), found[-3:]
        return events

    def closed(self, seconds: float = 5.0) -> int | None:
        """Read until the server closes: its code; None: it did not close, or gave no code."""
        found = self.until(lambda one: one.opcode in (CLOSE, GONE), seconds)
        return found[-1].code if found and found[-1].opcode == CLOSE else None

    def _ready(self, events: int, seconds: float) -> int:
        """Which of these it is ready for within this time; `poll` knows any number of sockets."""
        poll = select.poll()
        poll.register(self.socket, events)
        found = poll.poll(1000 * seconds)
        return found[0][1] if found else 0

    def _read(self, seconds: float) -> bool:
        """False: nothing came, or the connection has ended."""
        pending = self.socket.pending() if isinstance(self.socket, ssl.SSLSocket) else 0
        try:
            if not pending and not self._ready(select.POLLIN, max(seconds, 0)):
                return False
            data = self.socket.recv(1 << 18)
        except OSError:
            data = b""
        self.is_open = bool(data)
        self._unread += data
        return bool(data)

    def _next_frame(self) -> Frame | None:
        start = self._read_to
        if len(self._unread) >= start + 2:
            assert not self._unread[start] & 0x70 and not self._unread[start + 1] & 0x80, "masked"
            size, begin = self._unread[start + 1] & 0x7F, start + 2
            if size >= 126:
                begin = start + (4 if size == 126 else 10)
                size = int.from_bytes(self._unread[start + 2 : begin], "big")
            if len(self._unread) >= begin + size:
                self._read_to = begin + size
                payload = bytes(self._unread[begin : begin + size])
                return Frame(self._unread[start] & 0x0F, payload, time.monotonic())
        del self._unread[:start]
        self._read_to = 0
        return None
