"""The commands of `oyez bench`, and what studies of the same kind share with them."""

from __future__ import annotations
