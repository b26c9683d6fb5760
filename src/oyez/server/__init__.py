"""The server: sockets, HTTP and admission, run by `lifecycle.run_server`."""

from __future__ import annotations
