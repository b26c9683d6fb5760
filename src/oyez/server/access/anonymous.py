"""Whom a server lets in that has no key at all: this machine, or everybody if that is asked for.

That there is no key opens nothing to others: a key may have been lost with its database.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from aiohttp import web

from oyez.server.access.refusals import NO_KEYS_YET, Refusal
from oyez.settings import Settings, is_loopback

HEADERS_OF_PROXIES = frozenset(
    {
        *("forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip"),
        *("true-client-ip", "cf-connecting-ip", "cdn-loop", "fly-client-ip"),
        *("x-envoy-external-address", "x-original-forwarded-for"),
    }
)
"""Besides all that begin with X-Forwarded-."""


class Anonymous:
    """Only for servers without a key."""

    def __init__(self, settings: Settings) -> None:
        self.everybody = settings.allow_insecure
        """Whoever reaches the server is let in."""
        self.this_machine = settings.for_this_machine
        """Callers of this machine are let in."""

    @property
    def anybody(self) -> bool:
        """Whether it lets in anybody at all."""
        return self.everybody or self.this_machine

    def objection(self, request: web.Request) -> Refusal | None:
        """Why the sender of this request is not let in without a key; None: it is."""
        if self.everybody:
            return None
        # without trusted proxies `remote` is the other end of the connection, whatever headers say
        is_let_in = self.this_machine and is_of_this_machine(request.remote, request.headers)
        return None if is_let_in else NO_KEYS_YET


def is_of_this_machine(peer: str | None, headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a program on this machine that is no proxy for others, as far as
    that can be seen: from a loopback address, without a header that proxies add, to a host that is
    this machine. peer: the address at the other end of the connection."""
    if peer is None or not is_loopback(peer) or any(map(_is_of_a_proxy, headers)):
        return False
    host = headers.get("Host")
    return host is None or _is_this_machine(host)


def _is_of_a_proxy(header: str) -> bool:
    name = header.lower()
    return name.startswith("x-forwarded-") or name in HEADERS_OF_PROXIES


def _is_this_machine(host: str) -> bool:
    """Proxies pass on the name that their callers know; so does a page whose name somebody has
    pointed at loopback."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or name.endswith(".localhost")
