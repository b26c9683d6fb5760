"""What the model would say of silence: text that real audio makes no likelier was not heard in it.

Whisper has learnt what subtitles hold where nobody speaks: credits, thanks, [music]. It writes that
with confidence, so that its probability alone does not give it away.
"""

from __future__ import annotations

from collections.abc import Sequence

from oyez.engines.whisper_onnx.decode import Cache, Decoder, Encoded, Floats


class Silence:
    """Compares text with silence."""

    def __init__(self, decoder: Decoder, encoded: Encoded, token_bias: Floats) -> None:
        """encoded: silence, one row."""
        self._decoder = decoder
        self._encoded = encoded
        self._bias = token_bias

    def probabilities(self, prompt: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """How likely each of `tokens` is behind `prompt` and those before it if nothing is heard.
        Of one that is not among the likeliest, the most it can be."""
        cache = Cache(self._decoder.sizes, 1)
        block = [*prompt, *tokens]
        asked = range(len(prompt) - 1, len(block) - 1)
        heard = self._decoder.feed([block], self._encoded, cache, [asked], self._bias)
        likeliest = zip(heard.tokens[0].tolist(), heard.odds[0].tolist(), strict=True)
        return [
            dict(zip(choices, odds, strict=True)).get(token, odds[-1])
            for token, (choices, odds) in zip(tokens, likeliest, strict=True)
        ]
