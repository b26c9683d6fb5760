"""The `Recogniser` on ONNX Runtime with Whisper's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import (
    BUILT_IN_MODEL,
    LANGUAGES,
    EngineOptions,
    Hypothesis,
    Info,
    LoadError,
    Purpose,
    RecognitionError,
    Request,
)
from oyez.engines.whisper.mel import POSITION_SAMPLES
from oyez.engines.whisper.tokens import Tokens
from oyez.engines.whisper.weights import Source, in_directory, packaged
from oyez.engines.whisper_onnx.encoder import MARGIN_POSITIONS
from oyez.engines.whisper_onnx.graph import FEATURE_LAYERS
from oyez.engines.whisper_onnx.prepare import Prepared, prepare
from oyez.engines.whisper_onnx.redecode import MAX_ROUNDS, plan_redecoding
from oyez.engines.whisper_onnx.transcribe import Transcriber

MAX_BATCH = 16
SMALL_WIDTH = 512
"""The width of Whisper base. Up to this width one thread answers a request fast enough, and calls
on one thread each get more done than calls that share threads. A wider model needs all threads for
each request."""


class WhisperOnnx:
    """Whisper that encodes only the audio that is there. See `Recogniser`."""

    devices = ("cpu",)

    def __init__(self, prepared: Prepared, tokens: Tokens, threads: int, digest: str) -> None:
        """digest: SHA-256 of the weights."""
        sizes = prepared.sizes
        parallel = threads if sizes.width <= SMALL_WIDTH else 1
        encoder = _session(prepared.encoder, threads // parallel)
        decoder = _session(prepared.decoder, threads // parallel)
        self._transcriber = Transcriber(encoder, decoder, sizes, tokens)
        layers = "-".join(map(str, FEATURE_LAYERS))
        self._info = Info(
            name="whisper-onnx",
            languages=LANGUAGES,
            max_samples=(sizes.positions - MARGIN_POSITIONS) * POSITION_SAMPLES,
            max_batch=MAX_BATCH,
            feature_space=f"whisper-{digest[:16]}-layers-{layers}",
            parallel=parallel,
            has_speech_model=True,
        )

    @classmethod
    def load(cls, options: EngineOptions) -> WhisperOnnx:
        """Load the built-in model, or the one in the directory that `options.model` names.

        The first load on a machine builds int8 graphs in `options.cache_dir`.

        Raises:
            LoadError: the model is neither built in nor a directory.
            WeightsError: weights are missing or damaged.
            OSError: `options.cache_dir` cannot be written.
        """
        source = _source(options.model)
        tokens = source.read_tokens()
        prepared = prepare(source, Path(options.cache_dir))
        return cls(prepared, tokens, options.threads, source.digest)

    @property
    def info(self) -> Info:
        """What this engine can do."""
        return self._info

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        """Answer every request, in order; see `Recogniser.recognise`."""
        longest = self._info.max_samples
        fitting = {i: each for i, each in enumerate(requests) if len(each.samples) <= longest}
        answers = self._redecode(requests, self._answer(fitting))
        too_long = "audio of {} samples is longer than {}"
        return [
            answers.get(i) or RecognitionError(too_long.format(len(each.samples), longest))
            for i, each in enumerate(requests)
        ]

    def features(self, samples: Samples) -> NDArray[np.float32]:
        """Return `Hypothesis.features` of this audio without decoding it: means over time of the
        encoder layers FEATURE_LAYERS, float32 [layers, width].

        samples: float32 [n], at most `Info.max_samples`.
        """
        return self._transcriber.features(samples)

    def warm_up(self) -> None:
        """Run every code path once, so that the first client does not wait."""
        noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
        request = Request(noise, Purpose.FINAL)
        self.recognise([request, request])

    def _redecode(
        self, requests: Sequence[Request], hypotheses: dict[int, Hypothesis]
    ) -> dict[int, Hypothesis]:
        """Decode implausible parts again, until nothing changes or MAX_ROUNDS is reached."""
        longest = self._info.max_samples
        doubtful = set(hypotheses)
        for _ in range(MAX_ROUNDS):
            plans = {
                index: plan
                for index in doubtful
                if (plan := plan_redecoding(requests[index], hypotheses[index], longest))
            }
            found = self._answer({index: plan.request for index, plan in plans.items()})
            merged = {
                index: plan.merge(hypotheses[index], found[index]) for index, plan in plans.items()
            }
            doubtful = {index for index in merged if merged[index].text != hypotheses[index].text}
            hypotheses |= merged
            if not doubtful:
                break
        return hypotheses

    def _answer(self, requests: Mapping[int, Request]) -> dict[int, Hypothesis]:
        hypotheses = self._transcriber.transcribe(list(requests.values())) if requests else []
        return dict(zip(requests, hypotheses, strict=True))


def _source(model: str) -> Source:
    if model == BUILT_IN_MODEL:
        return packaged()
    directory = Path(model)
    if not directory.is_dir():
        raise LoadError(
            f"model {model} is no directory and was not added: whisper-onnx takes "
            f"'{BUILT_IN_MODEL}', the name of a model that oyez models list shows, or a directory "
            "in CTranslate2's format; for hub names choose --engine whisper-ct2"
        )
    return in_directory(directory)


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # The arena never returns memory. As shapes differ from call to call, it grew to 0.8 GB where
    # 0.4 are enough; without it the engine is 3 % slower.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
