"""Any Whisper in CTranslate2's format, tiny to large-v3-turbo and fine-tunes, on CPU or CUDA."""

from __future__ import annotations

from oyez.engines.whisper_ct2.engine import WhisperCt2

__all__ = ["WhisperCt2"]
