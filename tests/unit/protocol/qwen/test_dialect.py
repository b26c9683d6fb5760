from __future__ import annotations

from typing import Any

import msgspec
import pytest

from oyez.engines.base import LANGUAGES
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.errors import ClientError
from oyez.protocol.qwen.dialect import DEFAULTS, in_force, merge
from oyez.protocol.server_events import SessionInfo


def changed(update: dict[str, Any], config: SessionInfo = DEFAULTS) -> SessionInfo:
    return merge(config, update, SessionLimits(max_corpus_chars=100))


def test_what_the_python_sdk_sends_is_accepted() -> None:
    config = changed(
        {
            "modalities": ["text"],
            "voice": None,
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "input_audio_transcription": {"model": None},
            "turn_detection": {
                "type": "server_vad",
                "threshold": 0.2,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 800,
            },
        }
    )
    assert in_force(config).codec_name == "pcm"
    assert config.input_audio_format == "pcm16"
    assert msgspec.to_builtins(config)["input_audio_transcription"] == {}


def test_null_turn_detection_is_manual_and_absent_is_not() -> None:
    assert changed({"turn_detection": None}).turn_detection is None
    assert changed({}).turn_detection is not None
    manual = changed({"turn_detection": None})
    assert changed({"sample_rate": 8000}, manual).turn_detection is None
    assert changed({"turn_detection": {}}, manual).turn_detection is not None


def test_nested_audio_format_wins_and_has_more_rates() -> None:
    nested = {"audio": {"input": {"format": {"type": "pcm", "sample_rate": 48000}}}}
    assert changed({"sample_rate": 8000, **nested}).sample_rate == 48000
    assert changed({"audio": {"input": None, "output": {"format": 3}}}).sample_rate == 16000


def test_aliases_older_sdks_send_are_understood() -> None:
    config = changed({"language": "zh", "corpus": {"text": "oyez"}})
    assert (in_force(config).language, in_force(config).context) == ("zh", "oyez")
    flat = changed({"input_audio_transcription": {"corpus_text": "oyez"}})
    assert in_force(flat).context == "oyez"


def test_null_aliases_do_not_change_anything() -> None:
    config = changed({"input_audio_transcription": {"language": "de"}, "language": None})
    assert in_force(config).language == "de"


@pytest.mark.parametrize("language", [None, "", "auto", "AUTO"])
def test_no_language_means_detect(language: str | None) -> None:
    assert in_force(changed({"input_audio_transcription": {"language": language}})).language is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_all_languages_are_accepted(language: str) -> None:
    assert (
        in_force(changed({"input_audio_transcription": {"language": language}})).language
        == language
    )


def test_null_transcription_resets_but_keeps_transcribing() -> None:
    config = changed({"input_audio_transcription": {"language": "de"}})
    assert in_force(changed({"input_audio_transcription": None}, config)).language is None


def test_keys_not_named_keep_their_value() -> None:
    config = changed({"input_audio_transcription": {"language": "de", "corpus": {"text": "a"}}})
    config = changed({"input_audio_transcription": {"language": "fr"}}, config)
    assert (in_force(config).language, in_force(config).context) == ("fr", "a")


@pytest.mark.parametrize("threshold", [-1, -1.0, 0, 0.2, 1])
def test_thresholds_in_range_are_accepted(threshold: float) -> None:
    config = changed({"turn_detection": {"threshold": threshold}})
    assert config.turn_detection is not None
    assert config.turn_detection.threshold == threshold


@pytest.mark.parametrize("silence_ms", [200, 400, 6000, 800.0])
def test_silence_durations_in_range_are_accepted(silence_ms: float) -> None:
    config = changed({"turn_detection": {"silence_duration_ms": silence_ms}})
    assert config.turn_detection is not None
    assert config.turn_detection.silence_duration_ms == int(silence_ms)


BAD = [
    ({"input_audio_format": "mp3"}, "session.input_audio_format"),
    ({"input_audio_format": ["pcm"]}, "session.input_audio_format"),
    ({"sample_rate": 44100}, "session.sample_rate"),
    ({"sample_rate": 48000}, "session.sample_rate"),
    ({"sample_rate": "16000"}, "session.sample_rate"),
    ({"sample_rate": True}, "session.sample_rate"),
    ({"modalities": "text"}, "session.modalities"),
    ({"modalities": ["audio"]}, "session.modalities"),
    ({"audio": 3}, "session.audio"),
    ({"audio": {"input": 3}}, "session.audio.input"),
    ({"audio": {"input": {"format": "pcm"}}}, "session.audio.input.format"),
    ({"audio": {"input": {"format": {"type": "mp3"}}}}, "session.audio.input.format.type"),
    ({"audio": {"input": {"format": {"rate": 1}}}}, "session.audio.input.format.rate"),
    ({"input_audio_transcription": "zh"}, "session.input_audio_transcription"),
    (
        {"input_audio_transcription": {"language": "xx"}},
        "session.input_audio_transcription.language",
    ),
    (
        {"input_audio_transcription": {"language": 3}},
        "session.input_audio_transcription.language",
    ),
    (
        {"input_audio_transcription": {"corpus": "a"}},
        "session.input_audio_transcription.corpus",
    ),
    (
        {"input_audio_transcription": {"corpus": {"text": 1}}},
        "session.input_audio_transcription.corpus.text",
    ),
    (
        {"input_audio_transcription": {"corpus": {"text": "x" * 101}}},
        "session.input_audio_transcription.corpus.text",
    ),
    (
        {"input_audio_transcription": {"model": "x" * 201}},
        "session.input_audio_transcription.model",
    ),
    ({"language": "klingon"}, "session.language"),
    ({"turn_detection": "server_vad"}, "session.turn_detection"),
    ({"turn_detection": {"type": "semantic_vad"}}, "session.turn_detection.type"),
    ({"turn_detection": {"type": None}}, "session.turn_detection.type"),
    ({"turn_detection": {"threshold": 1.01}}, "session.turn_detection.threshold"),
    ({"turn_detection": {"threshold": "0"}}, "session.turn_detection.threshold"),
    ({"turn_detection": {"threshold": True}}, "session.turn_detection.threshold"),
    ({"turn_detection": {"threshold": 10**400}}, "session.turn_detection.threshold"),
    ({"turn_detection": {"threshold": float("nan")}}, "session.turn_detection.threshold"),
    (
        {"turn_detection": {"silence_duration_ms": 199}},
        "session.turn_detection.silence_duration_ms",
    ),
    (
        {"turn_detection": {"silence_duration_ms": 6001}},
        "session.turn_detection.silence_duration_ms",
    ),
    (
        {"turn_detection": {"silence_duration_ms": 400.5}},
        "session.turn_detection.silence_duration_ms",
    ),
    (
        {"turn_detection": {"silence_duration_ms": float("inf")}},
        "session.turn_detection.silence_duration_ms",
    ),
    ({"turn_detection": {"prefix_padding_ms": -1}}, "session.turn_detection.prefix_padding_ms"),
]


@pytest.mark.parametrize(("update", "param"), BAD)
def test_bad_values_name_the_field_and_what_is_allowed(update: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientError) as caught:
        changed(update)
    assert caught.value.param == param
    assert caught.value.code == "invalid_value"
    assert len(caught.value.message) < 500


def test_the_error_of_a_bad_language_lists_the_codes() -> None:
    with pytest.raises(ClientError, match="'zh', 'yue', 'en'"):
        changed({"input_audio_transcription": {"language": "xx"}})


@pytest.mark.parametrize("path", ["session.input_audio_transcription.language", "session.language"])
def test_only_allowed_languages_may_be_asked_for(path: str) -> None:
    limits = SessionLimits(languages=("de", "en"))

    def ask(language: str | None) -> SessionInfo:
        given = {"language": language}
        is_nested = "transcription" in path
        update = {"input_audio_transcription": given} if is_nested else given
        return merge(DEFAULTS, update, limits)

    assert in_force(ask("EN")).language == "en"
    assert in_force(ask(None)).language is None
    with pytest.raises(ClientError) as caught:
        ask("fr")
    assert caught.value.param == path
    assert "'fr'. Supported values are: 'de', 'en', or null" in caught.value.message
