"""Whisper's vocabulary: special tokens, languages, and text that never ends inside a character."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from tokenizers import Tokenizer

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import LANGUAGES, Piece

MAX_TOKENS_PER_SECOND = 30
"""More than in the fastest speech, in scripts that need several tokens for a character."""
SPARE_TOKENS = 16
"""Added to the limit of tokens, for very short audio."""

_WHISPER_CODES = {"fil": "tl"}
"""Languages whose code in Whisper differs from the code on the wire."""

_MAX_CHARACTER_BYTES = 4
_MIN_LEADING_BYTE = 0xC0
"""The lowest byte that begins a UTF-8 character of several bytes."""
_SCRIPT_LEADING_BYTE = 0xE0
"""The first byte of every character in the scripts that `Tokens.outside_script` supports."""


def whisper_code(language: str) -> str:
    """Return Whisper's code for one of LANGUAGES."""
    return _WHISPER_CODES.get(language, language)


def tokens_of(pieces: Sequence[Piece]) -> tuple[int, ...]:
    """Return the tokens of `pieces`, joined."""
    return tuple(token for piece in pieces for token in piece.tokens)


def most_tokens(samples: int) -> int:
    """Return the limit of tokens for the text of this much audio."""
    return round(samples / SAMPLE_RATE * MAX_TOKENS_PER_SECOND) + SPARE_TOKENS


class Tokens:
    """The vocabulary of one Whisper model. Attributes are token ids.

    Raises ValueError if a special token is missing.
    """

    def __init__(self, tokenizer_json: str, config: dict[str, Any]) -> None:
        """tokenizer_json, config: the contents of `tokenizer.json` and `config.json`."""
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
        """Return the language whose token is used for `language`. Models without a token for
        Cantonese write it as Chinese."""
        if language is None or language in self.language_ids:
            return language
        return "zh" if language == "yue" else "en"

    def prompt(self, language: str) -> tuple[int, ...]:
        """Return the tokens that make Whisper write `language` without timestamps."""
        token = self.language_ids[self.written_as(language) or "en"]
        return (self.start, token, self.transcribe, self.no_timestamps)

    def language_scores(self, probabilities: Iterable[float]) -> dict[str, float]:
        """Return the share of each of LANGUAGES. probabilities: in the order of `language_ids`."""
        known = dict(zip(self.language_ids, probabilities, strict=True))
        total = sum(known.values()) or 1.0
        return {code: known.get(code, 0.0) / total for code in LANGUAGES}

    def encode(self, text: str) -> list[int]:
        """Return the tokens of `text`, without special tokens."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def outside_script(self, script: str) -> tuple[int, ...]:
        """Return the tokens whose text has letters of another script than `script`.

        script: as in the Unicode names of its letters. Its characters must have three bytes in
        UTF-8, of which the first is 0xE0.
        """
        return tuple(t for t in range(self.end) if _is_outside(self._token_bytes(t), script))

    def with_text(self, texts: Collection[str]) -> tuple[int, ...]:
        """Return the tokens whose text is one of `texts`, with or without spaces around it."""
        wanted = {text.encode() for text in texts}
        return tuple(t for t in range(self.end) if self._token_bytes(t).strip() in wanted)

    def split(self, tokens: Sequence[int]) -> Iterator[tuple[int, int, str]]:
        """Split `tokens` into the shortest runs that are whole text: (start, stop, text).

        A run that does not become valid UTF-8 within four bytes ends there, and its text is the
        part that is valid. An unfinished run at the end is left out.
        """
        start, pending = 0, b""
        for stop, token in enumerate(tokens, 1):
            pending += self._token_bytes(token)
            try:
                text = pending.decode()
            except UnicodeDecodeError as error:
                is_at_end = error.end == len(pending)
                if is_at_end and len(pending) - error.start < _MAX_CHARACTER_BYTES:
                    continue
                text = pending.decode(errors="ignore")
            yield start, stop, text
            start, pending = stop, b""

    def _token_bytes(self, token: int) -> bytes:
        symbols = self._tokenizer.id_to_token(token) or ""
        return bytes(self._bytes[symbol] for symbol in symbols if symbol in self._bytes)

    def _special(self, *names: str) -> int:
        for name in names:
            if (token := self._tokenizer.token_to_id(name)) is not None:
                return int(token)
        raise ValueError(f"the tokenizer has no {' or '.join(names)}")


def _is_outside(data: bytes, script: str) -> bool:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        # the token is part of a character: judge by the first byte that a character may have
        return any(byte >= _MIN_LEADING_BYTE and byte != _SCRIPT_LEADING_BYTE for byte in data)
    letters = (char for char in text if unicodedata.category(char)[0] in "LM")
    return any(not unicodedata.name(char, "").startswith(script) for char in letters)


def _byte_alphabet() -> dict[str, int]:
    """Return the byte that each character of a token stands for.

    Byte-level BPE (GPT-2) writes a byte as its own character where that is printable, and as the
    next free character from U+0100 on where it is not.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return dict(zip(map(chr, (*printable, *range(256, 512))), (*printable, *others), strict=False))
