"""The Recogniser on CTranslate2: exact Whisper on windows of 30 s, greedy for partials, beam
search for finals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import ctranslate2
import numpy as np

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import LANGUAGES, Hypothesis, Info, Piece, Purpose, RecognitionError, Request
from oyez.engines.whisper_ct2.files import ModelFiles, find_files
from oyez.engines.whisper_faults import (
    confirms,
    is_invented,
    loop_start,
    may_be_echo,
    without_repeats,
)
from oyez.engines.whisper_onnx.mel import HOP_SAMPLES, LogMel
from oyez.engines.whisper_onnx.tokens import Tokens, whisper_code
from oyez.engines.whisper_onnx.weights import WeightsError
from oyez.turns.language import likeliest

MAX_BATCH = 8
FINAL_BEAM_SIZE = 5
MAX_CONTEXT_TOKENS = 150
MAX_TOKENS = 448
"""Positions of Whisper's decoder: context, prompt and text together."""
MAX_TOKENS_PER_SECOND = 30
"""More than the fastest speech in scripts of several tokens a character."""
SPARE_TOKENS = 16
WINDOW_SAMPLES = 30 * SAMPLE_RATE
WINDOW_FRAMES = WINDOW_SAMPLES // HOP_SAMPLES
POSITION_SAMPLES = 2 * HOP_SAMPLES
"""Audio per encoder position: 20 ms."""
UNREPEATED_TOKENS = 3
"""Second try where the first one looped: no run of so many tokens is said twice."""


class WhisperCt2:
    """A multilingual Whisper on CTranslate2. See `Recogniser`; `Request.hint` is ignored."""

    def __init__(self, model: Any, tokens: Tokens) -> None:
        self._model = model
        self._tokens = tokens
        self._log_mel = LogMel(model.n_mels)
        self._info = Info(
            "whisper-ct2", LANGUAGES, WINDOW_SAMPLES, MAX_BATCH, max_batch_finals=MAX_BATCH
        )

    @classmethod
    def load(cls, model: str, device: str, threads: int) -> WhisperCt2:
        """Load `model`: "base" (built in), a directory in CTranslate2's format, or the name of
        a model that was downloaded from the Hugging Face hub before.

        device: "cpu" or "cuda". threads: of the CPU.

        Raises:
            WeightsError: the model is not on this machine, damaged, or knows English only.
        """
        files = find_files(model)
        loaded = _load(files, device, threads)
        if not loaded.is_multilingual:
            raise WeightsError(f"{model} knows English only: choose a multilingual Whisper")
        return cls(loaded, Tokens(files.tokenizer_json, files.config))

    @property
    def info(self) -> Info:
        return self._info

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        """Answer every request, in order; see `Recogniser.recognise`."""
        answers: list[Hypothesis | RecognitionError] = [
            RecognitionError(f"audio of {len(request.samples)} samples is longer than 30 s")
            for request in requests
        ]
        fitting = [i for i, r in enumerate(requests) if len(r.samples) <= WINDOW_SAMPLES]
        for group in self._alike(requests, fitting):
            heard = self._answer([requests[index] for index in group])
            for index, answer in zip(group, heard, strict=True):
                answers[index] = self._without_echo(requests[index], answer)
        return answers

    def warm_up(self) -> None:
        """Run every path once so that the first listener does not wait."""
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
        self.recognise([Request(noise, Purpose.PARTIAL), Request(noise, Purpose.FINAL)])

    def _without_echo(self, request: Request, heard: Hypothesis) -> Hypothesis:
        if not may_be_echo(heard.text, request.context):
            return heard
        (plain,) = self._answer([replace(request, context="")])
        return heard if confirms(heard.text, plain.text) else plain

    def _alike(self, requests: Sequence[Request], indices: Sequence[int]) -> Iterator[list[int]]:
        """Groups that can be decoded in one call: same language, purpose and length of context.
        Requests whose language must be found out first stay alone."""

        def kind(index: int) -> tuple[str, str, int]:
            request = requests[index]
            prompt = self._prompt(request, request.language or "en")
            return request.language or "", request.purpose.value, prompt.index(self._tokens.start)

        for (language, _, _), group in groupby(sorted(indices, key=kind), key=kind):
            if language:
                yield list(group)
            else:
                yield from ([index] for index in group)

    def _answer(self, requests: Sequence[Request]) -> list[Hypothesis]:
        mel = np.stack([self._log_mel(request.samples, WINDOW_FRAMES) for request in requests])
        encoded = self._model.encode(ctranslate2.StorageView.from_array(mel))
        language, scores = requests[0].language, {}
        if language is None:
            scores = self._language_scores(encoded)
            prior, samples = requests[0].language_prior, len(requests[0].samples)
            language = likeliest(prior, scores, samples)
        results = self._generate(requests, encoded, language)
        texts = [
            _without_loop(result.sequences_ids[0][len(_tokens_of(request.prefix)) :])
            for request, result in zip(requests, results, strict=True)
        ]
        aligned = self._align(requests, encoded, language, texts)
        return [
            Hypothesis(self._pieces(*row), language, scores, row[1].no_speech_prob)
            for row in zip(requests, results, texts, aligned, strict=True)
        ]

    def _language_scores(self, encoded: Any) -> dict[str, float]:
        by_name = dict(self._model.detect_language(encoded)[0])
        known = {code: by_name[f"<|{whisper_code(code)}|>"] for code in self._tokens.language_ids}
        total = sum(known.values()) or 1.0
        return {code: known.get(code, 0.0) / total for code in LANGUAGES}

    def _prompt(self, request: Request, language: str) -> list[int]:
        prompt = [*self._tokens.prompt(language), *_tokens_of(request.prefix)]
        context = without_repeats(request.context)
        if not context:
            return prompt
        words = self._tokens.encode(" " + context)[:MAX_CONTEXT_TOKENS]
        return [self._tokens.previous, *words, *prompt]

    def _generate(self, requests: Sequence[Request], encoded: Any, language: str) -> list[Any]:
        """One result per request, which are alike. Its tokens begin with the request's prefix."""
        prompts = [self._prompt(request, language) for request in requests]
        most_tokens = max(_most_tokens(request) for request in requests)
        longest = max(len(prompt) for prompt in prompts)
        options = {
            "beam_size": FINAL_BEAM_SIZE if requests[0].purpose is Purpose.FINAL else 1,
            # CTranslate2 stops at half of it, and at what the prompt leaves of it
            "max_length": min(max(2 * most_tokens, longest + most_tokens), MAX_TOKENS),
            "return_scores": True,
            "return_no_speech_prob": True,
        }
        results: list[Any] = self._model.generate(encoded, prompts, **options)
        if all(loop_start(result.sequences_ids[0]) is None for result in results):
            return results
        second = self._model.generate(
            encoded, prompts, no_repeat_ngram_size=UNREPEATED_TOKENS, **options
        )
        return [
            result if loop_start(result.sequences_ids[0]) is None else unlooped
            for result, unlooped in zip(results, second, strict=True)
        ]

    def _align(
        self, requests: Sequence[Request], encoded: Any, language: str, texts: list[list[int]]
    ) -> list[Any]:
        start = self._tokens.prompt(language)[:-1]  # `align` adds the token for no timestamps
        frames = [max(2, len(request.samples) // HOP_SAMPLES) for request in requests]
        spoken = [
            _tokens_of(request.prefix) + text for request, text in zip(requests, texts, strict=True)
        ]
        aligned: list[Any] = self._model.align(encoded, list(start), spoken, frames)
        return aligned

    def _pieces(
        self, request: Request, result: Any, text: list[int], aligned: Any
    ) -> tuple[Piece, ...]:
        # with a prefix, speech was heard before: what is decoded now says nothing about that
        if not request.prefix and is_invented(result.no_speech_prob, result.scores[0]):
            return ()
        return request.prefix + tuple(self._new_pieces(request, text, aligned))

    def _new_pieces(self, request: Request, text: list[int], aligned: Any) -> Iterator[Piece]:
        """What follows the prefix, each piece ending where its last token was heard."""
        before = len(_tokens_of(request.prefix))
        heard = _token_ends(aligned, before + len(text))
        probabilities = aligned.text_token_probs
        whole = list(self._tokens.whole(text))
        ends = [heard[before + stop - 1] * POSITION_SAMPLES for _, stop, _ in whole]
        end = request.prefix[-1].end_samples if request.prefix else 0
        for number, (start, stop, characters) in enumerate(whole):
            # the mark behind a word is aligned with the word's own last sounds
            has_mark = number + 1 < len(whole) and not _has_letters(whole[number + 1][2])
            end = max(end, min(ends[number + has_mark], len(request.samples)))
            probability = float(np.mean(probabilities[before + start : before + stop]))
            yield Piece(characters, tuple(text[start:stop]), end, probability)


def _load(files: ModelFiles, device: str, threads: int) -> Any:
    on_cpu = device == "cpu"
    try:
        return ctranslate2.models.Whisper(
            files.location,
            device=device,
            compute_type="int8" if on_cpu else "float16",
            intra_threads=threads,
            **({"files": files.contents} if files.contents else {}),
        )
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"CTranslate2 cannot load {files.location}: {error}") from error


def _most_tokens(request: Request) -> int:
    """Prefix and text together."""
    seconds = len(request.samples) / SAMPLE_RATE
    return len(_tokens_of(request.prefix)) + round(seconds * MAX_TOKENS_PER_SECOND) + SPARE_TOKENS


def _tokens_of(pieces: Sequence[Piece]) -> list[int]:
    return [token for piece in pieces for token in piece.tokens]


def _without_loop(tokens: list[int]) -> list[int]:
    return tokens[: loop_start(tokens)]


def _has_letters(text: str) -> bool:
    return any(char.isalnum() for char in text)


def _token_ends(aligned: Any, count: int) -> list[int]:
    """Per token, the encoder position behind the last one it was heard at."""
    ends = [0] * count
    for token, position in aligned.alignments:
        if token < count:
            ends[token] = max(ends[token], position + 1)
    return ends
