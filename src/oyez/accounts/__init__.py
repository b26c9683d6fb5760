"""EDGE: who may use the server, and what they used: keys and usage in a database."""

from __future__ import annotations
