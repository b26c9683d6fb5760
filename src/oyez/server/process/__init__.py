"""The server's process: port, connections, TLS, event loop, signals, memory, service manager."""

from __future__ import annotations
