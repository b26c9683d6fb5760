"""Which web pages may use the server without a key of their own.

A browser sends requests of any page to any server its user can reach, loopback too. Only the
`Origin` header tells: programs need not send one, pages cannot leave it out or forge it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from oyez.settings import is_loopback

ANY = "*"
_DEFAULT_PORTS = {"http": 80, "https": 443}
"""Pages of other schemes are not ours, whatever their port."""


class Origins:
    """allowed: origins (`https://host:port`) besides the server's own, `*` for all. local: the
    server listens on loopback only, so that pages it did not serve itself have no name for it."""

    def __init__(self, allowed: Collection[str], *, local: bool) -> None:
        self._allowed = frozenset(origin.lower() for origin in allowed)
        self._local = local

    def permit(self, origin: str, host: str) -> bool:
        """Whether pages of this origin may ask the server that they call `host` (with port)."""
        origin = origin.lower()
        if origin in self._allowed or ANY in self._allowed:
            return True
        scheme, _, _ = origin.partition("://")
        page, own = _place(origin), _place(f"{scheme}://{host.lower()}")
        if page is None or page != own:
            return False
        return not (self._local and _may_be_rebound(page[0]))


def _place(url: str) -> tuple[str, int] | None:
    """Host and port of an origin, or None for what is none (`null`)."""
    try:
        parts = urlsplit(url)
        default = _DEFAULT_PORTS[parts.scheme]
        port = default if parts.port is None else parts.port
    except (ValueError, KeyError):
        return None
    return (parts.hostname, port) if parts.hostname else None


def _may_be_rebound(host: str) -> bool:
    """Whether it is a name its owner can point at loopback, to make a page of theirs ours."""
    if is_loopback(host) or host.endswith(".localhost"):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False
