"""A client that streams a recording as a microphone would, and notes when each event came."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples

PACKET_S = 0.1
PACKET_SAMPLES = round(PACKET_S * SAMPLE_RATE)
FINISH_TIMEOUT_S = 60.0
LONGEST_SILENCE_MS = 6_000


@dataclass(frozen=True, slots=True)
class Recording:
    """One session as its client saw it."""

    began_s: float
    """When the first sample existed, on the clock of `time.perf_counter`."""
    events: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    """(when it came, the event)."""

    def sent_s(self, audio_ms: float) -> float:
        """When the sample at this audio time was sent: with the packet it ended up in."""
        packets = int(audio_ms / 1000 / PACKET_S) + 1
        return self.began_s + packets * PACKET_S


async def stream(
    http: aiohttp.ClientSession, url: str, key: str | None, samples: Samples, language: str | None
) -> Recording:
    """Stream float32 [n], 16 kHz, at real-time pace, each 100 ms packet when its last sample
    exists by the clock, then finish the session.

    Raises aiohttp.ClientError, TimeoutError, or RuntimeError for an error event.
    """
    headers = {"Authorization": f"Bearer {key or 'bench'}"}
    async with http.ws_connect(url, headers=headers, max_msg_size=0) as socket:
        if language:
            asked = {"input_audio_transcription": {"language": language}}
            await socket.send_json({"type": "session.update", "session": asked})
        recording = Recording(time.perf_counter())
        async with asyncio.TaskGroup() as group:
            group.create_task(_send(socket, samples, recording.began_s))
            group.create_task(_receive(socket, recording, len(samples) / SAMPLE_RATE))
        return recording


async def _send(socket: aiohttp.ClientWebSocketResponse, samples: Samples, began_s: float) -> None:
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    for number, start in enumerate(range(0, len(pcm), PACKET_SAMPLES), start=1):
        await asyncio.sleep(began_s + number * PACKET_S - time.perf_counter())
        audio = base64.b64encode(pcm[start : start + PACKET_SAMPLES].tobytes()).decode()
        await socket.send_json({"type": "input_audio_buffer.append", "audio": audio})
    await socket.send_json({"type": "session.finish"})


async def _receive(
    socket: aiohttp.ClientWebSocketResponse, recording: Recording, audio_s: float
) -> None:
    async with asyncio.timeout(audio_s + FINISH_TIMEOUT_S):
        async for message in socket:
            event = json.loads(message.data)
            recording.events.append((time.perf_counter(), event))
            if event["type"] == "error":
                raise RuntimeError(event["error"]["message"])
            if event["type"] == "session.finished":
                return
    raise RuntimeError("the server closed before session.finished")
