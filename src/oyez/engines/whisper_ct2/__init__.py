"""Whisper on CTranslate2, in any size and with fine-tuned models, on a CPU or with CUDA."""

from __future__ import annotations

from oyez.engines.whisper_ct2.engine import WhisperCt2

__all__ = ["WhisperCt2"]
