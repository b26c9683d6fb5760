"""One session of the wire protocol: messages and answers in, effects out.

The contract. Every method returns the effects to carry out, in order, and never raises for
anything a client sends; an exception out of here is our bug. No I/O, no clock: `now_ms` is any
clock that does not go back, ids come from `new_id`.

The caller feeds one frame to `receive` (or calls `tick` or `drain`), then scores what
`next_windows` hands out and returns the probabilities to `scored` until `next_windows` has nothing
left, then feeds the next frame. Answers of recognisers come in through `recognised` whenever they
are there.

No object of a session refers back to one that holds it, so that whoever lets go of the session
frees its audio at once, without a garbage collection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oyez.audio.pcm import Samples
from oyez.engines.base import EmotionTracker, Hypothesis
from oyez.protocol import codec
from oyez.protocol.client_events import (
    AudioAppend,
    AudioClear,
    AudioCommit,
    ClientEvent,
    Foreign,
    SessionFinish,
    SessionUpdate,
)
from oyez.protocol.effects import Close, Count, Effect, Send
from oyez.protocol.errors import ClientError, ProtocolError
from oyez.protocol.items import Items
from oyez.protocol.limits import SessionLimits
from oyez.protocol.listener import Listener
from oyez.protocol.manual_mode import ManualListener
from oyez.protocol.server_events import (
    BufferCleared,
    ErrorEvent,
    ServerEvent,
    SessionCreated,
    SessionFinished,
    SessionUpdated,
)
from oyez.protocol.session_config import SessionConfig, merge
from oyez.protocol.vad_mode import VadListener

LATE_UPDATE = "Session update error: session already started or finished or failed."
EMPTY_COMMIT = "Error committing input audio buffer: buffer too small, or have no audio."

NewId = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class _Stalled:
    """No audio has come for too long."""


class Session:
    """The state of one session; see the module for how to drive it."""

    def __init__(
        self,
        *,
        model: str,
        new_id: NewId,
        limits: SessionLimits,
        emotions: EmotionTracker,
        now_ms: int,
    ) -> None:
        self.id = new_id("sess")
        self.finished = False
        """`session.finished` was sent."""
        self._model = model
        self._limits = limits
        self._config = SessionConfig()
        self._items = Items(new_id, emotions, limits.max_transcript_chars, limits.languages)
        self._listener: Listener | None = None
        self._controls: list[ClientEvent | _Stalled] = []
        self._finishing = False
        self._closing = False
        self._close_at_ms: int | None = None
        self._linger_ms = limits.close_after_finish_ms
        self._began_ms = self._last_input_ms = self._last_audio_ms = now_ms

    @property
    def backlog_samples(self) -> int:
        """Audio that waits for its final: read no more input while it is too much."""
        return self._items.backlog_samples

    @property
    def heard_samples(self) -> int:
        """Audio that was decoded since the session began."""
        return self._listener.heard_samples if self._listener else 0

    @property
    def settled_samples(self) -> int:
        """All audio before this sample has its final, or is known to hold no speech."""
        return self._listener.settled_samples if self._listener else 0

    @property
    def encoded_bytes(self) -> int:
        """Audio in memory that waits to be decoded, as it came, in bytes."""
        return self._listener.encoded_bytes if self._listener else 0

    @property
    def audio_bytes(self) -> int:
        """Memory of decoded audio that is still needed."""
        return self._listener.audio_bytes if self._listener else 0

    @property
    def busy(self) -> bool:
        """Whether `next_windows` has something to do."""
        return self._listener is not None and self._listener.busy

    def open(self) -> list[Effect]:
        """The session begins: `session.created`."""
        return [self._send(SessionCreated, session=self._config.as_wire(self.id, self._model))]

    def receive(self, message: str | bytes, now_ms: int) -> list[Effect]:
        """One text or binary frame from the client."""
        self._last_input_ms = now_ms
        if self._finishing:
            return []
        try:
            event = codec.decode(message, max_append_bytes=self._limits.max_append_bytes)
        except ClientError as error:
            return [self._error(error, None)]
        try:
            return self._handle(event, now_ms)
        except ClientError as error:
            return [self._error(error, event.event_id)]

    def next_windows(self, max_windows: int) -> Samples | None:
        """Audio that waits to be scored, float32 [n * 512], n may be 0; None: nothing waits.
        Encoded audio is decoded here, at most 2 s of it or some 2 ms of work a call, whatever it
        is: n is 0 until a window is full, and `scored` takes that too."""
        return self._listener.next_windows(max_windows) if self._listener else None

    def scored(self, probabilities: NDArray[np.float32], now_ms: int) -> list[Effect]:
        """Speech probabilities of the windows handed out last, float32 [n]."""
        assert self._listener is not None
        effects = self._listener.scored(probabilities)
        for error, event_id in self._listener.take_errors():
            undecodable = ClientError(error, code="invalid_value", param="audio")
            effects.append(self._error(undecodable, event_id))
        return effects + self._run_controls(now_ms)

    def recognised(self, job: int, outcome: Hypothesis | Exception, now_ms: int) -> list[Effect]:
        """The answer to a `Recognise` effect."""
        return self._items.recognised(job, outcome) + self._finish_if_done(now_ms)

    def tick(self, now_ms: int, more_waits: bool = False) -> list[Effect]:
        """Time passes; call about once a second. more_waits: input has come that was not handed
        to `receive` yet, so it is not the client who is silent."""
        if more_waits:
            self._last_input_ms = now_ms
        if more_waits or self.busy:
            self._last_audio_ms = now_ms
        if self._closing:
            return []
        if self._close_at_ms is not None:
            return self._close("session finished") if now_ms >= self._close_at_ms else []
        if self._finishing:
            return []
        if now_ms - self._last_input_ms >= self._limits.idle_timeout_ms:
            return self._time_out("idle_timeouts", now_ms)
        if 0 < self._limits.max_session_ms <= now_ms - self._began_ms:
            return self._time_out("session_timeouts", now_ms)
        return self._end_stalled(now_ms)

    def _end_stalled(self, now_ms: int) -> list[Effect]:
        """End a turn that waits for audio of a client who sends none, as silence would."""
        limit_ms = self._listener.stalled_after_ms if self._listener else 0
        if self._listener is None or not 0 < limit_ms <= now_ms - self._last_audio_ms:
            return []
        self._listener.end_of_audio()  # what the resampler holds was said, too
        return [Count("stalled_turns"), *self._control(_Stalled(), now_ms)]

    def _time_out(self, name: str, now_ms: int) -> list[Effect]:
        self._linger_ms = 0
        return [Count(name), *self.drain(now_ms)]

    def drain(self, now_ms: int) -> list[Effect]:
        """The server ends the session: as if the client had sent `session.finish`."""
        if self._finishing:
            return []
        return self._control(SessionFinish(None), now_ms)

    def end(self, error: ProtocolError, now_ms: int) -> list[Effect]:
        """The session may not go on: say why, then as `drain` after what it is just hearing,
        however much it was sent. Once `session.finish` has come, nothing more is said."""
        if self._listener:
            self._listener.stop_hearing()
        if self._finishing:
            return []
        return [self._error(error, None), *self.drain(now_ms)]

    def _handle(self, event: ClientEvent, now_ms: int) -> list[Effect]:
        match event:
            case AudioAppend():
                return self._append(event, now_ms)
            case SessionUpdate():
                return self._update(event)
            case Foreign():
                return [Count("foreign_events")]
            case AudioCommit() if self._config.turn_detection is not None:
                # An error here ends real clients, which commit at hang-up; the audio is kept.
                return [Count("commits_in_vad_mode")]
            case _:
                return self._control(event, now_ms)

    def _update(self, event: SessionUpdate) -> list[Effect]:
        if self._listener is not None:
            raise ClientError(LATE_UPDATE, code="invalid_value", param="session")
        self._config = merge(self._config, event.session, self._limits)
        return [self._send(SessionUpdated, session=self._config.as_wire(self.id, self._model))]

    def _append(self, event: AudioAppend, now_ms: int) -> list[Effect]:
        if not event.audio:
            return []
        self._last_audio_ms = now_ms
        if self._listener is None:
            self._listener = self._listen()
        self._listener.hear(event.audio, event.event_id)
        return []

    def _listen(self) -> Listener:
        detection = self._config.turn_detection
        if detection is None:
            return ManualListener(self._config, self._items, self._limits)
        return VadListener(self._config, self._items, detection, self._limits)

    def _control(self, event: ClientEvent | _Stalled, now_ms: int) -> list[Effect]:
        """Carry out a control event, behind all audio that came before it."""
        if isinstance(event, SessionFinish):
            self._finishing = True
            if self._listener:
                self._listener.end_of_audio()
        self._controls.append(event)
        return self._run_controls(now_ms)

    def _run_controls(self, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        while self._controls and not self.busy:
            effects += self._run(self._controls.pop(0), now_ms)
        return effects

    def _run(self, event: ClientEvent | _Stalled, now_ms: int) -> list[Effect]:
        match event:
            case AudioCommit():
                return self._commit(event)
            case _Stalled():
                return self._listener.end_stalled() if self._listener else []
            case AudioClear():
                effects = self._listener.clear() if self._listener else []
                return [*effects, self._send(BufferCleared)]
            case _:
                effects = self._listener.finish() if self._listener else []
                return effects + self._finish_if_done(now_ms)

    def _commit(self, event: AudioCommit) -> list[Effect]:
        effects = self._listener.commit() if self._listener else None
        if effects is None:
            error = ClientError(EMPTY_COMMIT, code="input_audio_buffer_commit_empty")
            return [self._error(error, event.event_id)]
        return effects

    def _finish_if_done(self, now_ms: int) -> list[Effect]:
        waiting = self._controls or self._items.open_count
        if not self._finishing or self.finished or waiting:
            return []
        self.finished = True
        self._close_at_ms = now_ms + self._linger_ms
        return [self._send(SessionFinished, transcript=self._items.transcript)]

    def _close(self, reason: str) -> list[Effect]:
        self._closing = True
        return [Close(1000, reason)]

    def _error(self, error: ProtocolError, event_id: str | None) -> Send:
        return self._send(ErrorEvent, error=error.detail(event_id))

    def _send(self, event: type[ServerEvent], **fields: Any) -> Send:
        return self._items.send(event, **fields)
