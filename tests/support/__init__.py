"""Shared by the tests: drivers and fakes."""

from __future__ import annotations
