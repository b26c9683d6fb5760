"""A session and its audio are freed with the last reference, without a garbage collection."""

from __future__ import annotations

import base64
import gc
import itertools
import json
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from oyez.engines.emotion import Neutral
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.effects import Effect, Recognise
from oyez.protocol.errors import ClientError
from oyez.protocol.qwen.dialect import QwenDialect
from oyez.protocol.session import Session
from support.driver import loudness_probabilities, silence, speech, spell
from support.opus_streams import mux
from unit.protocol.test_session_stalled import append_message as _append


class Abandoned:
    """A session with some of its jobs answered, and then let go."""

    def __init__(self, answers: bool) -> None:
        numbers = itertools.count()
        self._answers = answers
        self.session = Session(
            model="m",
            new_id=lambda kind: f"{kind}_{next(numbers)}",
            dialect=QwenDialect(SessionLimits()),
            limits=SessionLimits(),
            emotions=Neutral(),
            now_ms=0,
        )
        self._carry_out(self.session.open())

    def send(self, kind: str, **fields: object) -> None:
        self.raw(json.dumps({"type": kind, **fields}))

    def raw(self, message: str, score: bool = True) -> None:
        event = self.session.dialect.decode(message)
        self._carry_out(self.session.receive(event, 0))
        while score and (windows := self.session.next_windows(64)) is not None:
            self._carry_out(self.session.scored(loudness_probabilities(windows), 0))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Recognise) and self._answers:
                answer: Any = spell(effect.request)
                if effect.job % 5 == 4:
                    answer = ValueError("the engine failed")
                self._carry_out(self.session.recognised(effect.job, answer, 0))


SAID = np.concatenate([silence(0.5), speech(1.5), silence(1.2), speech(13.0), silence(0.5)])
OPUS = mux("ogg", np.tile(speech(1.0), 3))


def _opus(name: str) -> Callable[[Abandoned], None]:
    def go(it: Abandoned) -> None:
        it.send("session.update", session={"input_audio_format": "opus"})
        data = OPUS if name == "half decoded" else b"OggS" + bytes(9000)
        audio = base64.b64encode(data * 30).decode()
        message = json.dumps({"type": "input_audio_buffer.append", "audio": audio})
        it.raw(message, score=False)
        it.session.next_windows(64)

    return go


def _manual(it: Abandoned) -> None:
    it.send("session.update", session={"turn_detection": None})
    it.raw(_append(SAID))
    it.send("input_audio_buffer.commit")
    it.raw(_append(SAID))


def _bad_messages(it: Abandoned) -> None:
    for message in ("{", "{}", '{"type":7}'):
        it.raw(message)


def _cleared(it: Abandoned) -> None:
    it.raw(_append(SAID))
    it.send("input_audio_buffer.clear")


def _finishing(it: Abandoned) -> None:
    it.raw(_append(SAID))
    it.send("session.finish")


def _stalled(it: Abandoned) -> None:
    it.raw(_append(SAID))
    it.session.tick(10_000)


def _ended(it: Abandoned) -> None:
    it.raw(_append(SAID), score=False)
    it.session.end(ClientError("The key was revoked.", code="InvalidApiKey"), 0)


STATES: dict[str, Callable[[Abandoned], None]] = {
    "nothing came": lambda it: None,
    "configured": lambda it: it.send("session.update", session={"language": "de"}),
    "bad messages": _bad_messages,
    "silence": lambda it: it.raw(_append(silence(1.0))),
    "not scored": lambda it: it.raw(_append(SAID), score=False),
    "mid turn": lambda it: it.raw(_append(SAID)),
    "cleared": _cleared,
    "manual": _manual,
    "half decoded": _opus("half decoded"),
    "undecodable": _opus("undecodable"),
    "finishing": _finishing,
    "stalled": _stalled,
    "ended": _ended,
}


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("state", STATES)
def test_a_session_is_freed_when_it_is_let_go(state: str, answers: bool) -> None:
    gc.collect()
    gc.disable()
    try:
        abandoned = Abandoned(answers)
        STATES[state](abandoned)
        parts = [abandoned.session, *_parts(abandoned.session)]
        left = [(type(part).__name__, weakref.ref(part)) for part in parts if _is_ours(part)]
        del parts, abandoned
        assert [name for name, ref in left if ref() is not None] == []
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        in_cycles = {type(each).__name__ for each in gc.garbage if _module(each) in ROOMS}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert in_cycles == set()


ROOMS = ("oyez.protocol", "oyez.audio", "oyez.turns", "oyez.engines")


def _module(part: object) -> str:
    return ".".join(type(part).__module__.split(".")[:2])


def _is_ours(part: object) -> bool:
    return _module(part) in ROOMS and hasattr(part, "__weakref__")


def _parts(session: Session) -> list[object]:
    """What the session holds, and what that holds."""
    found = [vars(session)[name] for name in ("_conversation", "_input")]
    return found + [part for each in found if each for part in vars(each).values()]
