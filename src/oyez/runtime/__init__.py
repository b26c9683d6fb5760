"""THREADS: loading, batching and running the engines. Knows no wire event."""

from __future__ import annotations
