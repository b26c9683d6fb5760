"""The commands of `oyez bench`, and the parts that the studies of `research/` share with them."""

from __future__ import annotations
