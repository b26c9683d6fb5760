"""EDGE: a session from the other side of the wire, for oyez or any server of its protocol."""

from __future__ import annotations
