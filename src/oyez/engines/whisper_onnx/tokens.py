"""Whisper's tokens: special ids, languages, and text that is never cut inside a character."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from tokenizers import Tokenizer

from oyez.engines.base import LANGUAGES

_WHISPER_CODES = {"fil": "tl"}
"""Where Whisper's code differs from ours."""

_MAX_CHARACTER_BYTES = 4
_FIRST_LEADING_BYTE = 0xC0
_LEADING_BYTE = 0xE0
"""Of the scripts that `Tokens.foreign` knows."""


def whisper_code(language: str) -> str:
    return _WHISPER_CODES.get(language, language)


class Tokens:
    """Ids of one Whisper vocabulary."""

    def __init__(self, tokenizer_json: str, config: dict[str, Any]) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        self.end = self._special("<|endoftext|>")
        self.start = self._special("<|startoftranscript|>")
        self.transcribe = self._special("<|transcribe|>")
        self.previous = self._special("<|startofprev|>")
        self.no_timestamps = self._special("<|notimestamps|>")
        self.no_speech = self._special("<|nospeech|>", "<|nocaptions|>")
        self.suppressed = tuple(config["suppress_ids"])
        self.suppressed_first = tuple(i for i in config["suppress_ids_begin"] if i != self.end)
        self.language_ids = {
            language: token
            for language in LANGUAGES
            if (token := self._tokenizer.token_to_id(f"<|{whisper_code(language)}|>")) is not None
        }
        self._bytes = _byte_alphabet()

    def written_as(self, language: str | None) -> str | None:
        """The language whose token stands for `language`. Cantonese is written as Chinese by
        models that have no token for it."""
        if language is None or language in self.language_ids:
            return language
        return "zh" if language == "yue" else "en"

    def prompt(self, language: str) -> tuple[int, ...]:
        """What makes Whisper write `language` without timestamps."""
        token = self.language_ids[self.written_as(language) or "en"]
        return (self.start, token, self.transcribe, self.no_timestamps)

    def encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def foreign(self, script: str) -> tuple[int, ...]:
        """Tokens of text with letters of another script than `script`, called as Unicode calls
        its letters. Its characters must have three bytes, the first 0xE0."""
        return tuple(t for t in range(self.end) if _is_foreign(self._token_bytes(t), script))

    def written(self, texts: Collection[str]) -> tuple[int, ...]:
        """Tokens whose text is one of `texts`, with or without spaces around it."""
        wanted = {text.encode() for text in texts}
        return tuple(t for t in range(self.end) if self._token_bytes(t).strip() in wanted)

    def whole(self, tokens: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """Split `tokens` into the shortest runs that are whole text: (start, stop, text).

        A run that never becomes valid UTF-8 is given up after four bytes, its text being
        whatever it holds that is valid; an unfinished run at the end is left out.
        """
        start, held = 0, b""
        for stop, token in enumerate(tokens, 1):
            held += self._token_bytes(token)
            try:
                text = held.decode()
            except UnicodeDecodeError as error:
                if error.end == len(held) and len(held) - error.start < _MAX_CHARACTER_BYTES:
                    continue
                text = held.decode(errors="ignore")
            yield start, stop, text
            start, held = stop, b""

    def _token_bytes(self, token: int) -> bytes:
        symbols = self._tokenizer.id_to_token(token) or ""
        return bytes(self._bytes[symbol] for symbol in symbols if symbol in self._bytes)

    def _special(self, *names: str) -> int:
        for name in names:
            token = self._tokenizer.token_to_id(name)
            if token is not None:
                return int(token)
        raise ValueError(f"the tokenizer has no {' or '.join(names)}")


def _is_foreign(data: bytes, script: str) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return any(byte >= _FIRST_LEADING_BYTE and byte != _LEADING_BYTE for byte in data)
    letters = (char for char in text if unicodedata.category(char)[0] in "LM")
    return any(not unicodedata.name(char, "").startswith(script) for char in letters)


def _byte_alphabet() -> dict[str, int]:
    """Byte-level BPE (GPT-2) writes each byte as one printable character: itself where that
    prints, else the next free one from U+0100."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    alphabet.update((chr(256 + index), byte) for index, byte in enumerate(others))
    return alphabet
