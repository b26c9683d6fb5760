"""What was transcribed, in the form that was asked for."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from statistics import fmean

from aiohttp import web

from oyez.files.documents import main_language, plain_text, sentences
from oyez.files.results import Segment, Word
from oyez.files.subtitles import srt, vtt
from oyez.server.operations import json_response
from oyez.server.transcriptions.bodies import (
    Transcription,
    Usage,
    VerboseSegment,
    VerboseTranscription,
    VerboseWord,
)
from oyez.server.transcriptions.parameters import Parameters

NAMES = {
    "zh": "chinese", "yue": "cantonese", "en": "english", "ja": "japanese", "de": "german",
    "ko": "korean", "ru": "russian", "fr": "french", "pt": "portuguese", "ar": "arabic",
    "it": "italian", "es": "spanish", "hi": "hindi", "id": "indonesian", "th": "thai",
    "tr": "turkish", "uk": "ukrainian", "vi": "vietnamese", "cs": "czech", "da": "danish",
    "fil": "tagalog", "fi": "finnish", "is": "icelandic", "ms": "malay", "no": "norwegian",
    "pl": "polish", "sv": "swedish",
}  # fmt: skip
"""As Whisper names languages."""
LEAST_PROBABILITY = 1e-6


def answer(asked: Parameters, segments: Sequence[Segment], audio_s: float) -> web.Response:
    """Everything at once."""
    match asked.response_format:
        case "text":
            return _plain(plain_text(segments) + "\n", "text/plain")
        case "srt":
            return _plain("".join(srt(segments)), "application/x-subrip")
        case "vtt":
            return _plain("".join(vtt(segments)), "text/vtt")
        case "verbose_json":
            return json_response(_verbose(asked, segments, audio_s))
        case _:
            return json_response(Transcription(text=plain_text(segments), usage=usage(audio_s)))


def usage(audio_s: float) -> Usage:
    return Usage(seconds=round(audio_s, 3))


def _plain(text: str, content_type: str) -> web.Response:
    return web.Response(text=text, content_type=content_type, charset="utf-8")


def _verbose(
    asked: Parameters, segments: Sequence[Segment], audio_s: float
) -> VerboseTranscription:
    language = main_language(segments)
    wanted = asked.granularities
    words = [_word(word) for segment in segments for word in segment.words]
    parts = [part for segment in segments for part in sentences(segment)]
    return VerboseTranscription(
        task="transcribe",
        language=NAMES[language] if language else None,
        duration=round(audio_s, 3),
        text=plain_text(segments),
        usage=usage(audio_s),
        words=words if "word" in wanted else None,
        segments=[_segment(*each) for each in enumerate(parts)] if "segment" in wanted else None,
    )


def _word(word: Word) -> VerboseWord:
    return VerboseWord(
        word=word.text.strip(), start=round(word.start_s, 3), end=round(word.end_s, 3)
    )


def _segment(number: int, segment: Segment) -> VerboseSegment:
    text = segment.text.encode()
    odds = [max(word.probability, LEAST_PROBABILITY) for word in segment.words]
    return VerboseSegment(
        id=number,
        start=round(segment.start_s, 3),
        end=round(segment.end_s, 3),
        text=segment.text,
        language=segment.language,
        emotion=segment.emotion,
        avg_logprob=round(fmean(map(math.log, odds)), 4),
        compression_ratio=round(len(text) / len(zlib.compress(text)), 4),
    )
