from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager

import numpy as np
import psutil
import pytest

from oyez.audio.pcm import Samples
from oyez.engines.base import RecognitionError, Request
from oyez.engines.emotion import Neutral
from oyez.files.results import Options, Partial, Progress, Result, Segment, TranscriptionError
from oyez.files.transcriber import Transcriber, own_transcriber
from oyez.runtime.loader import Engines
from oyez.testing import FakeDetector, FakeRecogniser
from support.driver import silence, speech
from support.jobs import make_job
from support.waiting import eventually, stays

BLOCK = 32_768


@asynccontextmanager
async def transcriber(engine: FakeRecogniser) -> AsyncIterator[Transcriber]:
    engines = Engines(engine, FakeDetector(), Neutral())
    before = asyncio.all_tasks()
    async with own_transcriber(engines) as own:
        yield own
    assert asyncio.all_tasks() <= before


def blocks(samples: Samples) -> Iterator[Samples]:
    for start in range(0, len(samples), BLOCK):
        yield samples[start : start + BLOCK]


async def results(
    audio: Iterator[Samples], engine: FakeRecogniser | None = None, options: Options | None = None
) -> list[Result]:
    async with transcriber(engine or FakeRecogniser()) as own:
        return [result async for result in own.transcribe(audio, options)]


def segments(found: list[Result]) -> list[Segment]:
    return [result for result in found if isinstance(result, Segment)]


def turns(count: int, said_s: float = 1.8) -> Samples:
    return np.concatenate([silence(0.5), speech(said_s), silence(1.0)] * count)


async def test_segments_come_in_order_with_the_times_of_their_words() -> None:
    found = await results(blocks(turns(3)))
    assert [segment.text for segment in segments(found)] == ["one two three four."] * 3
    for number, segment in enumerate(segments(found)):
        assert segment.start_s == pytest.approx(0.5 + 3.3 * number, abs=0.1)
        assert segment.end_s == pytest.approx(2.3 + 3.3 * number, abs=0.1)
        assert "".join(word.text for word in segment.words) == segment.text
        assert (segment.language, segment.emotion, segment.failure) == ("en", "neutral", None)


async def test_progress_grows_to_the_end_of_the_audio() -> None:
    audio = turns(5)
    done_s = [
        result.done_s for result in await results(blocks(audio)) if isinstance(result, Progress)
    ]
    assert done_s == sorted(done_s)
    assert done_s[-1] == len(audio) / 16_000


async def test_speech_up_to_the_last_sample_is_recognised() -> None:
    (segment,) = segments(await results(blocks(np.concatenate([silence(1.0), speech(1.7)]))))
    assert segment.end_s == pytest.approx(2.7, abs=0.05)
    assert segment.text == "one two three four."


async def test_no_audio_and_no_speech_have_no_segments() -> None:
    assert await results(iter([])) == []
    assert segments(await results(blocks(silence(10.0)))) == []


async def test_only_finals_are_recognised_unless_partials_are_asked_for() -> None:
    engine = FakeRecogniser()
    found = await results(blocks(turns(2)), engine)
    assert len(engine.requests) == len(segments(found)) == 2
    live = FakeRecogniser()
    said = turns(2, said_s=9.0)
    again = await results(iter(np.array_split(said, 300)), live, Options(live=True))
    assert segments(again) == segments(await results(blocks(said)))
    assert len(live.requests) > 2
    assert any(isinstance(result, Partial) and result.tentative for result in again)


async def test_speech_without_a_pause_has_partials_as_it_goes() -> None:
    found = await results(blocks(speech(90.0)))
    confirmed = [result.confirmed for result in found if isinstance(result, Partial)]
    assert len(confirmed) > 3
    assert all(
        after.startswith(before) for before, after in zip(confirmed, confirmed[1:], strict=False)
    )
    assert segments(found)[0].text.startswith(confirmed[0])


async def test_several_finals_are_in_flight() -> None:
    most = 0

    def watch(request: Request) -> str:
        nonlocal most
        most = max(most, running.waiting + running.running)
        return "word"

    engine = FakeRecogniser(watch, parallel=2, max_batch=1, delay_s=0.02)
    async with transcriber(engine) as own:
        running = own._scheduler
        async for _ in own.transcribe(blocks(turns(30))):
            pass
    assert most >= 4


async def test_language_and_context_reach_the_engine() -> None:
    engine = FakeRecogniser()
    await results(blocks(turns(1)), engine, Options(language="de", context="Oyez"))
    assert (engine.requests[0].language, engine.requests[0].context) == ("de", "Oyez")


async def test_a_bad_option_names_what_is_allowed() -> None:
    with pytest.raises(TranscriptionError, match="'xx'.*'sv'"):
        await results(blocks(turns(1)), options=Options(language="xx"))


async def test_what_the_file_raises_is_raised() -> None:
    def broken() -> Iterator[Samples]:
        yield speech(1.0)
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await results(broken())


async def test_a_stretch_that_fails_is_a_segment_that_says_so() -> None:
    def fail_once(request: Request) -> str:
        if not failed:
            failed.append(request)
            raise RecognitionError("out of luck")
        return "word"

    failed: list[Request] = []
    first, second = segments(
        await results(blocks(turns(2)), FakeRecogniser(fail_once, max_batch=1))
    )
    assert (first.text, first.words, first.failure) == ("", (), "out of luck")
    assert first.start_s < 0.6 and first.end_s > 2.2
    assert second.text == "word."


async def test_a_full_queue_costs_no_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oyez.runtime.session_jobs.RETRY_S", 0.01)
    async with transcriber(FakeRecogniser()) as own:
        own._scheduler._queue._max_jobs = 1
        found = [result async for result in own.transcribe(blocks(turns(12)))]
    assert len(segments(found)) == 12
    assert all(segment.text == "one two three four." for segment in segments(found))


async def test_what_is_pushed_out_of_the_queue_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("oyez.runtime.session_jobs.RETRY_S", 0.01)
    engine = FakeRecogniser()
    async with transcriber(engine) as own:
        own._scheduler._queue._max_jobs = 3
        engine.may_answer.clear()

        async def collect() -> list[Result]:
            return [result async for result in own.transcribe(blocks(turns(6)))]

        collecting = asyncio.create_task(collect())
        await eventually(lambda: own._scheduler.waiting == 3)
        own._scheduler.submit(make_job(owner="speaker"))
        assert own._scheduler.waiting == 3
        engine.may_answer.set()
        found = segments(await collecting)
    assert [segment.text for segment in found] == ["one two three four."] * 6


async def test_closing_cancels_everything() -> None:
    taken = 0

    def endless() -> Iterator[Samples]:
        nonlocal taken
        while True:
            taken += 1
            yield turns(1)

    async with transcriber(FakeRecogniser(delay_s=0.01)) as own:
        async with aclosing(own.transcribe(endless())) as found:
            async for result in found:
                if isinstance(result, Segment):
                    break
        assert own._scheduler.waiting + own._scheduler.running == 0
        before = taken
        await stays(lambda: taken == before)


async def test_who_takes_no_results_stops_the_reading() -> None:
    taken = 0

    def endless() -> Iterator[Samples]:
        nonlocal taken
        while taken < 10_000:
            taken += 1
            yield turns(1)

    async with (
        transcriber(FakeRecogniser()) as own,
        aclosing(own.transcribe(endless())) as found,
    ):
        await anext(found)
        await asyncio.sleep(0.5)
        seen = taken
        await asyncio.sleep(0.3)
        assert taken == seen < 200


@pytest.mark.slow
async def test_two_hours_take_no_more_memory_than_minutes() -> None:
    def hours(count: int) -> Iterator[Samples]:
        minute = turns(18)
        for _ in range(count * 60):
            yield from blocks(minute)

    process, used_bytes = psutil.Process(), list[int]()
    async with transcriber(FakeRecogniser(remembered=0)) as own:
        async for result in own.transcribe(hours(2)):
            if isinstance(result, Segment):
                used_bytes.append(process.memory_info().rss)
    assert len(used_bytes) > 2000
    whole_bytes = 2 * 3600 * 16_000 * 4
    assert max(used_bytes) - used_bytes[100] < whole_bytes / 20
