"""Golden sessions: what a client does, line by line, and what the server must answer.

A line is `{"send": event}`, `{"send_text": text}`, `{"audio": [[kind, seconds], …]}` (with
`rate`, `codec`, `packet_bytes`) or `{"expect": [event, …]}`. An expected event matches one that
has at least its fields; `$1`, `$2`, … stand for item ids. Interim events may come anywhere and are
left out; nothing else may be left over.
"""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from numpy.typing import NDArray

TEXT = "conversation.item.input_audio_transcription.text"


class Peer(Protocol):
    """The server as a client meets it."""

    async def send(self, text: str) -> None: ...

    async def receive(self) -> dict[str, Any]: ...

    async def leftovers(self) -> list[dict[str, Any]]:
        """Events that came and nobody asked for."""
        ...


def read(path: Path) -> list[dict[str, Any]]:
    """The steps of a golden session."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def replay(steps: list[dict[str, Any]], peer: Peer) -> list[dict[str, Any]]:
    """Play one golden session; returns all events. Raises AssertionError where it differs."""
    seen: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for step in steps:
        if "send" in step:
            await peer.send(json.dumps(step["send"]))
        elif "send_text" in step:
            await peer.send(step["send_text"])
        elif "audio" in step:
            await _play(step, peer)
        for wanted in step.get("expect", ()):
            event = await _next(peer, seen)
            _match(event, wanted, names, wanted["type"])
    rest = await peer.leftovers()
    seen += rest
    assert [event for event in rest if event["type"] != TEXT] == []
    return seen


async def _next(peer: Peer, seen: list[dict[str, Any]]) -> dict[str, Any]:
    while True:
        event = await peer.receive()
        seen.append(event)
        if event["type"] != TEXT:
            return event


async def _play(step: dict[str, Any], peer: Peer) -> None:
    data = _encode(step["audio"], step.get("rate", 16000), step.get("codec", "pcm"))
    size = step.get("packet_bytes", 3200)
    for start in range(0, len(data), size):
        audio = base64.b64encode(data[start : start + size]).decode()
        await peer.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))


def _encode(parts: list[list[Any]], rate: int, codec: str) -> bytes:
    samples = np.concatenate([_part(kind, seconds, rate) for kind, seconds in parts])
    pcm = (samples * 32767).astype("<i2")
    return pcm.tobytes() if codec == "pcm" else _opus(pcm, rate, codec)


def _part(kind: str, seconds: float, rate: int) -> NDArray[np.float32]:
    """Silence, or a loud hum in place of speech."""
    time_s = np.arange(int(seconds * rate)) / rate
    return (np.sin(2 * np.pi * 440 * time_s) * (0.5 if kind == "speech" else 0)).astype(np.float32)


def _opus(pcm: NDArray[np.int16], rate: int, container: str) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream("libopus", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


def _match(event: Any, wanted: Any, names: dict[str, str], where: str) -> None:
    if isinstance(wanted, dict):
        assert isinstance(event, dict), where
        for key, value in wanted.items():
            assert key in event, f"{where}.{key} is missing in {event}"
            _match(event[key], value, names, f"{where}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(event, list) and len(event) == len(wanted), where
        for one, other in zip(event, wanted, strict=True):
            _match(one, other, names, where)
    elif isinstance(wanted, str) and wanted.startswith("$"):
        assert names.setdefault(wanted, event) == event, where
    else:
        assert event == wanted, f"{where}: {event!r}, not {wanted!r}"
