"""The dialect of Qwen-ASR-Realtime: its JSON, its configuration and its rules."""

from __future__ import annotations
