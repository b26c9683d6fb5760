"""Whisper on CTranslate2: any size from tiny to large-v3-turbo, and fine-tuned models, on CPU or
CUDA."""

from __future__ import annotations

from oyez.engines.whisper_ct2.engine import WhisperCt2

__all__ = ["WhisperCt2"]
