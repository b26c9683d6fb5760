"""EDGE: benchmarks behind every figure in README and docs."""

from __future__ import annotations
