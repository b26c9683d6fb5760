"""Whisper on ONNX Runtime: it builds its own graphs from the weights, and encodes only the audio
that is there instead of a full input of 30 s."""

from __future__ import annotations

from oyez.engines.whisper_onnx.engine import WhisperOnnx

__all__ = ["WhisperOnnx"]
