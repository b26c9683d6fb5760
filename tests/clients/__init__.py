"""Public clients, unmodified, against the real server with the real model."""

from __future__ import annotations
