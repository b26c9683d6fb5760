"""PURE: the wire. Events, their JSON, the session's state machine. No I/O, no clock."""

from __future__ import annotations
