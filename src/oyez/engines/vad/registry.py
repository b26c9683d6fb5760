"""Voice activity detectors by name; a detector's libraries are imported only when it is chosen."""

from __future__ import annotations

from importlib import import_module

from oyez.engines.vad.base import VoiceDetector

_DETECTORS = {
    "silero": ("oyez.engines.vad.silero", "SileroDetector"),
    "energy": ("oyez.engines.vad.energy", "EnergyDetector"),
}


def load(name: str) -> VoiceDetector:
    """Load the detector called `name`. Raises ValueError if there is none of that name."""
    if name not in _DETECTORS:
        allowed = ", ".join(sorted(_DETECTORS))
        raise ValueError(f"unknown voice detector {name!r}: choose one of {allowed}")
    module_name, class_name = _DETECTORS[name]
    detector: VoiceDetector = getattr(import_module(module_name), class_name)()
    return detector
