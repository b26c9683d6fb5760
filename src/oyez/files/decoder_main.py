"""The program that decodes one uploaded file. `decoder_process` starts it and reads its answers.

The file is at descriptor 0, and the answers go to descriptor 1. An answer begins with one byte for
its kind and four for its length. The answers are READY (confined or not), OPENED (seconds, if the
file announces them), SOUND for each block, and then END (number of notes) or REFUSED (the reason,
for people).
"""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from oyez.files import confine
from oyez.files.decoding import TOO_MUCH_MEMORY, Decoder, MediaError, open_decoder

READY, OPENED, SOUND, END, REFUSED = b"r", b"o", b"s", b"e", b"x"
UPLOAD, ANSWERS = 0, 1
SHORT_WAV = (
    b"RIFF\x28\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00"
    b"\x00\x7d\x00\x00\x02\x00\x10\x00data\x04\x00\x00\x00\x00\x00\x00\x00"
)
"""Two samples of 16 bits at 16 kHz."""


def main() -> None:
    """Run the program. `confine.limit` has limited the process before this file was loaded."""
    # PyAV imports some modules when they are used, and nothing can be imported later.
    with open_decoder(io.BytesIO(SHORT_WAV), Decoder) as decoder:
        list(decoder.chunks())
    with os.fdopen(UPLOAD, "rb") as file:
        _answer(READY, b"%d" % confine.confine(ANSWERS))
        try:
            _decode(file)
        except MediaError as error:
            _answer(REFUSED, str(error).encode())
        except MemoryError:
            _answer(REFUSED, TOO_MUCH_MEMORY.encode())
    os._exit(0)  # skips what Python does at its end, which takes time


def _decode(file: BinaryIO) -> None:
    with open_decoder(file, Decoder) as decoder:
        announced_s = decoder.announced_s
        _answer(OPENED, b"" if announced_s is None else b"%.3f" % announced_s)
        for chunk in decoder.chunks():
            _answer(SOUND, chunk)
            confine.extend_cpu_time()
        _answer(END, b"%d" % len(decoder.notes))


def _answer(kind: bytes, content: bytes) -> None:
    left = memoryview(kind + len(content).to_bytes(4, "little") + content)
    while left:
        left = left[os.write(ANSWERS, left) :]
