from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from oyez.engines.base import WINDOW_SAMPLES
from oyez.metrics import Tally
from oyez.runtime.vad_batcher import VadPool
from oyez.server.session.feeder import MESSAGE_OVERHEAD_BYTES, MESSAGES_A_TURN, Feeder
from oyez.testing import FakeDetector


class ScriptedSession:
    """A message of n digits holds n slices of audio, each of so many windows, and of one sample
    that fills none."""

    def __init__(self) -> None:
        self.heard_samples = 0
        self.calls: list[str] = []
        self._slices: list[int] = []
        self._out = False
        self.when_scored: Callable[[], None] = lambda: None

    @property
    def busy(self) -> bool:
        return bool(self._slices) or self._out

    def receive(self, message: str) -> None:
        assert not self.busy, "fed before what came earlier was scored"
        self.calls.append(f"receive {message}")
        self._slices += map(int, message)

    def drain(self) -> None:
        self.calls.append("drain")

    def next_windows(self, max_windows: int) -> Any:
        if not self._slices:
            return None
        self._out = True
        samples = self._slices.pop(0) * WINDOW_SAMPLES
        self.heard_samples += samples + 1
        return np.zeros(samples, np.float32)

    def scored(self, probabilities: Any) -> None:
        self._out = False
        self.calls.append(f"scored {len(probabilities)}")
        self.when_scored()


class Feeding:
    """A feeder, its session, and who may hold it back."""

    def __init__(self, pool: VadPool | None = None) -> None:
        self.session = ScriptedSession()
        self.failures: list[Exception] = []
        self.held_back = False
        self.heard: list[tuple[int, float]] = []
        self.tally = Tally()
        self.feeder = Feeder(
            self.session,  # type: ignore[arg-type]
            pool or VadPool(FakeDetector()),
            call=lambda method, *arguments: method(*arguments),
            fail=self.failures.append,
            held_back=lambda: self.held_back,
            heard=lambda samples, arrived_s: self.heard.append((samples, arrived_s)),
            tally=self.tally,
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5.0):
            while not condition():  # noqa: ASYNC110 - it changes in callbacks
                await asyncio.sleep(0)

    async def until_calls(self, *calls: str) -> None:
        await self.until(lambda: len(self.session.calls) >= len(calls))
        await asyncio.sleep(0.03)
        assert self.session.calls == list(calls)


async def test_what_a_message_holds_is_scored_before_the_next_is_fed() -> None:
    feeding = Feeding()
    for message in ("21", "0", "3"):
        feeding.feeder.put(message)
    await feeding.until_calls(
        "receive 21", "scored 2", "scored 1", "receive 0", "scored 0", "receive 3", "scored 3"
    )
    assert sum(samples for samples, _ in feeding.heard) == 6 * WINDOW_SAMPLES + 4


async def test_nothing_is_fed_while_held_back() -> None:
    feeding = Feeding()
    feeding.held_back = True
    feeding.feeder.put("1")
    put_s = time.monotonic()
    feeding.feeder.wake()
    await feeding.until_calls()
    feeding.held_back = False
    feeding.feeder.wake()
    await feeding.until_calls("receive 1", "scored 1")
    ((samples, arrived_s),) = feeding.heard
    assert samples == WINDOW_SAMPLES + 1
    assert arrived_s <= put_s, "audio is as old as its message, however long that was held back"


async def test_draining_comes_before_messages_but_not_amid_one() -> None:
    feeding = Feeding()
    for message in ("11", "2"):
        feeding.feeder.put(message)
    drains = iter([feeding.feeder.drain])
    feeding.session.when_scored = lambda: next(drains, lambda: None)()
    await feeding.until_calls(
        "receive 11", "scored 1", "scored 1", "drain", "receive 2", "scored 2"
    )


async def test_a_session_that_waits_for_nothing_asks_for_no_turn() -> None:
    asked = []

    class Pool(VadPool):
        def ask_turn(self, hearer: Any, *, behind: bool = False) -> None:
            asked.append(behind)
            super().ask_turn(hearer, behind=behind)

    feeding = Feeding(Pool(FakeDetector()))
    feeding.feeder.wake()
    assert not asked
    feeding.feeder.put("1")
    feeding.feeder.put("")
    await feeding.until_calls("receive 1", "scored 1", "receive ")
    assert asked == [False, True], "one turn for each message, the second without waiting"


async def test_many_messages_without_audio_leave_others_their_turn() -> None:
    pool = VadPool(FakeDetector())
    chatty, quiet = Feeding(pool), Feeding(pool)
    for _ in range(10 * MESSAGES_A_TURN):
        chatty.feeder.put("")
    quiet.feeder.put("1")
    await quiet.until(lambda: "scored 1" in quiet.session.calls)
    assert len(chatty.session.calls) <= 2 * MESSAGES_A_TURN
    await chatty.until(lambda: len(chatty.session.calls) == 10 * MESSAGES_A_TURN)


async def test_what_waits_is_counted_until_it_is_taken_in() -> None:
    feeding = Feeding()
    feeding.held_back = True
    feeding.feeder.put("9" * 1000)
    feeding.feeder.put("")
    assert feeding.feeder.waiting_bytes == 1000 + 2 * MESSAGE_OVERHEAD_BYTES
    assert feeding.feeder.has_input
    feeding.held_back = False
    feeding.feeder.wake()
    await feeding.until(lambda: not feeding.feeder.has_input)
    assert feeding.feeder.waiting_bytes == 0


async def test_a_released_feeder_holds_nothing_and_calls_nobody() -> None:
    feeding = Feeding()
    feeding.feeder.put("1")
    feeding.feeder.release()
    await asyncio.sleep(0.03)
    assert feeding.session.calls == []
    assert feeding.feeder.waiting_bytes == 0


async def test_our_bugs_are_told() -> None:
    feeding = Feeding()

    def buggy(max_windows: int) -> None:
        raise ZeroDivisionError

    feeding.session.next_windows = buggy  # type: ignore[method-assign]
    feeding.feeder.put("1")
    await feeding.until(lambda: bool(feeding.failures))
    assert isinstance(feeding.failures[0], ZeroDivisionError)


async def test_a_detector_that_fails_is_told() -> None:
    class Failing(FakeDetector):
        def score(self, samples: Any, state: object) -> Any:
            raise ZeroDivisionError

    feeding = Feeding(VadPool(Failing()))
    feeding.feeder.put("1")
    await feeding.until(lambda: bool(feeding.failures))
    assert isinstance(feeding.failures[0], ZeroDivisionError)
