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
from oyez.protocol.limits import SessionLimits
from oyez.protocol.qwen.config import (
    FLAT_SAMPLE_RATES,
    NESTED_SAMPLE_RATES,
    OPUS_NAMES,
    PCM_NAMES,
    PREFIX_RANGE_MS,
    SILENCE_RANGE_MS,
    THRESHOLD_RANGE,
)
from oyez.protocol.server_events import about


def _one_of(*values: object) -> Meta:
    return Meta(extra_json_schema={"enum": list(values)})


def _from_to(bounds: tuple[float, float], default: float) -> Meta:
    low, high = bounds
    return Meta(ge=low, le=high, extra_json_schema={"default": default})


_DEFAULTS = TurnDetection()
AudioFormat = Annotated[str, _one_of(*PCM_NAMES, *OPUS_NAMES)]
Language = Annotated[str, _one_of(*LANGUAGES, "auto", "")]
Modalities = Annotated[list[Any], Meta(extra_json_schema={"contains": {"const": "text"}})]
FlatRate = Annotated[int, _one_of(*FLAT_SAMPLE_RATES)]
NestedRate = Annotated[int, _one_of(*NESTED_SAMPLE_RATES)]
Threshold = Annotated[float, _from_to(THRESHOLD_RANGE, _DEFAULTS.threshold)]
Silence = Annotated[int, _from_to(SILENCE_RANGE_MS, _DEFAULTS.silence_duration_ms)]
Padding = Annotated[int, _from_to(PREFIX_RANGE_MS, _DEFAULTS.prefix_padding_ms)]
CorpusText = Annotated[str, Meta(max_length=SessionLimits().max_corpus_chars)]
Absent = UnsetType | None
"""A key that is left out, or null."""


class CorpusPatch(msgspec.Struct, kw_only=True):
    """Names and terms the speaker may use, as a list or as prose."""

    text: Annotated[CorpusText | Absent, about("null or empty: none.")] = UNSET


class TranscriptionPatch(msgspec.Struct, kw_only=True):
    """How speech is transcribed."""

    language: Annotated[
        Language | Absent,
        about(
            'Spoken language, any case; null, `""` or `"auto"`: detected for each stretch of '
            "speech."
        ),
    ] = UNSET
    corpus: Annotated[
        CorpusPatch | Absent, about("Names and terms the speaker may use, as a list or as prose.")
    ] = UNSET
    corpus_text: Annotated[CorpusText | Absent, about("The same as `corpus.text`.")] = UNSET
    model: Annotated[
        Any | UnsetType,
        about("Echoed if it is a string (of at most 200 characters), otherwise ignored."),
    ] = UNSET


class TurnDetectionPatch(msgspec.Struct, kw_only=True):
    """Server VAD. Keys that are absent or null do not change."""

    type: Literal["server_vad"] | UnsetType = UNSET
    threshold: Annotated[
        Threshold | Absent,
        about("Higher hears less: speech begins at probability (threshold + 1) / 2."),
    ] = UNSET
    silence_duration_ms: Annotated[Silence | Absent, about("Silence that ends a turn.")] = UNSET
    prefix_padding_ms: Annotated[
        Padding | Absent, about("Audio before the first speech that belongs to the turn.")
    ] = UNSET


class NestedFormat(msgspec.Struct, kw_only=True):
    """Form of the audio."""

    type: Annotated[AudioFormat | Absent, about("As `input_audio_format`.")] = UNSET
    sample_rate: Annotated[
        NestedRate | Absent, about("Of the PCM, in Hz; more rates than the flat form has.")
    ] = UNSET
    rate: Annotated[NestedRate | Absent, about("The same as `sample_rate`.")] = UNSET


class NestedInput(msgspec.Struct, kw_only=True):
    """Audio that comes in."""

    format: Annotated[NestedFormat | Absent, about("Its form.")] = UNSET


class NestedAudio(msgspec.Struct, kw_only=True):
    """Audio, in the newer form of the SDKs."""

    input: Annotated[NestedInput | Absent, about("What the client sends.")] = UNSET


class SessionPatch(msgspec.Struct, kw_only=True):
    """Only the keys present change; null resets a key to its default, except `turn_detection`.
    Keys that are not listed are ignored."""

    modalities: Annotated[Modalities | Absent, about('Always echoed as `["text"]`.')] = UNSET
    input_audio_format: Annotated[
        AudioFormat | Absent,
        about("PCM is 16 bit little-endian mono. Opus comes in Ogg, in WebM or as bare packets."),
    ] = UNSET
    sample_rate: Annotated[FlatRate | Absent, about("Of the PCM, in Hz; Opus brings its own.")] = (
        UNSET
    )
    input_audio_transcription: Annotated[
        TranscriptionPatch | Absent,
        about("null does not switch transcription off; it resets the keys below."),
    ] = UNSET
    turn_detection: Annotated[
        TurnDetectionPatch | Absent,
        about(
            "An object: turns are found by voice activity. null: manual mode, turns end at a "
            "commit."
        ),
    ] = UNSET
    audio: Annotated[
        NestedAudio | Absent,
        about(
            "The newer form of the SDKs. What it says wins over `input_audio_format` and "
            "`sample_rate`."
        ),
    ] = UNSET
    language: Annotated[Language | Absent, about("An alias that older SDKs send.")] = UNSET
    corpus: Annotated[CorpusPatch | Absent, about("An alias that older SDKs send.")] = UNSET
    corpus_text: Annotated[CorpusText | Absent, about("An alias that older SDKs send.")] = UNSET


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
