"""One session: events and answers in, effects out.

Every method returns the effects to carry out, in order. None raises for anything that a client
sends: an exception is a bug. There is no I/O and no clock: `now_ms` comes from any clock that does
not go back, ids come from `new_id`.

The caller gives one event to `receive` (or calls `tick` or `drain`), then scores what
`next_windows` hands out and returns the probabilities to `scored` until `next_windows` has nothing
left, then gives the next event. Answers of recognisers come in through `recognised` whenever they
are there.

No object of a session refers back to one that holds it, so a session and its audio are freed
without a garbage collection when the last reference to the session is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from oyez.audio.pcm import Samples
from oyez.engines.base import EmotionTracker, Hypothesis
from oyez.protocol.audio_input import AudioInput, ManualTurns, VadTurns
from oyez.protocol.client_events import (
    AudioAppend,
    AudioClear,
    AudioCommit,
    ClientEvent,
    Malformed,
    SessionFinish,
    SessionUpdate,
    UnsupportedEvent,
)
from oyez.protocol.conversation import Conversation
from oyez.protocol.dialect import Dialect, SessionLimits
from oyez.protocol.effects import Close, Count, Effect, Send
from oyez.protocol.errors import ClientError, ProtocolError
from oyez.protocol.server_events import (
    BufferCleared,
    ErrorEvent,
    SessionCreated,
    SessionFinished,
    SessionUpdated,
)


class State(Enum):
    """Where a session is in its life."""

    OPEN = auto()
    """Events are taken in."""
    FINISHING = auto()
    """No more events are taken in. Audio that came before is recognised and answered."""
    FINISHED = auto()
    """`session.finished` was sent. The client may close until the deadline."""
    CLOSED = auto()
    """The session asked for the socket to be closed."""


TRANSITIONS = {
    State.OPEN: State.FINISHING,
    State.FINISHING: State.FINISHED,
    State.FINISHED: State.CLOSED,
}


@dataclass(frozen=True, slots=True)
class _Stalled:
    """A control: no audio has come for too long."""


class Session:
    """The state of one session; see the module for how to drive it."""

    def __init__(
        self,
        *,
        model: str,
        dialect: Dialect,
        new_id: Callable[[str], str],
        limits: SessionLimits,
        emotions: EmotionTracker,
        now_ms: int,
    ) -> None:
        self.id = new_id("sess")
        self.dialect = dialect
        self._model = model
        self._limits = limits
        self._conversation = Conversation(
            new_id, emotions, limits.max_transcript_chars, limits.languages
        )
        self._send = self._conversation.send
        self._input: AudioInput | None = None
        self._controls: list[ClientEvent | _Stalled] = []
        """Events that take effect behind the audio before them."""
        self._state = State.OPEN
        self._linger_ms = 0
        """How long the client may take to close, once the session has finished."""
        self._close_at_ms = 0
        """When the session closes, once it has finished."""
        self._began_ms = self._last_input_ms = self._last_audio_ms = now_ms

    @property
    def finished(self) -> bool:
        """Whether `session.finished` was sent."""
        return self._state in (State.FINISHED, State.CLOSED)

    @property
    def backlog_samples(self) -> int:
        """Audio that waits for its final: take in no more input while it is too much."""
        return self._conversation.backlog_samples

    @property
    def decoded_samples(self) -> int:
        """Audio decoded since the session began."""
        return self._input.decoded_samples if self._input else 0

    @property
    def settled_samples(self) -> int:
        """All audio before this sample has its final, or is known to hold no speech."""
        return self._input.settled_samples if self._input else 0

    @property
    def encoded_bytes(self) -> int:
        """The size of the encoded audio that waits to be decoded."""
        return self._input.encoded_bytes if self._input else 0

    @property
    def audio_bytes(self) -> int:
        """The memory of decoded audio that is still needed."""
        return self._input.audio_bytes if self._input else 0

    @property
    def busy(self) -> bool:
        """Whether `next_windows` has something to do."""
        return self._input is not None and self._input.busy

    def open(self) -> list[Effect]:
        """Begin the session: `session.created`."""
        return [self._send(SessionCreated, session=self.dialect.session_info(self.id, self._model))]

    def receive(self, event: ClientEvent, now_ms: int) -> list[Effect]:
        """Take in one event of the client."""
        self._last_input_ms = now_ms
        if self._state is not State.OPEN:
            return []
        match event:
            case AudioAppend():
                return self._append(event, now_ms)
            case SessionUpdate():
                return [self._update(event)]
            case SessionFinish():
                return self.drain(now_ms)
            case UnsupportedEvent():
                return [Count("foreign_events")]
            case Malformed():
                return [self._send(ErrorEvent, error=event.error)]
            case AudioCommit() if self.dialect.config.turn_detection is not None:
                # an error here ends real clients, which commit at hang-up; the audio is kept
                return [Count("commits_in_vad_mode")]
            case _:
                return self._control(event, now_ms)

    def next_windows(self, max_windows: int) -> Samples | None:
        """Return audio to score, float32 [n * 512], where n may be 0; None: nothing waits.

        Encoded audio is decoded here, at most 2 s of it or some 2 ms of work per call, whatever it
        is. n is 0 while no window is full; `scored` must then be called with no probabilities."""
        return self._input.next_windows(max_windows) if self._input else None

    def scored(self, probabilities: NDArray[np.float32], now_ms: int) -> list[Effect]:
        """Take the speech probabilities of the windows handed out last, float32 [n]."""
        assert self._input is not None
        return self._input.scored(probabilities) + self._run_controls(now_ms)

    def recognised(self, job: int, outcome: Hypothesis | Exception, now_ms: int) -> list[Effect]:
        """Take the answer to a `Recognise` effect."""
        return self._conversation.recognised(job, outcome) + self._finish_if_done(now_ms)

    def tick(self, now_ms: int, more_waits: bool = False) -> list[Effect]:
        """Let time pass; call about once a second. more_waits: input has come that was not handed
        to `receive` yet, so the client is not silent."""
        if more_waits:
            self._last_input_ms = now_ms
        if more_waits or self.busy:
            self._last_audio_ms = now_ms
        if self._state is State.OPEN:
            return self._tick_open(now_ms)
        if self._state is State.FINISHED and now_ms >= self._close_at_ms:
            self._enter(State.CLOSED)
            return [Close(1000, "session finished")]
        return []

    def drain(self, now_ms: int) -> list[Effect]:
        """Finish the session for the server, as if the client had sent `session.finish`."""
        if self._state is not State.OPEN:
            return []
        return self._finish(now_ms, self._limits.close_after_finish_ms)

    def end(self, error: ProtocolError, now_ms: int) -> list[Effect]:
        """Send an error and finish the session, because it may not go on. Audio that is not decoded
        yet is dropped. Once `session.finish` has come, no error is sent any more."""
        if self._input:
            self._input.discard_pending()
        if self._state is not State.OPEN:
            return []
        return [self._error(error, None), *self.drain(now_ms)]

    def fault(self) -> Send:
        """Return the error event for a bug of the server."""
        return self._error(ProtocolError("Internal service error.", code="InternalError"), None)

    def _enter(self, state: State) -> None:
        assert TRANSITIONS.get(self._state) is state, f"{self._state} to {state}"
        self._state = state

    def _append(self, event: AudioAppend, now_ms: int) -> list[Effect]:
        if not event.audio:
            return []
        self._last_audio_ms = now_ms
        if self._input is None:
            config = self.dialect.config
            mode = VadTurns if config.turn_detection else ManualTurns
            self._input = mode(config, self._conversation, self._limits)
        self._input.append(event.audio, event.event_id)
        return []

    def _update(self, event: SessionUpdate) -> Send:
        try:
            if self._input is not None:
                raise ClientError(self.dialect.late_update, code="invalid_value", param="session")
            self.dialect.configure(event.session)
        except ClientError as error:
            return self._error(error, event.event_id)
        return self._send(SessionUpdated, session=self.dialect.session_info(self.id, self._model))

    def _tick_open(self, now_ms: int) -> list[Effect]:
        if now_ms - self._last_input_ms >= self._limits.idle_timeout_ms:
            return [Count("idle_timeouts"), *self._finish(now_ms, linger_ms=0)]
        if 0 < self._limits.max_session_ms <= now_ms - self._began_ms:
            return [Count("session_timeouts"), *self._finish(now_ms, linger_ms=0)]
        stalled_after_ms = self._input.stalled_after_ms if self._input else 0
        if self._input is None or not 0 < stalled_after_ms <= now_ms - self._last_audio_ms:
            return []
        # the client sends no more audio: end the turn as silence would end it
        self._input.end_audio()  # audio that the resampler holds belongs to the turn
        return [Count("stalled_turns"), *self._control(_Stalled(), now_ms)]

    def _finish(self, now_ms: int, linger_ms: int) -> list[Effect]:
        """Take in no more events, and finish behind all audio. linger_ms: how long the client may
        take to close then."""
        self._enter(State.FINISHING)
        self._linger_ms = linger_ms
        if self._input:
            self._input.end_audio()
        return self._control(SessionFinish(None), now_ms)

    def _control(self, event: ClientEvent | _Stalled, now_ms: int) -> list[Effect]:
        """Carry out a control event, behind all audio that came before it."""
        self._controls.append(event)
        return self._run_controls(now_ms)

    def _run_controls(self, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        while self._controls and not self.busy:
            effects += self._run(self._controls.pop(0), now_ms)
        return effects

    def _run(self, event: ClientEvent | _Stalled, now_ms: int) -> list[Effect]:
        audio = self._input
        match event:
            case AudioCommit():
                effects = audio.commit() if audio else None
                if effects is None:
                    message, code = self.dialect.empty_commit, "input_audio_buffer_commit_empty"
                    return [self._error(ClientError(message, code=code), event.event_id)]
                return effects
            case _Stalled():
                return audio.end_stalled() if audio else []
            case AudioClear():
                return [*(audio.clear() if audio else []), self._send(BufferCleared)]
            case _:
                return (audio.finish() if audio else []) + self._finish_if_done(now_ms)

    def _finish_if_done(self, now_ms: int) -> list[Effect]:
        """Send `session.finished` when everything is answered."""
        is_waiting = self._controls or self._conversation.open_count
        if self._state is not State.FINISHING or is_waiting:
            return []
        self._enter(State.FINISHED)
        self._close_at_ms = now_ms + self._linger_ms
        return [self._send(SessionFinished, transcript=self._conversation.transcript)]

    def _error(self, error: ProtocolError, event_id: str | None) -> Send:
        return self._send(ErrorEvent, error=error.detail(event_id))
