"""Whisper on ONNX Runtime: built from the weights, decoding only the audio there is."""

from __future__ import annotations

from oyez.engines.whisper_onnx.engine import WhisperOnnx

__all__ = ["WhisperOnnx"]
