"""The shipped sample through the whole of oyez: how fast, how right, how many at a time."""

from __future__ import annotations

import asyncio
import math
import re
import time
import wave
from dataclasses import dataclass
from difflib import SequenceMatcher
from importlib.resources import as_file, files
from typing import TYPE_CHECKING

from oyez.cli.local_server import local_server
from oyez.client.captions import Captions
from oyez.client.session import Session, Wishes, open_session

if TYPE_CHECKING:
    from oyez.runtime.loader import Engines

BYTES_PER_S = 32_000
PACKET_BYTES = 3_200


@dataclass(frozen=True, slots=True)
class SelfTest:
    audio_s: float
    took_s: float
    words_right: int
    words: int
    conversations: float
    """At a time, by what one is measured to need and `max_load`; inf where they cost nothing."""

    @property
    def speed(self) -> float:
        """So many times as fast as it was spoken."""
        return self.audio_s / self.took_s


def run_self_test(engines: Engines, max_load: float) -> SelfTest:
    """Takes seconds; blocks. Raises ClientError."""
    audio, reference = _sample()
    began_s = time.monotonic()
    text = asyncio.run(_transcribe(engines, audio))
    took_s = time.monotonic() - began_s
    said = words_of(reference)
    cost = engines.session_cost
    return SelfTest(
        audio_s=len(audio) / BYTES_PER_S,
        took_s=took_s,
        words_right=words_right(said, words_of(text)),
        words=len(said),
        conversations=max_load // cost if cost and max_load else math.inf,
    )


def words_right(said: list[str], heard: list[str]) -> int:
    """How many of the words said are among those heard, in order."""
    blocks = SequenceMatcher(None, said, heard, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks)


def words_of(text: str) -> list[str]:
    """Letters and digits only, in one case."""
    return re.findall(r"[^\W_]+", text.casefold())


async def _transcribe(engines: Engines, audio: bytes) -> str:
    captions = Captions()
    texts: list[str] = []
    async with local_server(engines) as target, open_session(target, Wishes("en")) as session:
        sending = asyncio.create_task(_send(session, audio))
        async for event, _ in session.events():
            if over := captions.take(event):
                texts.append(over.text)
        await sending
    return " ".join(texts)


async def _send(session: Session, audio: bytes) -> None:
    for start in range(0, len(audio), PACKET_BYTES):
        await session.send(audio[start : start + PACKET_BYTES])
    await session.finish()


def _sample() -> tuple[bytes, str]:
    """PCM16 at 16 kHz, and what is said."""
    assets = files("oyez") / "assets"
    with as_file(assets / "two_cities.wav") as path, wave.open(str(path)) as audio:
        data = audio.readframes(audio.getnframes())
    return data, (assets / "two_cities.txt").read_text(encoding="utf-8")
