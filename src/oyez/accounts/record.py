"""What is written of a session: its usage, whose server it was, and the price in force."""

from __future__ import annotations

from dataclasses import dataclass

from oyez.accounts.usage import SessionUsage


@dataclass(frozen=True, slots=True)
class Record:
    usage: SessionUsage
    instance_id: str
    price_per_second: str | None
    """A decimal number; None: nothing is charged."""
    currency: str | None
