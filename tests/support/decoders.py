"""The process that decodes uploads, with something else in place of its decoding."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from oyez.files import decoder_process

SPINS = "while True: pass"
"""As a file does of which nothing comes."""
CRASHES = "import ctypes; ctypes.string_at(0)"


def decode_by(monkeypatch: pytest.MonkeyPatch, code: str, first: str = "") -> None:
    """From now on, this Python runs once a process is confined. first: before it is."""
    command = (
        "import sys; sys.path += sys.argv[3:]\n"
        "from oyez.files import confine\n"
        f"{first}\n"
        "confine.limit(*map(int, sys.argv[1:3]))\n"
        "from oyez.files import decoder_main, decoding\n"
        "def decode(file):\n"
        + "".join(f"    {line}\n" for line in code.splitlines())
        + "decoder_main._decode = decode\n"
        "decoder_main.main()"
    )
    monkeypatch.setattr(decoder_process, "COMMAND", command)


def children(pid: int) -> list[int]:
    """Processes that decode, of this server. Linux only."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text().split())
    return [each for each in found if b"decoder_main" in _command(each)]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_gone(pid: int, within_s: float = 1.0) -> bool:
    """Whether the process ends in this time."""
    until_s = time.monotonic() + within_s
    while Path(f"/proc/{pid}").exists():
        state = Path(f"/proc/{pid}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        if time.monotonic() > until_s:
            return False
        time.sleep(0.01)
    return True
