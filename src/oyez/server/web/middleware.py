"""What happens to every HTTP request before and after its handler: proxies, CORS, counting.

`aiohttp-cors` and `aiohttp-remotes` do parts of this; ARCHITECTURE.md says why they are not used.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from oyez.metrics import OTHER, Metrics
from oyez.server.access.access import ANY_ORIGIN
from oyez.server.transcriptions.errors import CLIENT_GONE, PREFIX

CORS_METHODS = "GET, POST"
CORS_HEADERS = ("Authorization", "X-API-Key", "Content-Type")
SDK_HEADER = re.compile(r"user-agent|x-stainless-[a-z-]{1,40}")
"""The other headers that OpenAI's library for browsers sends."""
MAX_SDK_HEADERS = 20
CORS_EXPOSED_HEADERS = "Retry-After"
CORS_MAX_AGE_S = 600
SWITCHING_PROTOCOLS = 101

Address = IPv4Address | IPv6Address


class Cors:
    """Lets programs on web pages of the listed origins call `/v1/…` and read the answers.

    A browser first sends a preflight without the key. It shows a page of another origin only an
    answer that names this origin. Cookies are not used, so credentials are never allowed.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        """`allowed` holds origins (`https://host:port`), or `*` for all."""
        self._allowed = frozenset(origin.lower() for origin in allowed)

    def join(self, app: web.Application) -> None:
        """Add CORS headers to every answer of `app`, also to streams that a handler begins."""
        if self._allowed:
            app.on_response_prepare.append(self._add_headers)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer preflights of pages that may use the server; pass on every other request."""
        method = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
        is_preflight = request.method == hdrs.METH_OPTIONS and method
        if not (is_preflight and self._allowed_origin(request)):
            return await handler(request)
        wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "").lower().split(",")
        of_sdk = [name.strip() for name in wanted if SDK_HEADER.fullmatch(name.strip())]
        headers = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: CORS_METHODS,
            hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(
                (*CORS_HEADERS, *of_sdk[:MAX_SDK_HEADERS])
            ),
            hdrs.ACCESS_CONTROL_MAX_AGE: str(CORS_MAX_AGE_S),
        }
        return web.Response(status=204, headers=headers)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        if request.path.startswith(PREFIX) and ANY_ORIGIN not in self._allowed:
            # caches must keep the answers to different origins apart
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)
        if origin := self._allowed_origin(request):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = CORS_EXPOSED_HEADERS

    def _allowed_origin(self, request: web.Request) -> str | None:
        """The value of `Access-Control-Allow-Origin`; None if the page may not read the answer."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not request.path.startswith(PREFIX):
            return None
        if ANY_ORIGIN in self._allowed:
            return ANY_ORIGIN
        return origin if origin.lower() in self._allowed else None


class TrustedProxies:
    """Finds the address and the scheme of a client from the headers of trusted proxies."""

    def __init__(self, networks: Sequence[str]) -> None:
        """`networks` holds addresses, or networks such as 10.0.0.0/8. Raises ValueError."""
        self._networks = [ip_network(network, strict=False) for network in networks]

    def trusts(self, address: Address) -> bool:
        """Whether `address` is one of a trusted proxy."""
        return any(address in network for network in self._networks)

    def client(self, peer: str | None, forwarded_for: Sequence[str]) -> str | None:
        """Return the nearest address that is not one of a trusted proxy.

        `forwarded_for` holds the X-Forwarded-For headers. Each proxy appends the address that it
        received the request from, so what precedes the entry of an untrusted address may be forged.
        """
        client = peer
        hops = ",".join(forwarded_for).split(",")
        while hops and (address := _address(client)) and self.trusts(address):
            previous = _address(hops.pop())
            if previous is None:
                break
            client = str(previous)
        return client

    def scheme(self, peer: str | None, forwarded_proto: Sequence[str]) -> str | None:
        """Return the scheme that the nearest proxy reports; None if there is no trusted report."""
        address = _address(peer)
        if not (forwarded_proto and address and self.trusts(address)):
            return None
        reported = forwarded_proto[-1].rpartition(",")[2].strip().lower()
        return reported if reported in ("http", "https") else None


def resolve_client(proxies: TrustedProxies) -> Middleware:
    """Give handlers the client's address as `request.remote` and its scheme as `request.scheme`."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        client = proxies.client(request.remote, headers.getall("X-Forwarded-For", ()))
        scheme = proxies.scheme(request.remote, headers.getall("X-Forwarded-Proto", ()))
        if client is not None:
            request = request.clone(remote=client, scheme=scheme or request.scheme)
        return await handler(request)

    return middleware


def count_requests(metrics: Metrics) -> Middleware:
    """Count requests by route and status, and measure how long each takes. The outermost
    middleware: it also counts requests that another middleware answers."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource else OTHER
        began_s = time.monotonic()
        status = CLIENT_GONE
        try:
            response = await handler(request)
            status = response.status
            return response
        except Exception as error:
            status = error.status if isinstance(error, web.HTTPException) else 500
            raise
        finally:
            metrics.http_requests.labels(path, str(status)).inc()
            if status != SWITCHING_PROTOCOLS:  # a session lasts as long as its client wants
                metrics.http_seconds.labels(path).observe(time.monotonic() - began_s)

    return middleware


def _address(text: str | None) -> Address | None:
    """Parse an address that may have a port; None if it is missing, hidden or malformed."""
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
