"""Whom a request came from when proxies stand between: their word is taken only where trusted."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

Address = IPv4Address | IPv6Address


class TrustedProxies:
    def __init__(self, networks: Sequence[str]) -> None:
        """networks: addresses, or networks as 10.0.0.0/8. Raises ValueError."""
        self._networks = [ip_network(network, strict=False) for network in networks]

    def trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def client(self, peer: str | None, forwarded_for: Sequence[str]) -> str | None:
        """The nearest address that is no trusted proxy. forwarded_for: X-Forwarded-For headers, to
        which each proxy appended whom it heard from; what lies beyond is anybody's word."""
        client = peer
        hops = [hop for header in forwarded_for for hop in header.split(",")]
        while hops and (address := _address(client)) and self.trusts(address):
            before = _address(hops.pop())
            if before is None:
                break
            client = str(before)
        return client

    def scheme(self, peer: str | None, forwarded_proto: Sequence[str]) -> str | None:
        """The scheme the client used, as the nearest proxy says; None: nothing to be believed."""
        address = _address(peer)
        if not (forwarded_proto and address and self.trusts(address)):
            return None
        said = forwarded_proto[-1].rpartition(",")[2].strip().lower()
        return said if said in ("http", "https") else None


def believe(proxies: TrustedProxies) -> Middleware:
    """Handlers see the client's address as `request.remote`, its scheme as `request.scheme`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        client = proxies.client(request.remote, headers.getall("X-Forwarded-For", ()))
        scheme = proxies.scheme(request.remote, headers.getall("X-Forwarded-Proto", ()))
        if client is None:
            return await handler(request)
        return await handler(request.clone(remote=client, scheme=scheme or request.scheme))

    return middleware


def _address(text: str | None) -> Address | None:
    """None: it is none, or is hidden. Some proxies add a port."""
    text = (text or "").strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
