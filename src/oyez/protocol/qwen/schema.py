"""The `session` object of a `session.update`, as types: updates are read by them, and the reference
is made of them.

They describe what to send. `dialect.merge` accepts a little more that clients are known to send:
codes of languages in capitals and with spaces, and 800.0 for 800. In an annotation, `supported` is
what an error says about the allowed values, where that does not follow from the type.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from oyez.engines.base import LANGUAGES
from oyez.protocol.dialect import SessionLimits, TurnDetection
from oyez.protocol.errors import one_of

SILENCE_RANGE_MS = (200, 6000)
MODALITIES = "['text']"
_DEFAULTS = TurnDetection()


def languages(limits: SessionLimits) -> str:
    """Return what an error says about the languages that may be asked for."""
    return one_of(limits.allowed_languages) + ", or null to detect"


def _meta(supported: object, **schema: Any) -> Meta:
    return Meta(extra={"supported": supported}, extra_json_schema=schema)


def _from_to(low: float, high: float, default: float) -> Meta:
    return Meta(ge=low, le=high, extra_json_schema={"default": default})


AudioFormat = Annotated[
    Literal["pcm", "pcm16", "audio/pcm", "opus", "audio/opus"],
    _meta("'pcm', 'pcm16', 'opus'", type="string"),
]
_WHOLE = Meta(extra_json_schema={"type": "integer"})
FlatRate = Annotated[Literal[8000, 16000], _WHOLE]
NestedRate = Annotated[Literal[8000, 16000, 24000, 48000], _WHOLE]
Language = Annotated[str, _meta(languages, enum=[*LANGUAGES, "auto", ""])]
Threshold = Annotated[float, _from_to(-1.0, 1.0, _DEFAULTS.threshold)]
Silence = Annotated[int, _from_to(*SILENCE_RANGE_MS, _DEFAULTS.silence_duration_ms)]
Padding = Annotated[int, _from_to(0, 5000, _DEFAULTS.prefix_padding_ms)]
Modalities = Annotated[list[Any], _meta(MODALITIES, contains={"const": "text"})]


class Patch(Struct):
    """An object of an update, all of whose keys may be absent."""


class CorpusPatch(Patch):
    """Names and terms the speaker may use, as a list or as prose."""

    text: str | UnsetType | None = UNSET
    """null or empty: none."""


Corpus = Annotated[CorpusPatch, _meta("an object with 'text', or null")]


class TranscriptionPatch(Patch):
    """How speech is transcribed."""

    language: Language | UnsetType | None = UNSET
    """Spoken language, any case; null, `""` or `"auto"`: detected for each stretch of speech."""
    corpus: Corpus | UnsetType | None = UNSET
    """Names and terms the speaker may use, as a list or as prose."""
    corpus_text: str | UnsetType | None = UNSET
    """The same as `corpus.text`."""
    model: Any | UnsetType = UNSET
    """Echoed if it is a string (of at most 200 characters), otherwise ignored."""


class TurnDetectionPatch(Patch):
    """Server VAD. Keys that are absent or null do not change."""

    type: Literal["server_vad"] | UnsetType = UNSET
    threshold: Threshold | UnsetType | None = UNSET
    """Speech begins at probability (threshold + 1) / 2, so a higher one finds less speech."""
    silence_duration_ms: Silence | UnsetType | None = UNSET
    """Silence that ends a turn."""
    prefix_padding_ms: Padding | UnsetType | None = UNSET
    """Audio before the first speech that belongs to the turn."""


TurnDetectionOrNull = Annotated[TurnDetectionPatch, _meta("an object, or null for manual mode")]


class NestedFormat(Patch):
    """Form of the audio."""

    type: AudioFormat | UnsetType | None = UNSET
    """As `input_audio_format`."""
    sample_rate: NestedRate | UnsetType | None = UNSET
    """Of the PCM, in Hz; more rates than the flat form has."""
    rate: NestedRate | UnsetType | None = UNSET
    """The same as `sample_rate`."""


class NestedInput(Patch):
    """Audio that comes in."""

    format: NestedFormat | UnsetType | None = UNSET
    """Its form."""


class NestedAudio(Patch):
    """Audio, in the newer form of the SDKs."""

    input: NestedInput | UnsetType | None = UNSET
    """What the client sends."""


class SessionPatch(Patch):
    """Only the keys present change; null resets a key to its default, except `turn_detection`.
    Keys that are not listed are ignored."""

    modalities: Modalities | UnsetType | None = UNSET
    """Always echoed as `["text"]`."""
    input_audio_format: AudioFormat | UnsetType | None = UNSET
    """PCM is 16 bit little-endian mono. Opus comes in Ogg, in WebM or as bare packets."""
    sample_rate: FlatRate | UnsetType | None = UNSET
    """Of the PCM, in Hz; Opus contains its own."""
    input_audio_transcription: TranscriptionPatch | UnsetType | None = UNSET
    """null does not switch transcription off; it resets the keys below."""
    turn_detection: TurnDetectionOrNull | UnsetType | None = UNSET
    """An object: turns are found by voice activity. null: manual mode, turns end at a commit."""
    audio: NestedAudio | UnsetType | None = UNSET
    """The newer form of the SDKs. It overrides `input_audio_format` and `sample_rate`."""
    language: Language | UnsetType | None = UNSET
    """An alias that older SDKs send."""
    corpus: Corpus | UnsetType | None = UNSET
    """An alias that older SDKs send."""
    corpus_text: str | UnsetType | None = UNSET
    """An alias that older SDKs send."""
