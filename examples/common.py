"""What the Python examples share: their flags, and sound in pieces of a tenth of a second."""

from __future__ import annotations

import argparse
import os
import wave
from collections.abc import Iterator
from pathlib import Path

URL = "ws://127.0.0.1:8080/api-ws/v1/realtime"
MODEL = "qwen3-asr-flash-realtime"
CHUNK_BYTES = 3200
CHUNK_SECONDS = 0.1


def parse_arguments(description: str | None) -> argparse.Namespace:
    """The flags of every example; the key may also come from DASHSCOPE_API_KEY."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="16 kHz mono 16-bit sound: .wav, or raw .pcm")
    parser.add_argument("--url", default=URL, help="default: %(default)s")
    parser.add_argument("--api-key", default=os.environ.get("DASHSCOPE_API_KEY", "any"))
    parser.add_argument("--language", help="for example en; left out: detected")
    parser.add_argument("--manual", action="store_true", help="commit once instead of using VAD")
    return parser.parse_args()


def read_chunks(file: Path) -> Iterator[bytes]:
    """Cut the file's PCM into pieces of CHUNK_BYTES."""
    if file.suffix == ".wav":
        with wave.open(str(file)) as sound:
            if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (16000, 1, 2):
                raise SystemExit(
                    f"{file}: not 16 kHz mono 16-bit; convert it, for example with "
                    f"ffmpeg -i {file} -ar 16000 -ac 1 -sample_fmt s16 speech.wav"
                )
            pcm = sound.readframes(sound.getnframes())
    else:
        pcm = file.read_bytes()
    for start in range(0, len(pcm), CHUNK_BYTES):
        yield pcm[start : start + CHUNK_BYTES]
