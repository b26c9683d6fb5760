"""One row of a decoding: what it starts with, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from oyez.engines.whisper_onnx.bias import NO_TERMS, START, State, TermTree


@dataclass(slots=True)
class Line:
    """One row's decoding: what it starts with, and what came of it."""

    prompt: tuple[int, ...]
    """All tokens given, forced text included."""
    hint: tuple[int, ...]
    """Tokens that may follow."""
    max_tokens: int
    audio: int
    """Encoder positions of audio; silence follows."""
    tree: TermTree = NO_TERMS
    """Terms to prefer."""
    state: State = START
    """Where in `tree` the text ends."""
    tokens: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Per token, the encoder position of the audio that had most attention while the one after
    it was predicted: where it was heard to end."""
    end_probability: float = 0.0
    """Probability of the end where it was accepted; 0 where decoding was cut off."""

    def cut(self, length: int) -> None:
        """Forget all tokens from `length` on."""
        del self.tokens[length:], self.probabilities[length:], self.places[length:]
