from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from oyez.engines.base import WINDOW_SAMPLES
from oyez.protocol.client_events import ClientEvent, UnsupportedEvent
from oyez.protocol.effects import Effect
from oyez.runtime.job import MAX_FINALS
from oyez.runtime.session_runner import EVENTS_PER_SLICE, Peer, SessionRunner
from oyez.runtime.vad_batcher import VadBatcher
from oyez.testing import FakeDetector
from support.waiting import stays


class ScriptedSession:
    """A message of n digits holds n parts of audio, each of so many windows, and of one sample
    that fills none."""

    def __init__(self) -> None:
        self.decoded_samples = self.backlog_samples = 0
        self.calls: list[str] = []
        self._parts: list[int] = []
        self._out = False
        self.when_scored: Callable[[], None] = lambda: None

    @property
    def busy(self) -> bool:
        return bool(self._parts) or self._out

    def receive(self, event: ClientEvent, now_ms: int) -> list[Effect]:
        assert isinstance(event, UnsupportedEvent) and event.event_id is not None
        message = event.event_id
        assert not self.busy, "fed before what came earlier was scored"
        self.calls.append(f"receive {message}")
        self._parts += map(int, message)
        return []

    def drain(self, now_ms: int) -> list[Effect]:
        self.calls.append("drain")
        return []

    def next_windows(self, max_windows: int) -> Any:
        if not self._parts:
            return None
        self._out = True
        samples = self._parts.pop(0) * WINDOW_SAMPLES
        self.decoded_samples += samples + 1
        return np.zeros(samples, np.float32)

    def scored(self, probabilities: Any, now_ms: int) -> list[Effect]:
        self._out = False
        self.calls.append(f"scored {len(probabilities)}")
        self.when_scored()
        return []


class Jobs:
    """So many finals wait for an answer."""

    count = finals_waiting = 0

    def submit(self, effect: Any, runner: SessionRunner) -> None: ...

    def cancel(self, number: int) -> None: ...

    def cancel_all(self) -> None: ...


class Feeding(Peer):
    """The peer of a scripted session, whose events can be held back."""

    def __init__(self, batcher: VadBatcher | None = None) -> None:
        self.session = ScriptedSession()
        self.failures: list[Exception] = []
        self.held_back = False
        self.audio: list[int] = []
        self.jobs = Jobs()
        self.events: deque[ClientEvent] = deque()
        self.runner = SessionRunner(
            self.session,  # type: ignore[arg-type]
            self,
            self.jobs,
            batcher or VadBatcher(FakeDetector()),
            max_backlog_s=10.0,
        )

    def put(self, audio: str) -> None:
        self.events.append(UnsupportedEvent(audio, ""))
        self.runner.wake()

    def may_feed(self) -> bool:
        return not self.held_back

    def has_events(self) -> bool:
        return bool(self.events)

    def next_event(self) -> ClientEvent | None:
        return self.events.popleft() if self.events else None

    def on_audio(self, samples: int) -> None:
        self.audio.append(samples)

    def fail(self, error: Exception) -> None:
        self.failures.append(error)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5.0):
            while not condition():  # noqa: ASYNC110 - it changes in callbacks
                await asyncio.sleep(0)

    async def until_calls(self, *calls: str) -> None:
        await self.until(lambda: len(self.session.calls) >= len(calls))
        await stays(lambda: self.session.calls == list(calls), for_s=0.03)


async def test_what_a_message_holds_is_scored_before_the_next_is_fed() -> None:
    feeding = Feeding()
    for message in ("21", "0", "3"):
        feeding.put(message)
    await feeding.until_calls(
        "receive 21", "scored 2", "scored 1", "receive 0", "scored 0", "receive 3", "scored 3"
    )
    assert sum(feeding.audio) == 6 * WINDOW_SAMPLES + 4


async def test_nothing_is_fed_while_held_back() -> None:
    feeding = Feeding()
    feeding.held_back = True
    feeding.put("1")
    feeding.runner.wake()
    await feeding.until_calls()
    feeding.held_back = False
    feeding.runner.wake()
    await feeding.until_calls("receive 1", "scored 1")
    assert feeding.audio == [WINDOW_SAMPLES + 1]


async def test_draining_comes_before_events_that_wait() -> None:
    feeding = Feeding()
    for audio in ("11", "2"):
        feeding.put(audio)
    drains = iter([feeding.runner.drain])
    feeding.session.when_scored = lambda: next(drains, lambda: None)()
    await feeding.until_calls(
        "receive 11", "scored 1", "drain", "scored 1", "receive 2", "scored 2"
    )


async def test_a_session_that_waits_for_nothing_asks_for_no_slice() -> None:
    asked = []

    class Pool(VadBatcher):
        def schedule(self, runner: SessionRunner, *, behind: bool = False) -> None:
            asked.append(behind)
            super().schedule(runner, behind=behind)

    feeding = Feeding(Pool(FakeDetector()))
    feeding.runner.wake()
    assert not asked
    feeding.put("1")
    feeding.put("")
    await feeding.until_calls("receive 1", "scored 1", "receive ")
    assert asked == [False, True], "one slice for each message, the second without waiting"


async def test_many_messages_without_audio_leave_others_their_slices() -> None:
    batcher = VadBatcher(FakeDetector())
    chatty, quiet = Feeding(batcher), Feeding(batcher)
    for _ in range(10 * EVENTS_PER_SLICE):
        chatty.put("")
    quiet.put("1")
    await quiet.until(lambda: "scored 1" in quiet.session.calls)
    assert len(chatty.session.calls) <= 2 * EVENTS_PER_SLICE
    await chatty.until(lambda: len(chatty.session.calls) == 10 * EVENTS_PER_SLICE)


async def test_a_session_is_not_fed_while_it_waits_for_many_finals_or_much_audio() -> None:
    feeding = Feeding()
    feeding.jobs.finals_waiting = MAX_FINALS
    feeding.put("1")
    await feeding.until_calls()
    feeding.jobs.finals_waiting = MAX_FINALS - 1
    feeding.session.backlog_samples = 161_000
    feeding.jobs.count = 1
    feeding.runner.wake()
    await feeding.until_calls()
    feeding.jobs.count = 0
    feeding.runner.wake()
    await feeding.until_calls("receive 1", "scored 1")


async def test_a_released_runner_calls_neither_session_nor_peer() -> None:
    feeding = Feeding()
    feeding.put("1")
    feeding.runner.release()
    await stays(lambda: feeding.session.calls == [], for_s=0.03)
    feeding.runner.fail(ZeroDivisionError())
    assert feeding.failures == []


async def test_a_bug_reaches_the_peer() -> None:
    feeding = Feeding()

    def buggy(max_windows: int) -> None:
        raise ZeroDivisionError

    feeding.session.next_windows = buggy  # type: ignore[method-assign]
    feeding.put("1")
    await feeding.until(lambda: bool(feeding.failures))
    assert isinstance(feeding.failures[0], ZeroDivisionError)


async def test_a_detector_that_fails_reaches_the_peer() -> None:
    class Failing(FakeDetector):
        def score(self, samples: Any, state: object) -> Any:
            raise ZeroDivisionError

    feeding = Feeding(VadBatcher(Failing()))
    feeding.put("1")
    await feeding.until(lambda: bool(feeding.failures))
    assert isinstance(feeding.failures[0], ZeroDivisionError)
