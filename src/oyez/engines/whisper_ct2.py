"""Whisper on CTranslate2: inputs padded to 30 s, greedy search for partials, beams for finals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import ctranslate2
import numpy as np
from faster_whisper.utils import available_models, download_model

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import (
    BUILT_IN_MODEL,
    LANGUAGES,
    EngineOptions,
    Hypothesis,
    Info,
    Piece,
    Purpose,
    RecognitionError,
    Request,
)
from oyez.engines.language_prior import likeliest
from oyez.engines.whisper.hallucination import (
    confirms,
    is_invented_by_score,
    letters_of,
    may_be_echo,
    repetition_start,
    without_repeats,
)
from oyez.engines.whisper.mel import HOP_SAMPLES, POSITION_SAMPLES, LogMel
from oyez.engines.whisper.tokens import Tokens, most_tokens, tokens_of, whisper_code
from oyez.engines.whisper.weights import Source, WeightsError, in_directory, packaged

MAX_BATCH = 8
FINAL_BEAM_SIZE = 5
MAX_CONTEXT_TOKENS = 150
MAX_TOKENS = 448
"""Positions of Whisper's decoder, for context, prompt and text together."""
MAX_SAMPLES = 30 * SAMPLE_RATE
INPUT_FRAMES = MAX_SAMPLES // HOP_SAMPLES
"""Frames of the encoder's input. Shorter audio is padded with silence."""
UNREPEATED_TOKENS = 3
"""If the first result loops, a second one is decoded in which no run of this many tokens occurs
twice."""


class WhisperCt2:
    """A multilingual Whisper on CTranslate2. See `Recogniser`. It ignores `Request.hint`."""

    devices = ("cpu", "cuda")

    def __init__(self, model: Any, tokens: Tokens) -> None:
        self._model = model
        self._tokens = tokens
        self._log_mel = LogMel(model.n_mels)
        self.info = Info(
            name="whisper-ct2",
            languages=LANGUAGES,
            max_samples=MAX_SAMPLES,
            max_batch=MAX_BATCH,
            max_batch_finals=MAX_BATCH,
            has_speech_model=True,
        )

    @classmethod
    def load(cls, options: EngineOptions) -> WhisperCt2:
        """Load the built-in model, a directory in CTranslate2's format, or a model of the Hugging
        Face hub that was downloaded before. Raises WeightsError if it is not on this machine, is
        damaged, or is for English only."""
        files = find_files(options.model)
        try:
            model = ctranslate2.models.Whisper(
                files.location,
                device=options.device,
                compute_type="int8" if options.device == "cpu" else "float16",
                intra_threads=options.threads,
                **({"files": files.contents} if files.contents else {}),
            )
        except (RuntimeError, ValueError) as error:
            raise WeightsError(f"CTranslate2 cannot load {files.location}: {error}") from error
        if not model.is_multilingual:
            raise WeightsError(
                f"{options.model} is for English only: choose a multilingual Whisper"
            )
        return cls(model, files.source.read_tokens())

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        """Answer every request, in order; see `Recogniser.recognise`."""
        answers: list[Hypothesis | RecognitionError] = [
            RecognitionError(f"audio of {len(request.samples)} samples is longer than 30 s")
            for request in requests
        ]
        fitting = [i for i, r in enumerate(requests) if len(r.samples) <= MAX_SAMPLES]
        for group in self._alike(requests, fitting):
            hypotheses = self._answer([requests[index] for index in group])
            for index, answer in zip(group, hypotheses, strict=True):
                answers[index] = self._without_echo(requests[index], answer)
        return answers

    def warm_up(self) -> None:
        """Run every code path once, so that the first client does not wait."""
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
        self.recognise([Request(noise, Purpose.PARTIAL), Request(noise, Purpose.FINAL)])

    def _without_echo(self, request: Request, answer: Hypothesis) -> Hypothesis:
        """Return `answer`, or the answer without context if `answer` only echoes the context."""
        if not may_be_echo(answer.text, request.context):
            return answer
        (plain,) = self._answer([replace(request, context="")])
        return answer if confirms(answer.text, plain.text) else plain

    def _alike(self, requests: Sequence[Request], indices: Sequence[int]) -> Iterator[list[int]]:
        """Yield groups of indices that can be decoded in one call: their requests have the same
        language, purpose and length of context. A request whose language must be detected is alone
        in its group."""

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
        mel = np.stack([self._log_mel(request.samples, INPUT_FRAMES) for request in requests])
        encoded = self._model.encode(ctranslate2.StorageView.from_array(mel))
        language, scores = requests[0].language, {}
        if language is None:
            by_name = dict(self._model.detect_language(encoded)[0])
            names = (f"<|{whisper_code(code)}|>" for code in self._tokens.language_ids)
            scores = self._tokens.language_scores(by_name[name] for name in names)
            prior, samples = requests[0].language_prior, len(requests[0].samples)
            language = likeliest(prior, scores, samples)
        results = self._generate(requests, encoded, language)
        prefixes = [tokens_of(request.prefix) for request in requests]
        pairs = zip(prefixes, results, strict=True)
        looped = [result.sequences_ids[0][len(prefix) :] for prefix, result in pairs]
        texts = [text[: repetition_start(text)] for text in looped]
        start = list(self._tokens.prompt(language)[:-1])  # `align` adds the token for no timestamps
        written = [[*prefix, *text] for prefix, text in zip(prefixes, texts, strict=True)]
        frames = [max(2, len(request.samples) // HOP_SAMPLES) for request in requests]
        aligned = self._model.align(encoded, start, written, frames)
        return [
            Hypothesis(
                (*row[0].prefix, *self._pieces(*row)), language, scores, row[1].no_speech_prob
            )
            for row in zip(requests, results, texts, aligned, strict=True)
        ]

    def _prompt(self, request: Request, language: str) -> list[int]:
        prompt = [*self._tokens.prompt(language), *tokens_of(request.prefix)]
        if context := without_repeats(request.context):
            words = self._tokens.encode(" " + context)[:MAX_CONTEXT_TOKENS]
            prompt = [self._tokens.previous, *words, *prompt]
        return prompt

    def _generate(self, requests: Sequence[Request], encoded: Any, language: str) -> list[Any]:
        """Return CTranslate2's result for each of several requests that are alike. Its tokens begin
        with the request's prefix."""
        prompts = [self._prompt(request, language) for request in requests]
        # of prefix and text together
        limit = max(
            len(tokens_of(each.prefix)) + most_tokens(len(each.samples)) for each in requests
        )
        longest = max(len(prompt) for prompt in prompts)
        options = {
            "beam_size": FINAL_BEAM_SIZE if requests[0].purpose is Purpose.FINAL else 1,
            # CTranslate2 writes at most half of it, and at most what the prompt leaves of it
            "max_length": min(max(2 * limit, longest + limit), MAX_TOKENS),
            "return_scores": True,
            "return_no_speech_prob": True,
        }
        results: list[Any] = self._model.generate(encoded, prompts, **options)
        loops = [repetition_start(result.sequences_ids[0]) is not None for result in results]
        if any(loops):
            options["no_repeat_ngram_size"] = UNREPEATED_TOKENS
            second = self._model.generate(encoded, prompts, **options)
            results = [b if loop else a for a, b, loop in zip(results, second, loops, strict=True)]
        return results

    def _pieces(
        self, request: Request, result: Any, text: list[int], aligned: Any
    ) -> Iterator[Piece]:
        """Yield the pieces after the prefix, or nothing if the text is probably invented. Each
        piece ends where its last token does."""
        # with a prefix there was speech before, which these results do not cover
        is_invented = is_invented_by_score(result.no_speech_prob, result.scores[0])
        if is_invented and not request.prefix:
            return
        before = len(tokens_of(request.prefix))
        # for each token, the encoder position after the last one aligned with it
        token_ends = [0] * (before + len(text))
        for token, position in aligned.alignments:
            if token < len(token_ends):
                token_ends[token] = max(token_ends[token], position + 1)
        probabilities = aligned.text_token_probs
        whole = list(self._tokens.split(text))
        ends = [token_ends[before + stop - 1] * POSITION_SAMPLES for _, stop, _ in whole]
        end = request.prefix[-1].end_samples if request.prefix else 0
        for number, (start, stop, characters) in enumerate(whole):
            # punctuation after a word is aligned with the last sounds of the word itself
            is_before_mark = number + 1 < len(whole) and not letters_of(whole[number + 1][2])
            end = max(end, min(ends[number + is_before_mark], len(request.samples)))
            probability = float(np.mean(probabilities[before + start : before + stop]))
            yield Piece(characters, tuple(text[start:stop]), end, probability)


class ModelFiles(NamedTuple):
    """The files of one model, as CTranslate2 needs them."""

    source: Source
    location: str
    """The model's directory, or only a name if there are `contents`."""
    contents: dict[str, bytes] | None
    """The files' contents by name, if no directory has them complete. Otherwise None."""


def find_files(model: str) -> ModelFiles:
    """Return the files of `model`: BUILT_IN_MODEL, a directory, or a name on the Hugging Face hub
    whose files are in the local hub cache. Nothing is downloaded. Raises WeightsError if the model
    is not on this machine, or the built-in one is damaged; the message explains what to do."""
    if model == BUILT_IN_MODEL:
        source = packaged()
        return ModelFiles(source, "whisper-base", source.read_files())
    directory = Path(model) if Path(model).is_dir() else _cached(model)
    return ModelFiles(in_directory(directory), str(directory), None)


def _cached(model: str) -> Path:
    try:
        return Path(download_model(model, local_files_only=True))
    except ValueError as error:
        raise WeightsError(
            f"{model} is neither a directory nor a model's name; names are "
            f"{', '.join(available_models())}, or owner/repository on the Hugging Face hub"
        ) from error
    except OSError as error:
        raise WeightsError(
            f"{model} is not on this machine, and oyez downloads no model by itself; add it once "
            f"with oyez models add --from-hub {model}, then choose --model "
            f"{model.rpartition('/')[2]}"
        ) from error
