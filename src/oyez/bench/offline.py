"""The yardstick: faster-whisper on the whole file, beam 5, its own defaults, the same weights."""

from __future__ import annotations

from faster_whisper import WhisperModel

from oyez.audio.pcm import Samples
from oyez.engines.whisper.tokens import whisper_code
from oyez.engines.whisper_ct2.files import find_files

BEAM_SIZE = 5


class Offline:
    """faster-whisper with the weights called `model`; see `find_files` for names and errors."""

    def __init__(self, model: str, threads: int) -> None:
        files = find_files(model)
        contents = {"files": dict(files.contents)} if files.contents else {}
        self._model = WhisperModel(
            files.location, device="cpu", compute_type="int8", cpu_threads=threads, **contents
        )
        self._languages = set(self._model.hf_tokenizer.get_vocab())

    def transcribe(self, samples: Samples, language: str | None) -> str:
        """The text of a whole recording. language: one of LANGUAGES, or None to detect it."""
        segments, _ = self._model.transcribe(
            samples, language=self._code(language), beam_size=BEAM_SIZE
        )
        return "".join(segment.text for segment in segments)

    def _code(self, language: str | None) -> str | None:
        if language is None:
            return None
        code = whisper_code(language)
        return code if f"<|{code}|>" in self._languages else "zh"
