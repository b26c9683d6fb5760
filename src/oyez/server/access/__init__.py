"""EDGE: who may use the server, and what for."""

from __future__ import annotations
