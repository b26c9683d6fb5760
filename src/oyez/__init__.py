"""oyez: live speech to text over WebSocket, on your own machine."""

from __future__ import annotations

import os

__version__ = "0.1.0"

# ONNX Runtime reports usage to its makers unless this is set before it is first imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
