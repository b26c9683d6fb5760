"""Requests that fit the model → hypotheses: encode, name the language, decode.

Each is encoded alone: a batch would cost more, for its padding. Partials are decoded together:
every token takes reading all weights, which a batch shares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnxruntime

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import LANGUAGES, Hypothesis, Piece, Purpose, Request
from oyez.engines.whisper_onnx import window
from oyez.engines.whisper_onnx.beam import Beam
from oyez.engines.whisper_onnx.bias import Trees
from oyez.engines.whisper_onnx.clauses import COMMAS, WELCOME, Divider
from oyez.engines.whisper_onnx.decode import Cache, Decoder, Encoded, Floats, Greedy, token_bias
from oyez.engines.whisper_onnx.graph import Sizes
from oyez.engines.whisper_onnx.languages import choose_language
from oyez.engines.whisper_onnx.line import Line
from oyez.engines.whisper_onnx.mel import LogMel
from oyez.engines.whisper_onnx.silence import Silence
from oyez.engines.whisper_onnx.stop import SILENT, is_invented, is_silence
from oyez.engines.whisper_onnx.tokens import Tokens
from oyez.turns.text_style import SPACELESS

SCRIPTS = {"hi": "DEVANAGARI", "th": "THAI"}
"""Languages whose own script is preferred: the model tends to write them in Latin or Arabic
letters, or to translate. On 15 Hindi clips errors fell from 108 to 94 %, on 6 Thai ones from 59 to
43 %; Arabic was not helped. English that is plainly heard is still written so."""
ATTENTION_LAG_SAMPLES = SAMPLE_RATE // 10
"""How far behind the end of a word attention is when the word is written: it looks for the next
one already. The median over 195 words of synthesised speech in four languages."""
MAX_TOKENS_PER_SECOND = 30
"""More than the fastest speech in scripts of several tokens a character."""
SPARE_TOKENS = 16


@dataclass(slots=True)
class _Heard:
    """One request on its way."""

    request: Request
    encoded: Encoded
    features: Floats
    audio: int
    """Encoder positions of audio."""
    language: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    no_speech: float = 0.0
    line: Line = field(default_factory=lambda: Line((), (), 0, 0))


class Transcriber:
    """One loaded Whisper. Keeps nothing between calls but the terms of contexts, so that calls
    may overlap."""

    def __init__(
        self,
        encoder: onnxruntime.InferenceSession,
        decoder: onnxruntime.InferenceSession,
        sizes: Sizes,
        tokens: Tokens,
    ) -> None:
        self._sizes = sizes
        self._tokens = tokens
        self._trees = Trees(tokens)
        self._log_mel = LogMel(sizes.bands)
        self._encoder = encoder
        self._encoder_outputs = [output.name for output in encoder.get_outputs()]
        marks = [tokens.no_speech, *tokens.language_ids.values()]
        self._decoder = Decoder(decoder, sizes, marks)
        self._searches = {"": self._search()}
        for script in SCRIPTS.values():
            self._searches[script] = self._search(tokens.foreign(script))
        self._divider = Divider(self._divider_search(), tokens)
        self._no_bias = np.zeros(sizes.vocabulary, np.float32)
        second = self._encode(Request(np.zeros(SAMPLE_RATE, np.float32), Purpose.FINAL))
        allowed = token_bias(sizes, tokens.end, tokens.suppressed)
        self._silence = Silence(self._decoder, second.encoded, allowed)

    def _search(self, foreign: tuple[int, ...] = ()) -> tuple[Greedy, Beam]:
        """With reluctance to write the tokens in `foreign`."""
        tokens = self._tokens
        rules = (self._decoder, tokens.end, tokens.suppressed, tokens.suppressed_first)
        return Greedy(*rules, unlikely=foreign), Beam(*rules, unlikely=foreign)

    def _divider_search(self) -> Beam:
        """With commas welcome."""
        tokens = self._tokens
        rules = (self._decoder, tokens.end, tokens.suppressed, tokens.suppressed_first)
        return Beam(*rules, welcome=dict.fromkeys(tokens.written(COMMAS), WELCOME))

    def transcribe(self, requests: Sequence[Request]) -> list[Hypothesis]:
        """Answer requests of at most `window`'s room, in order."""
        heard = [self._encode(request) for request in requests]
        partials = [each for each in heard if each.request.purpose is Purpose.PARTIAL]
        # rounding depends on how many rows are multiplied at once, and may turn a near-tie; but
        # the same audio should always give the same final
        finals = ([each] for each in heard if each.request.purpose is Purpose.FINAL)
        for group in (partials, *finals):
            if known := [each for each in group if each.request.language]:
                self._write_as_asked(known)
            if unknown := [each for each in group if not each.request.language]:
                self._write_as_detected(unknown)
        return [self._hypothesis(each) for each in heard]

    def features(self, samples: Samples) -> Floats:
        """Acoustic features alone, [layers, width]; see `Hypothesis.features`."""
        return self._encode(Request(samples, Purpose.FINAL)).features

    def _encode(self, request: Request) -> _Heard:
        view = window.lay_out([len(request.samples)], self._sizes.positions)
        inputs = {
            "mel": self._log_mel(request.samples, 2 * view.computed + 1)[None],
            "sources": view.sources,
            "positions": view.positions,
            "bias": view.bias,
            "pooling": view.pooling,
        }
        states = dict(zip(self._encoder_outputs, self._encoder.run(None, inputs), strict=True))
        features: Floats = states.pop("features")
        return _Heard(request, Encoded(states, view.bias), features[0], view.real[0])

    def _write_as_asked(self, heard: Sequence[_Heard]) -> None:
        """Decode in the languages asked for, which saves a step; again where the audio plainly
        excludes one."""
        for each in heard:
            each.language = each.request.language or ""
        for group in _by_script(heard):
            self._note(group, self._write(group))
        overruled = []
        for each in heard:
            if (language := self._choose_language(each)) != each.language:
                each.language = language
                overruled.append(each)
        for group in _by_script(overruled):
            self._write(group)

    def _write_as_detected(self, heard: Sequence[_Heard]) -> None:
        """First the language, then the words."""
        encoded = Encoded.together([each.encoded for each in heard])
        cache = Cache(self._sizes, len(heard))
        start, only = [[self._tokens.start]] * len(heard), [[0]] * len(heard)
        self._note(heard, self._decoder.feed(start, encoded, cache, only, self._no_bias).marks)
        for each in heard:
            each.language = self._choose_language(each)
        for group in _by_script(heard):
            self._write(group)

    def _write(self, heard: Sequence[_Heard]) -> Floats:
        """Decode partials of one script, or one final. Returns the odds of the marks after each
        prompt's first token, where Whisper names the language, or that nobody speaks."""
        for each in heard:
            each.line = self._line(each)
        lines = [each.line for each in heard]
        encoded = Encoded.together([each.encoded for each in heard])
        cache = Cache(self._sizes, len(heard))
        greedy, beam = self._searches[_script(heard[0])]
        if heard[0].request.purpose is Purpose.FINAL:
            marks = beam.run(lines[0], encoded, cache)
            self._divide(heard[0])
            return marks
        return greedy.run(lines, encoded, cache)

    def _divide(self, heard: _Heard) -> None:
        """Give a final marks between its clauses if it should have some."""
        if self._divider.runs_on(heard.line, heard.language):
            again, cache = self._line(heard), Cache(self._sizes, 1)
            heard.line = self._divider.divide(
                heard.line, again, heard.language, heard.encoded, cache
            )

    def _note(self, heard: Sequence[_Heard], odds: Floats) -> None:
        codes = list(self._tokens.language_ids)
        for each, (no_speech, *row) in zip(heard, odds.tolist(), strict=True):
            known = dict(zip(codes, row, strict=True))
            total = sum(known.values()) or 1.0
            each.no_speech = no_speech
            each.scores = {code: known.get(code, 0.0) / total for code in LANGUAGES}

    def _choose_language(self, heard: _Heard) -> str:
        written_as = self._tokens.written_as(heard.request.language)
        return choose_language(heard.request, heard.scores, written_as)

    def _line(self, heard: _Heard) -> Line:
        request = heard.request
        prompt = self._tokens.prompt(heard.language)
        forced = tuple(token for piece in request.prefix for token in piece.tokens)
        prompt += forced
        hint = tuple(token for piece in request.hint for token in piece.tokens)
        hint = hint[len(forced) :] if hint[: len(forced)] == forced else ()
        room = self._sizes.text_positions - len(prompt)
        seconds = len(request.samples) / SAMPLE_RATE
        limit = max(0, min(room, round(seconds * MAX_TOKENS_PER_SECOND) + SPARE_TOKENS))
        tree = self._trees.of(request.context, heard.language not in SPACELESS)
        return Line(prompt, hint[:limit], limit, heard.audio, tree, tree.after(forced))

    def _hypothesis(self, heard: _Heard) -> Hypothesis:
        return Hypothesis(
            pieces=(*heard.request.prefix, *self._pieces(heard)),
            language=heard.language,
            language_scores={} if heard.request.language else heard.scores,
            no_speech=heard.no_speech,
            features=heard.features,
        )

    def _is_invented(self, line: Line, no_speech: float) -> bool:
        if is_invented(line.tokens, line.probabilities, no_speech):
            return True
        if no_speech < SILENT:
            return False
        of_silence = self._silence.probabilities(line.prompt, line.tokens)
        return is_silence(line.tokens, line.probabilities, of_silence)

    def _pieces(self, heard: _Heard) -> Iterator[Piece]:
        """The line's new text, each piece ending where its last token was heard; nothing if it
        seems invented."""
        line, request = heard.line, heard.request
        if line.tokens and not request.prefix and self._is_invented(line, heard.no_speech):
            return
        end = request.prefix[-1].end_samples if request.prefix else 0
        for start, stop, text in self._tokens.whole(line.tokens):
            reached = (line.places[stop - 1] + 1) * window.POSITION_SAMPLES
            end = max(end, min(reached, len(request.samples)))
            yield Piece(
                text=text,
                tokens=tuple(line.tokens[start:stop]),
                end_samples=end,
                probability=float(np.mean(line.probabilities[start:stop])),
                said_to_samples=max(0, reached - ATTENTION_LAG_SAMPLES),
            )


def _script(heard: _Heard) -> str:
    return SCRIPTS.get(heard.language, "")


def _by_script(heard: Sequence[_Heard]) -> list[list[_Heard]]:
    """Those of which the same tokens are likely, together."""
    groups: dict[str, list[_Heard]] = {}
    for each in heard:
        groups.setdefault(_script(each), []).append(each)
    return list(groups.values())
