"""A session's configuration as the client named it, and how `session.update` changes it.

Absent is not null: only the keys present in an update change; null resets a key to its default,
except `turn_detection`, where null means manual mode. Keys oyez does not know are ignored, because
the official SDKs send those of sibling services (`voice`, `instructions`, …).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from oyez.protocol.dialect import SessionConfig, TurnDetection
from oyez.protocol.errors import ClientError, invalid_value, one_of
from oyez.protocol.limits import SessionLimits
from oyez.protocol.server_events import (
    CorpusInfo,
    SessionInfo,
    TranscriptionInfo,
    TurnDetectionInfo,
)

FLAT_SAMPLE_RATES = (8000, 16000)
NESTED_SAMPLE_RATES = (8000, 16000, 24000, 48000)
PCM_NAMES = ("pcm", "pcm16", "audio/pcm")
OPUS_NAMES = ("opus", "audio/opus")
THRESHOLD_RANGE = (-1.0, 1.0)
SILENCE_RANGE_MS = (200, 6000)
PREFIX_RANGE_MS = (0, 5000)
MAX_MODEL_CHARS = 200
"""The longest `input_audio_transcription.model`, which is echoed."""


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was asked for."""

    language: str | None = None
    """One of the 27 codes; None: it is detected."""
    corpus_text: str = ""
    model: str | None = None
    """Echoed, otherwise ignored: clients put many things here."""

    def as_wire(self) -> TranscriptionInfo:
        return TranscriptionInfo(
            model=self.model,
            language=self.language,
            corpus=CorpusInfo(text=self.corpus_text) if self.corpus_text else None,
        )


@dataclass(frozen=True, slots=True)
class QwenConfig:
    """The configuration as the client named it."""

    input_audio_format: str = "pcm"
    """As the client named it."""
    sample_rate: int = 16000
    transcription: Transcription | None = None
    turn_detection: TurnDetection | None = field(default_factory=TurnDetection)
    """None: manual mode."""

    @property
    def in_force(self) -> SessionConfig:
        """What it means for the session."""
        transcription = self.transcription or Transcription()
        return SessionConfig(
            codec_name="opus" if self.input_audio_format in OPUS_NAMES else "pcm",
            sample_rate=self.sample_rate,
            language=transcription.language,
            context=transcription.corpus_text,
            turn_detection=self.turn_detection,
        )

    def as_wire(self, session_id: str, model: str) -> SessionInfo:
        """Return the `session` object of `session.created` and `session.updated`."""
        return SessionInfo(
            id=session_id,
            model=model,
            input_audio_format=self.input_audio_format,
            sample_rate=self.sample_rate,
            input_audio_transcription=self.transcription.as_wire() if self.transcription else None,
            turn_detection=_detection_info(self.turn_detection),
        )


def _detection_info(detection: TurnDetection | None) -> TurnDetectionInfo | None:
    if detection is None:
        return None
    return TurnDetectionInfo(
        threshold=detection.threshold,
        prefix_padding_ms=detection.prefix_padding_ms,
        silence_duration_ms=detection.silence_duration_ms,
    )


def merge(config: QwenConfig, update: dict[str, Any], limits: SessionLimits) -> QwenConfig:
    """Return `config` changed by the `session` object of an update.

    All or nothing: raises ClientError, naming the field by its dotted path and the allowed
    values, and then nothing has changed.
    """
    _check_modalities(update)
    config = _merge_audio(config, update)
    config = _merge_transcription(config, update, limits)
    return _merge_turn_detection(config, update)


def _check_modalities(update: dict[str, Any]) -> None:
    modalities = update.get("modalities")
    if modalities is None:
        return
    if not isinstance(modalities, list) or "text" not in modalities:
        raise invalid_value("session.modalities", modalities, "['text']")


def _merge_audio(config: QwenConfig, update: dict[str, Any]) -> QwenConfig:
    name, rate = config.input_audio_format, config.sample_rate
    if "input_audio_format" in update:
        name = _format_name(update["input_audio_format"], "session.input_audio_format")
    if "sample_rate" in update:
        rate = _rate(update["sample_rate"], "session.sample_rate", FLAT_SAMPLE_RATES)
    nested = _object(_object(_object(update, "audio"), "input", "audio."), "format", "audio.input.")
    path = "session.audio.input.format."
    if "type" in nested:
        name = _format_name(nested["type"], path + "type")
    for key in ("sample_rate", "rate"):
        if key in nested:
            rate = _rate(nested[key], path + key, NESTED_SAMPLE_RATES)
    return replace(config, input_audio_format=name, sample_rate=rate)


def _object(parent: dict[str, Any], key: str, prefix: str = "") -> dict[str, Any]:
    """Return `parent[key]`, an empty object where it is absent or null."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid_value(f"session.{prefix}{key}", value, "an object")
    return value


def _format_name(value: Any, param: str) -> str:
    if value is None:
        return "pcm"
    if value not in (*PCM_NAMES, *OPUS_NAMES):
        raise invalid_value(param, value, one_of(("pcm", "pcm16", "opus")))
    return str(value)


def _rate(value: Any, param: str, allowed: tuple[int, ...]) -> int:
    if value is None:
        return 16000
    if isinstance(value, bool) or value not in allowed:
        raise invalid_value(param, value, ", ".join(map(str, allowed)))
    return int(value)


def _merge_transcription(
    config: QwenConfig, update: dict[str, Any], limits: SessionLimits
) -> QwenConfig:
    path = "session.input_audio_transcription"
    current = config.transcription
    if "input_audio_transcription" in update:
        if update["input_audio_transcription"] is None:
            current = None
        else:
            given = _object(update, "input_audio_transcription")
            current = _transcription(current or Transcription(), given, path, limits)
    aliases: dict[str, Any] = {
        key: update[key] for key in ("language", "corpus", "corpus_text") if key in update
    }
    if any(value is not None for value in aliases.values()):
        current = _transcription(current or Transcription(), aliases, "session", limits)
    return replace(config, transcription=current)


def _transcription(
    current: Transcription, given: dict[str, Any], path: str, limits: SessionLimits
) -> Transcription:
    if "language" in given:
        language = _language(given["language"], f"{path}.language", limits.allowed_languages)
        current = replace(current, language=language)
    if "model" in given:
        current = replace(current, model=_model(given["model"], f"{path}.model"))
    if "corpus_text" in given:
        text = _corpus(given["corpus_text"], f"{path}.corpus_text", limits.max_corpus_chars)
        current = replace(current, corpus_text=text)
    if "corpus" in given:
        corpus = given["corpus"]
        if corpus is not None and not isinstance(corpus, dict):
            raise invalid_value(f"{path}.corpus", corpus, "an object with 'text', or null")
        text = _corpus((corpus or {}).get("text"), f"{path}.corpus.text", limits.max_corpus_chars)
        current = replace(current, corpus_text=text)
    return current


def _language(value: Any, param: str, allowed: Sequence[str]) -> str | None:
    if value is None or value == "":
        return None
    code = value.strip().lower() if isinstance(value, str) else value
    if code == "auto":
        return None
    if code not in allowed:
        raise invalid_value(param, value, one_of(allowed) + ", or null to detect")
    return str(code)


def _model(value: Any, param: str) -> str | None:
    return _bounded(value, param, MAX_MODEL_CHARS) if isinstance(value, str) else None


def _corpus(value: Any, param: str, max_chars: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise invalid_value(param, value, "a string")
    return _bounded(value, param, max_chars)


def _bounded(text: str, param: str, max_chars: int) -> str:
    if len(text) > max_chars:
        raise ClientError(
            f"Invalid value: {len(text)} characters. At most {max_chars} may be sent.",
            code="invalid_value",
            param=param,
        )
    return text


def _merge_turn_detection(config: QwenConfig, update: dict[str, Any]) -> QwenConfig:
    if "turn_detection" not in update:
        return config
    given = update["turn_detection"]
    if given is None:
        return replace(config, turn_detection=None)
    path = "session.turn_detection"
    if not isinstance(given, dict):
        raise invalid_value(path, given, "an object, or null for manual mode")
    if given.get("type", "server_vad") != "server_vad":
        raise invalid_value(f"{path}.type", given["type"], "'server_vad'")
    current = config.turn_detection or TurnDetection()
    if given.get("threshold") is not None:
        current = replace(current, threshold=_threshold(given["threshold"], f"{path}.threshold"))
    for key, allowed in (
        ("silence_duration_ms", SILENCE_RANGE_MS),
        ("prefix_padding_ms", PREFIX_RANGE_MS),
    ):
        if given.get(key) is not None:
            value = _duration_ms(given[key], f"{path}.{key}", allowed)
            current = replace(current, **{key: value})
    return replace(config, turn_detection=current)


def _threshold(value: Any, param: str) -> float:
    low, high = THRESHOLD_RANGE
    if not _is_number(value) or not low <= value <= high:
        raise invalid_value(param, value, f"a number from {low} to {high}")
    return float(value)


def _duration_ms(value: Any, param: str, allowed: tuple[int, int]) -> int:
    low, high = allowed
    if not _is_number(value) or not low <= value <= high or value != int(value):
        raise invalid_value(param, value, f"a whole number from {low} to {high}")
    return int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
