"""The wire format of Qwen-ASR-Realtime: its JSON, its configuration, its rules."""

from __future__ import annotations
