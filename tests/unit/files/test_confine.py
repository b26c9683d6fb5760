"""What a process can do after `confine`: tried from inside one, as code that took it over would."""

from __future__ import annotations

import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[3] / "src"
FILTERED = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
ATTEMPTS = """
import json, os, resource, signal, socket, subprocess, sys, threading, ctypes
from oyez.files import confine
os.dup2(os.open(os.devnull, os.O_RDWR), 2)
for descriptor in range(3, 20):
    try: os.close(descriptor)
    except OSError: pass
{before}
confine.limit(1 << 30, 60)
is_filtered = confine.confine(1)
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
attempts = dict(
    socket=lambda: socket.socket(),
    socket_pair=lambda: socket.socketpair(),
    read_a_file=lambda: os.open("/etc/passwd", os.O_RDONLY),
    environment_of_the_server=lambda: os.open(f"/proc/{{os.getppid()}}/environ", os.O_RDONLY),
    write_a_file=lambda: os.open("written", os.O_WRONLY | os.O_CREAT),
    signal=lambda: os.kill({parent}, 0),
    fork=lambda: os._exit(0) if os.fork() == 0 else None,
    thread=lambda: threading.Thread(target=int).start(),
    execute=lambda: os.execv("/bin/true", ["true"]),
    more_descriptors=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100)),
    limits_of_the_server=lambda: resource.prlimit({parent}, resource.RLIMIT_NOFILE),
    socket_in_place_of_the_upload=lambda: (os.close(0), socket.socket()),
)
found = {{}}
for name in {names} or attempts:
    try:
        attempts[name]()
        found[name] = True
    except (OSError, ValueError, RuntimeError) as error:
        found[name] = False
print(json.dumps([is_filtered, found]), flush=True)
os._exit(0)
"""


def run(code: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(SOURCE)},
            cwd=folder,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


def attempts(*names: str, before: str = "") -> tuple[bool, dict[str, bool]]:
    """Whether system calls are filtered, and what succeeds. names: those that are tried."""
    code = ATTEMPTS.format(before=before, parent=os.getpid(), names=names)
    is_filtered, found = json.loads(run(code))
    return is_filtered, found


@pytest.mark.skipif(not FILTERED, reason="no filter of system calls on this machine")
def test_a_confined_process_can_do_nothing_but_compute() -> None:
    is_filtered, found = attempts()
    assert is_filtered
    assert [name for name, succeeds in found.items() if succeeds] == []


def test_without_a_filter_it_still_opens_nothing() -> None:
    opening = ("socket", "socket_pair", "read_a_file", "write_a_file", "environment_of_the_server")
    is_filtered, found = attempts(*opening, before="confine.MACHINES = {}")
    assert not is_filtered
    assert found == dict.fromkeys(opening, False)


def test_the_attempts_succeed_where_nothing_is_confined() -> None:
    harmless = ("socket", "socket_pair", "read_a_file", "signal", "thread", "limits_of_the_server")
    _, found = attempts(*harmless, before="confine.confine = confine.limit = lambda *_: False")
    assert found == dict.fromkeys(harmless, True)


def test_nothing_can_be_written_to_the_upload(tmp_path: Path) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(b"before")
    code = f"""
import os
from oyez.files import confine
file = os.open({str(upload)!r}, os.O_RDWR)
confine.limit(1 << 30, 60)
try: os.write(file, b"after")
except OSError as error: print(error.strerror)
"""
    assert run(code) == "File too large\n"
    assert upload.read_bytes() == b"before"


def test_a_picture_that_unpacks_to_gigabytes_stays_within_the_limit() -> None:
    """As it would be decoded if pictures were listed."""
    code = """
import io
from oyez.files import confine
png = bytes.fromhex(input())
confine.limit(512 << 20, 60)
import av
try:
    av.open(io.BytesIO(png))
except (av.FFmpegError, MemoryError): pass
for line in open("/proc/self/status"):  # ru_maxrss would be that of the process which started it
    if line.startswith("VmHWM"):
        print(int(line.split()[1]) >> 10)
"""
    png = _png(16_000, 16_000)
    assert len(png) < 3_000_000
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=png.hex(),
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SOURCE)},
        timeout=60,
    )
    assert int(done.stdout) < 512


def _png(width: int, height: int) -> bytes:
    """16 bits, RGBA, all zero: eight bytes a pixel of which next to nothing is stored."""
    row = bytes(1 + 8 * width)
    packer = zlib.compressobj(9, wbits=-15)
    packed_row = packer.compress(row) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = height * len(row) % 65_521 << 16 | 1
    content = b"\x78\xda" + packed_row * height + b"\x03\x00" + checksum.to_bytes(4, "big")

    def chunk(kind: bytes, content: bytes) -> bytes:
        checked = kind + content
        return len(content).to_bytes(4, "big") + checked + zlib.crc32(checked).to_bytes(4, "big")

    header = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
