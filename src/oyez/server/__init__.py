"""EDGE: sockets, HTTP, admission, and the shell that runs a session's effects."""

from __future__ import annotations
