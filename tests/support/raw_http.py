"""HTTP requests as bytes, for what no library would send."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress

from support.blocking_websocket import connect

UPLOADS = "/v1/audio/transcriptions"


def ask(
    address: str,
    request: bytes,
    *,
    seconds: float = 2.0,
    source: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """What comes back for these bytes until the server closes or nothing comes for so long."""
    try:
        with connect(address, source=source, tls=tls, timeout_s=seconds) as open_:
            answer = b""
            try:
                open_.sendall(request)
                while data := open_.recv(1 << 16):
                    answer += data
                    if is_whole(answer):
                        break
            except OSError:  # closed in the face of a request that is still sent
                pass
            return answer
    except OSError:
        return b""


def is_whole(answer: bytes) -> bool:
    """Whether an answer with a length has all of its body."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    _, named, length = head.lower().partition(b"content-length:")
    return bool(separator and named) and len(body) >= int(length.split()[0])


def status(answer: bytes) -> int:
    """Of the first answer in these bytes; 0 without one."""
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else 0


def upload(key: str, file: bytes, *, name: str = "a.wav") -> bytes:
    """A request that sends a file to be transcribed."""
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return post(key, "multipart/form-data; boundary=b", head.encode() + file + b"\r\n--b--\r\n")


def post(key: str, content_type: str, body: bytes, *, claimed_bytes: int | None = None) -> bytes:
    """A request to transcribe with this body. claimed_bytes: a length that is not the body's."""
    length = len(body) if claimed_bytes is None else claimed_bytes
    head = (
        f"POST {UPLOADS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    )
    return head.encode("latin-1") + body


def many_connections(
    address: str, count: int, *, source: str = "127.0.0.1", receive_buffer_bytes: int = 4096
) -> list[socket.socket]:
    """As many as get through without waiting; without a timeout's patience."""
    opened = []
    for _ in range(count):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        one.bind((source, 0))
        one.setblocking(False)
        host, _, port = address.rpartition(":")
        one.connect_ex((host, int(port)))
        opened.append(one)
    return opened


def send_to_all(sockets: list[socket.socket], data: bytes) -> int:
    """Send what each takes without waiting; how many took something."""
    took = 0
    for one in sockets:
        with suppress(OSError):  # closed, or full
            took += one.send(data) > 0
    return took


def still_open(sockets: list[socket.socket]) -> int:
    """How many the other side has not closed."""
    count = 0
    for one in sockets:
        try:
            while one.recv(1 << 16):
                pass
        except BlockingIOError:
            count += 1
        except OSError:
            pass
    return count


def wait_until_closed(sockets: list[socket.socket], seconds: float) -> int:
    """How many are still open after so long, or as soon as none is."""
    until_s = time.monotonic() + seconds
    while (left := still_open(sockets)) and time.monotonic() < until_s:
        time.sleep(0.1)
    return left
