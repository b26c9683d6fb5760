"""The `oyez` command: one module for each subcommand, and what they share."""

from __future__ import annotations
