"""The `session` object of a `session.update`, as types: the reference is made of them.

The types describe what to send. `config.merge` reads an update: it accepts everything that these
types allow, and a little more that clients are known to send (codes in capitals).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from oyez.engines.base import LANGUAGES
from oyez.protocol.dialect import TurnDetection
from oyez.protocol.qwen.config import (
    FLAT_SAMPLE_RATES,
    NESTED_SAMPLE_RATES,
    OPUS_NAMES,
    PCM_NAMES,
    PREFIX_RANGE_MS,
    SILENCE_RANGE_MS,
    THRESHOLD_RANGE,
)


def _one_of(*values: object) -> Meta:
    return Meta(extra_json_schema={"enum": list(values)})


def _from_to(bounds: tuple[float, float], default: float) -> Meta:
    low, high = bounds
    return Meta(ge=low, le=high, extra_json_schema={"default": default})


_DEFAULTS = TurnDetection()
AudioFormat = Annotated[str, _one_of(*PCM_NAMES, *OPUS_NAMES)]
Language = Annotated[str, _one_of(*LANGUAGES, "auto", "")]


class CorpusPatch(msgspec.Struct, kw_only=True):
    """Names and terms the speaker may use, as a list or as prose."""

    text: str | UnsetType | None = UNSET
    """null or empty: none."""


class TranscriptionPatch(msgspec.Struct, kw_only=True):
    """How speech is transcribed."""

    language: Language | UnsetType | None = UNSET
    """Spoken language, any case; null, `""` or `"auto"`: detected for each stretch of speech."""
    corpus: CorpusPatch | UnsetType | None = UNSET
    """Names and terms the speaker may use, as a list or as prose."""
    corpus_text: str | UnsetType | None = UNSET
    """The same as `corpus.text`."""
    model: Any | UnsetType = UNSET
    """Echoed if it is a string (of at most 200 characters), otherwise ignored."""


class TurnDetectionPatch(msgspec.Struct, kw_only=True):
    """Server VAD. Keys that are absent or null do not change."""

    type: Literal["server_vad"] | UnsetType = UNSET
    threshold: (
        Annotated[float, _from_to(THRESHOLD_RANGE, _DEFAULTS.threshold)] | UnsetType | None
    ) = UNSET
    """Higher hears less: speech begins at probability (threshold + 1) / 2."""
    silence_duration_ms: (
        Annotated[int, _from_to(SILENCE_RANGE_MS, _DEFAULTS.silence_duration_ms)] | UnsetType | None
    ) = UNSET
    """Silence that ends a turn."""
    prefix_padding_ms: (
        Annotated[int, _from_to(PREFIX_RANGE_MS, _DEFAULTS.prefix_padding_ms)] | UnsetType | None
    ) = UNSET
    """Audio before the first speech that belongs to the turn."""


class NestedFormat(msgspec.Struct, kw_only=True):
    """Form of the audio."""

    type: AudioFormat | UnsetType | None = UNSET
    """As `input_audio_format`."""
    sample_rate: Annotated[int, _one_of(*NESTED_SAMPLE_RATES)] | UnsetType | None = UNSET
    """Of the PCM, in Hz; more rates than the flat form has."""
    rate: Annotated[int, _one_of(*NESTED_SAMPLE_RATES)] | UnsetType | None = UNSET
    """The same as `sample_rate`."""


class NestedInput(msgspec.Struct, kw_only=True):
    """Audio that comes in."""

    format: NestedFormat | UnsetType | None = UNSET
    """Its form."""


class NestedAudio(msgspec.Struct, kw_only=True):
    """Audio, in the newer form of the SDKs."""

    input: NestedInput | UnsetType | None = UNSET
    """What the client sends."""


class SessionPatch(msgspec.Struct, kw_only=True):
    """Only the keys present change; null resets a key to its default, except `turn_detection`.
    Keys that are not listed are ignored."""

    modalities: (
        Annotated[list[Any], Meta(extra_json_schema={"contains": {"const": "text"}})]
        | UnsetType
        | None
    ) = UNSET
    """Always echoed as `["text"]`."""
    input_audio_format: AudioFormat | UnsetType | None = UNSET
    """PCM is 16 bit little-endian mono. Opus comes in Ogg, in WebM or as bare packets."""
    sample_rate: Annotated[int, _one_of(*FLAT_SAMPLE_RATES)] | UnsetType | None = UNSET
    """Of the PCM, in Hz; Opus brings its own."""
    input_audio_transcription: TranscriptionPatch | UnsetType | None = UNSET
    """null does not switch transcription off; it resets the keys below."""
    turn_detection: TurnDetectionPatch | UnsetType | None = UNSET
    """An object: turns are found by voice activity. null: manual mode, turns end at a commit."""
    audio: NestedAudio | UnsetType | None = UNSET
    """The newer form of the SDKs. What it says wins over `input_audio_format` and `sample_rate`."""
    language: Language | UnsetType | None = UNSET
    """An alias that older SDKs send."""
    corpus: CorpusPatch | UnsetType | None = UNSET
    """An alias that older SDKs send."""
    corpus_text: str | UnsetType | None = UNSET
    """An alias that older SDKs send."""


KNOWN_KEYS = tuple(
    sorted(
        {
            key
            for patch in (
                SessionPatch,
                TranscriptionPatch,
                CorpusPatch,
                TurnDetectionPatch,
                NestedAudio,
                NestedInput,
                NestedFormat,
            )
            for key in patch.__struct_fields__
        }
    )
)
"""The keys of the session and of all objects in it. Nothing else in an update is read."""
