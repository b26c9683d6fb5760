"""EDGE: who may use the server, and for what."""

from __future__ import annotations
