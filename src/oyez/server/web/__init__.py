"""EDGE: plain HTTP: health, metrics, the page."""

from __future__ import annotations
