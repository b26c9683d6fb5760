"""The dialect of Qwen-ASR-Realtime for one session, with its configuration as the client named it.

An update changes the keys that it has, and null resets a key to its default, except
`turn_detection`, where null means manual mode. Keys that oyez does not know are ignored, because
the official SDKs send those of sibling services (`voice`, `instructions`, …).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, structs

from oyez.protocol.client_events import ClientEvent, Malformed
from oyez.protocol.dialect import SessionConfig, SessionLimits, TurnDetection
from oyez.protocol.effects import Effect, Send
from oyez.protocol.errors import ClientError, invalid_value, unfit_value
from oyez.protocol.qwen import codec
from oyez.protocol.qwen.schema import (
    MODALITIES,
    NestedFormat,
    SessionPatch,
    TranscriptionPatch,
    languages,
)
from oyez.protocol.server_events import (
    CorpusInfo,
    SessionInfo,
    TranscriptionInfo,
    TurnDetectionInfo,
)

MAX_MODEL_CHARS = 200
"""The longest `input_audio_transcription.model`, which is echoed."""
_DETECTION = TurnDetectionInfo(**asdict(TurnDetection()))
DEFAULTS = SessionInfo(
    id="",
    model="",
    input_audio_format="pcm",
    sample_rate=16000,
    input_audio_transcription=None,
    turn_detection=_DETECTION,
)
"""The configuration before the first update."""


class QwenDialect:
    """Implements `Dialect`. It keeps the configuration as `session.updated` shows it."""

    late_update = "Session update error: session already started or finished or failed."
    empty_commit = "Error committing input audio buffer: buffer too small, or have no audio."

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._info = DEFAULTS

    @property
    def config(self) -> SessionConfig:
        return in_force(self._info)

    def decode(self, message: str | bytes) -> ClientEvent:
        try:
            return codec.decode(message, max_append_bytes=self._limits.max_append_bytes)
        except ClientError as error:
            # the error itself refers to this frame: kept in an event, it would keep its session
            return Malformed(error.event_id, error.detail())

    def encode(self, effect: Effect) -> list[str]:
        return [codec.encode(effect.event)] if isinstance(effect, Send) else []

    def configure(self, update: Any) -> None:
        self._info = merge(self._info, update, self._limits)

    def session_info(self, session_id: str, model: str) -> SessionInfo:
        return structs.replace(self._info, id=session_id, model=model)


def in_force(info: SessionInfo) -> SessionConfig:
    """Return what a configuration means for the session."""
    asked, detection = info.input_audio_transcription, info.turn_detection
    return SessionConfig(
        codec_name="opus" if "opus" in info.input_audio_format else "pcm",
        sample_rate=info.sample_rate,
        language=asked.language if asked else None,
        context=asked.corpus.text if asked and asked.corpus else "",
        turn_detection=msgspec.convert(detection, TurnDetection | None, from_attributes=True),
    )


def merge(info: SessionInfo, update: dict[str, Any], limits: SessionLimits) -> SessionInfo:
    """Return `info` changed by the `session` object of an update.

    All or nothing: raises ClientError, naming the field by its dotted path and the allowed
    values, and then nothing has changed. Of several wrong values the error is about the first,
    but those that only the limits exclude come last.
    """
    try:
        asked = msgspec.convert(_with_whole_numbers(update), SessionPatch)
    except msgspec.ValidationError as error:
        raise unfit_value(error, SessionPatch, update, "session", limits) from None
    if isinstance(asked.modalities, list) and "text" not in asked.modalities:
        raise invalid_value("session.modalities", asked.modalities, MODALITIES)
    nested = asked.audio and asked.audio.input and asked.audio.input.format or NestedFormat()
    name, rate = info.input_audio_format, info.sample_rate
    for new_name in (asked.input_audio_format, nested.type):
        name = name if new_name is UNSET else new_name or DEFAULTS.input_audio_format
    for new_rate in (asked.sample_rate, nested.sample_rate, nested.rate):
        rate = rate if new_rate is UNSET else new_rate or DEFAULTS.sample_rate
    transcription, detection = info.input_audio_transcription, info.turn_detection
    if asked.input_audio_transcription is None:
        transcription = None
    elif asked.input_audio_transcription:
        path = "session.input_audio_transcription"
        transcription = _merged(transcription, asked.input_audio_transcription, path, limits)
    aliases = TranscriptionPatch(asked.language, asked.corpus, asked.corpus_text)
    if any(value not in (UNSET, None) for value in structs.astuple(aliases)):
        transcription = _merged(transcription, aliases, "session", limits)
    if asked.turn_detection is None:
        detection = None
    elif asked.turn_detection:
        given = structs.asdict(asked.turn_detection).items()
        numbers = {key: value for key, value in given if value not in (UNSET, None)}
        detection = structs.replace(detection or _DETECTION, **numbers)
    return structs.replace(
        info,
        input_audio_format=name,
        sample_rate=rate,
        input_audio_transcription=transcription,
        turn_detection=detection,
    )


def _with_whole_numbers(value: Any) -> Any:
    """Return an update with 800 in place of 800.0."""
    if isinstance(value, dict):
        return {key: _with_whole_numbers(each) for key, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _merged(
    current: TranscriptionInfo | None, asked: TranscriptionPatch, path: str, limits: SessionLimits
) -> TranscriptionInfo:
    """Return what is asked for after an update. path: where its keys stand."""
    current = current or TranscriptionInfo()
    language, model, corpus = current.language, current.model, current.corpus
    if asked.language is not UNSET:
        language = _language(asked.language, f"{path}.language", limits)
    if asked.model is not UNSET:
        is_text = isinstance(asked.model, str)
        model = _bounded(asked.model, f"{path}.model", MAX_MODEL_CHARS) if is_text else None
    if asked.corpus_text is not UNSET:
        corpus = _corpus(asked.corpus_text, f"{path}.corpus_text", limits)
    if asked.corpus is not UNSET:
        text = asked.corpus.text if asked.corpus else None
        corpus = _corpus(text, f"{path}.corpus.text", limits)
    return TranscriptionInfo(model=model, language=language, corpus=corpus)


def _language(value: str | None, param: str, limits: SessionLimits) -> str | None:
    code = (value or "").strip().lower()
    if not value or code == "auto":
        return None
    if code not in limits.allowed_languages:
        raise invalid_value(param, value, languages(limits))
    return code


def _corpus(text: str | UnsetType | None, param: str, limits: SessionLimits) -> CorpusInfo | None:
    return CorpusInfo(text=_bounded(text, param, limits.max_corpus_chars)) if text else None


def _bounded(text: str, param: str, max_chars: int) -> str:
    if len(text) > max_chars:
        raise ClientError(
            f"Invalid value: {len(text)} characters. At most {max_chars} may be sent.",
            code="invalid_value",
            param=param,
        )
    return text
