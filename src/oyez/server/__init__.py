"""The server: sockets, HTTP and admission. `lifecycle.run_server` runs it."""

from __future__ import annotations
