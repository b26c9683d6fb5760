"""Studies behind decisions in oyez. They import `oyez`; nothing in `oyez` imports them."""

from __future__ import annotations
