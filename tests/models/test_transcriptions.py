"""Whole files with the real model: through OpenAI's client, and against live speech."""

from __future__ import annotations

import asyncio
import re
import wave
from difflib import SequenceMatcher
from importlib.resources import files

import numpy as np
import pytest
from openai import AsyncOpenAI, OpenAI

from oyez.runtime.loader import Engines, load_engines
from oyez.settings import Settings
from support.media import encoded
from support.server import FINISH, RunningServer, append, running_server

pytestmark = pytest.mark.model
ASSETS = files("oyez") / "assets"
SAID = (ASSETS / "two_cities.txt").read_text().split()


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    cache_dir, models_dir = (tmp_path_factory.mktemp(name) for name in ("cache", "models"))
    return load_engines(
        Settings(threads=2, cache_dir=cache_dir, models_dir=models_dir, emotion="off")
    )


def sample() -> bytes:
    return (ASSETS / "two_cities.wav").read_bytes()


def errors(text: str) -> int:
    """Words that are wrong, missing or too many."""
    heard = text.split()
    same = SequenceMatcher(None, SAID, heard, autojunk=False).get_matching_blocks()
    return max(len(SAID), len(heard)) - sum(block.size for block in same)


def api(running: RunningServer) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://{running.address}/v1", api_key="any", max_retries=0)


async def test_every_format_through_the_official_client(engines: Engines) -> None:
    async with running_server(engines=engines) as running, api(running) as client:
        create = client.audio.transcriptions.create
        file = ("two_cities.wav", sample())
        verbose = await create(
            file=file,
            model="whisper-1",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        text = verbose.text
        assert errors(text) <= 10
        assert (verbose.language, verbose.duration) == ("english", 19.96)
        assert verbose.words and verbose.segments
        assert " ".join(word.word for word in verbose.words) == text
        assert " ".join(segment.text for segment in verbose.segments) == text
        times = [time for word in verbose.words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert 0.3 < times[0] < 0.6 and 19.0 < times[-1] < 19.9
        assert (await create(file=file, model="x")).text == text
        assert await create(file=file, model="x", response_format="text") == text + "\n"
        for form in ("srt", "vtt"):
            subtitles = await create(file=file, model="x", response_format=form)
            shown = [line for line in subtitles.splitlines() if re.match(r"[A-Za-z]+ [a-z]", line)]
            assert " ".join(shown) == text
        told = ""
        async for event in await create(file=file, model="x", stream=True):
            told += getattr(event, "delta", "")
        assert told == text

        def ask() -> str:
            with OpenAI(base_url=str(client.base_url), api_key="any") as synchronous:
                return synchronous.audio.transcriptions.create(file=file, model="x").text

        assert await asyncio.to_thread(ask) == text


async def test_a_file_reads_as_it_does_live(engines: Engines) -> None:
    with (ASSETS / "two_cities.wav").open("rb") as file, wave.open(file) as audio:
        pcm = audio.readframes(audio.getnframes())
    async with running_server(engines=engines) as running, api(running) as client:
        live = await running.connect()
        for start in range(0, len(pcm), 3200):
            await live.send(append(pcm[start : start + 3200]))
        await live.send(FINISH)
        finished = await live.until("session.finished", timeout_s=60.0)
        answer = await client.audio.transcriptions.create(file=("a.wav", sample()), model="x")
        assert answer.text == finished["transcript"]


async def test_other_codecs_cost_hardly_a_word(engines: Engines) -> None:
    with (ASSETS / "two_cities.wav").open("rb") as file, wave.open(file) as audio:
        pcm = np.frombuffer(audio.readframes(audio.getnframes()), "<i2")
    samples = pcm.astype(np.float32) / np.float32(32768)
    async with running_server(engines=engines) as running, api(running) as client:
        for container, codec, video in (("mp3", "libmp3lame", False), ("matroska", "aac", True)):
            data = encoded(samples, container, codec, video=video)
            answer = await client.audio.transcriptions.create(file=("a", data), model="x")
            assert errors(answer.text) <= 14
