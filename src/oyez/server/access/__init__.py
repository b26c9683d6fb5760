"""Authentication and admission: who may use the server, and how much."""

from __future__ import annotations
