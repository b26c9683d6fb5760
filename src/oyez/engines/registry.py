"""Recognition engines by name. An engine is imported only when it is chosen."""

from __future__ import annotations

from importlib import import_module
from typing import Any

ENGINES: dict[str, str] = {
    "fake": "oyez.engines.fake:FakeRecogniser",
    "whisper-onnx": "oyez.engines.whisper_onnx:WhisperOnnx",
    "whisper-ct2": "oyez.engines.whisper_ct2:WhisperCt2",
}
"""Name to "module:class"; each class has a `load` that returns a `Recogniser`."""


def find(name: str) -> Any:
    """The engine class called `name`.

    Raises:
        ValueError: no engine has that name; the message lists those there are.
    """
    try:
        module, _, attribute = ENGINES[name].partition(":")
    except KeyError:
        raise ValueError(
            f"no recogniser is called {name!r}; there are: {', '.join(sorted(ENGINES))}"
        ) from None
    return getattr(import_module(module), attribute)
