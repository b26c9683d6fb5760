"""Whisper on ONNX Runtime, with graphs that encode only the audio that is there."""

from __future__ import annotations

from oyez.engines.whisper_onnx.engine import WhisperOnnx

__all__ = ["WhisperOnnx"]
