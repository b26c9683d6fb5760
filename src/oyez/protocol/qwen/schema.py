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
from oyez.protocol.server_events import about

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
CorpusText = Annotated[str, Meta(extra_json_schema={"maxLength": SessionLimits().max_corpus_chars})]
Modalities = Annotated[list[Any], _meta(MODALITIES, contains={"const": "text"})]
Absent = UnsetType | None
"""A key that is left out, or null."""


class Patch(Struct):
    """An object of an update, all of whose keys may be absent."""


class CorpusPatch(Patch):
    """Names and terms the speaker may use, as a list or as prose."""

    text: Annotated[CorpusText | Absent, about("null or empty: none.")] = UNSET


Corpus = Annotated[CorpusPatch, _meta("an object with 'text', or null")]


class TranscriptionPatch(Patch):
    """How speech is transcribed."""

    language: Annotated[
        Language | Absent,
        about(
            'Spoken language, any case; null, `""` or `"auto"`: detected for each stretch '
            "of speech."
        ),
    ] = UNSET
    corpus: Annotated[
        Corpus | Absent, about("Names and terms the speaker may use, as a list or as prose.")
    ] = UNSET
    corpus_text: Annotated[CorpusText | Absent, about("The same as `corpus.text`.")] = UNSET
    model: Annotated[
        Any | UnsetType,
        about("Echoed if it is a string (of at most 200 characters), otherwise ignored."),
    ] = UNSET


class TurnDetectionPatch(Patch):
    """Server VAD. Keys that are absent or null do not change."""

    type: Literal["server_vad"] | UnsetType = UNSET
    threshold: Annotated[
        Threshold | Absent,
        about(
            "Speech begins at probability (threshold + 1) / 2, so a higher one finds less speech."
        ),
    ] = UNSET
    silence_duration_ms: Annotated[Silence | Absent, about("Silence that ends a turn.")] = UNSET
    prefix_padding_ms: Annotated[
        Padding | Absent, about("Audio before the first speech that belongs to the turn.")
    ] = UNSET


TurnDetectionOrNull = Annotated[TurnDetectionPatch, _meta("an object, or null for manual mode")]


class NestedFormat(Patch):
    """Form of the audio."""

    type: Annotated[AudioFormat | Absent, about("As `input_audio_format`.")] = UNSET
    sample_rate: Annotated[
        NestedRate | Absent, about("Of the PCM, in Hz; more rates than the flat form has.")
    ] = UNSET
    rate: Annotated[NestedRate | Absent, about("The same as `sample_rate`.")] = UNSET


class NestedInput(Patch):
    """Audio that comes in."""

    format: Annotated[NestedFormat | Absent, about("Its form.")] = UNSET


class NestedAudio(Patch):
    """Audio, in the newer form of the SDKs."""

    input: Annotated[NestedInput | Absent, about("What the client sends.")] = UNSET


class SessionPatch(Patch):
    """Only the keys present change; null resets a key to its default, except `turn_detection`.
    Keys that are not listed are ignored."""

    modalities: Annotated[Modalities | Absent, about('Always echoed as `["text"]`.')] = UNSET
    input_audio_format: Annotated[
        AudioFormat | Absent,
        about("PCM is 16 bit little-endian mono. Opus comes in Ogg, in WebM or as bare packets."),
    ] = UNSET
    sample_rate: Annotated[
        FlatRate | Absent, about("Of the PCM, in Hz; Opus contains its own.")
    ] = UNSET
    input_audio_transcription: Annotated[
        TranscriptionPatch | Absent,
        about("null does not switch transcription off; it resets the keys below."),
    ] = UNSET
    turn_detection: Annotated[
        TurnDetectionOrNull | Absent,
        about(
            "An object: turns are found by voice activity. null: manual mode, turns end "
            "at a commit."
        ),
    ] = UNSET
    audio: Annotated[
        NestedAudio | Absent,
        about("The newer form of the SDKs. It overrides `input_audio_format` and `sample_rate`."),
    ] = UNSET
    language: Annotated[Language | Absent, about("An alias that older SDKs send.")] = UNSET
    corpus: Annotated[Corpus | Absent, about("An alias that older SDKs send.")] = UNSET
    corpus_text: Annotated[CorpusText | Absent, about("An alias that older SDKs send.")] = UNSET
