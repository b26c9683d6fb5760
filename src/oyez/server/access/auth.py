"""Authentication: who sends a request, and whether a web page may send it.

A key travels in a header, never in the URL. A request without a key is accepted only on a server
without keys, and there only from this machine, unless the operator allows all. A request of a web
page without a key must come from a page that is allowed to use the server.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from urllib.parse import unquote_plus, urlsplit

from aiohttp import web

from oyez.logs import RateLimitedLogger
from oyez.server.access.callers import ANONYMOUS, Caller, Callers
from oyez.server.access.refusals import (
    EXPIRED_KEY,
    INVALID_KEY,
    KEY_IN_URL,
    NO_KEYS_YET,
    REVOKED_KEY,
    Refusal,
    foreign_page,
)
from oyez.settings import Settings, is_loopback

SUBPROTOCOL = "oyez"
"""The WebSocket subprotocol that the server accepts. A browser that offers subprotocols closes the
socket if none of them is accepted."""
KEY_SUBPROTOCOL = "oyez-key."
"""The beginning of a subprotocol that carries a key in base64url. A web page can send its key in no
other way, because it cannot set headers on a WebSocket."""
URL_NAMES = frozenset({"api_key", "api-key", "apikey", "access_token", "token", "authorization"})
"""Names of URL parameters that carry a key."""
ANY_ORIGIN = "*"
PROXY_HEADERS = frozenset(
    {
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "cdn-loop",
        "fly-client-ip",
        "x-envoy-external-address",
        "x-original-forwarded-for",
    }
)
"""Headers that proxies add, besides all that begin with X-Forwarded-."""
LOG_WINDOW_S = 60.0
MAX_LINES_PER_ADDRESS = 5
"""The most log lines in a window about one address and one kind of key."""
MAX_LINES = 500
"""The most log lines in a window. It also bounds how many addresses are remembered."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOGGED_KEYS = {INVALID_KEY: "unknown", REVOKED_KEY: "revoked", EXPIRED_KEY: "expired"}

log = logging.getLogger(__name__)


def key_in_headers(headers: Mapping[str, str]) -> str | None:
    """The key of `Authorization: Bearer` (in any case) or `X-API-Key`, or None.

    A browser lets a web page send these headers to another origin only if that origin agrees.
    """
    scheme, _, key = headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return headers.get("X-API-Key")


def key_in_subprotocols(headers: Mapping[str, str]) -> str | None:
    """The key of `Sec-WebSocket-Protocol: oyez, oyez-key.…`, or None."""
    for name in headers.get("Sec-WebSocket-Protocol", "").split(","):
        if name.strip().startswith(KEY_SUBPROTOCOL):
            return _decode_key(name.strip().removeprefix(KEY_SUBPROTOCOL))
    return None


def has_key_in_url(query_string: str) -> bool:
    """True if a parameter has a name under which clients send keys."""
    names = (pair.partition("=")[0] for pair in re.split("[?&]", query_string))
    return any(unquote_plus(name).lower() in URL_NAMES for name in names)


def _decode_key(text: str) -> str | None:
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None


class Origins:
    """Which web pages may use the server without a key.

    A browser sends the requests of any page to any server that its user can reach, including
    servers on loopback. Only the `Origin` header reveals the page: programs need not send it, and
    pages can neither omit nor forge it.
    """

    def __init__(self, allowed: Collection[str], *, local: bool) -> None:
        """allowed: origins (`https://host:port`) besides the server's own, or `*` for all.
        local: the server listens on loopback only, so its own pages have no name of their own."""
        self._allowed = frozenset(origin.lower() for origin in allowed)
        self._local = local

    def permit(self, origin: str, host: str) -> bool:
        """True if pages of this origin may use the server, which they call `host` (with port)."""
        origin = origin.lower()
        if origin in self._allowed or ANY_ORIGIN in self._allowed:
            return True
        scheme, _, _ = origin.partition("://")
        page, own = _host_and_port(origin), _host_and_port(f"{scheme}://{host.lower()}")
        if page is None or page != own:
            return False
        return not (self._local and _may_be_rebound(page[0]))


def _host_and_port(url: str) -> tuple[str, int] | None:
    """The host and the port of an http or https origin; None for others, such as `null`."""
    try:
        parts = urlsplit(url)
        default = _DEFAULT_PORTS[parts.scheme]
        port = default if parts.port is None else parts.port
    except (ValueError, KeyError):
        return None
    return (parts.hostname, port) if parts.hostname else None


def _may_be_rebound(host: str) -> bool:
    """True if the host is a name whose owner can point it at loopback (DNS rebinding), so that a
    foreign page would look like a page of this server."""
    if _is_name_of_this_machine(host):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _is_name_of_this_machine(host: str) -> bool:
    return is_loopback(host) or host.endswith(".localhost")


class AnonymousAccess:
    """Which callers a server without any key accepts: those on this machine, or all if the
    setting `allow_insecure` says so.

    The absence of keys alone opens nothing to other machines: keys may have been lost together
    with their database.
    """

    def __init__(self, settings: Settings) -> None:
        self.allows_all = settings.allow_insecure
        """True if every caller is accepted."""
        self.allows_local = settings.for_this_machine
        """True if callers on this machine are accepted."""

    def check(self, request: web.Request) -> Refusal | None:
        """The refusal if the sender of this request needs a key, or None."""
        if self.allows_all:
            return None
        # Trusted proxies switch `allows_local` off, so `remote` is the real peer, not a header.
        is_local = self.allows_local and is_of_this_machine(request.remote, request.headers)
        return None if is_local else NO_KEYS_YET


def is_of_this_machine(peer: str | None, headers: Mapping[str, str]) -> bool:
    """True if a request seems to come from a program on this machine that is no proxy for others.

    It must come from a loopback address, without a header that proxies add, and its Host must be
    this machine. peer: the address at the other end of the connection.
    """
    if peer is None or not is_loopback(peer) or any(map(_is_proxy_header, headers)):
        return False
    host = headers.get("Host")
    # Proxies pass on the name that their callers use. A page on a name that points at loopback
    # sends this name too.
    try:
        return host is None or _is_name_of_this_machine(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


def _is_proxy_header(header: str) -> bool:
    name = header.lower()
    return name.startswith("x-forwarded-") or name in PROXY_HEADERS


class RefusedKeys:
    """Logs the addresses that offer wrong keys, for people and for programs such as fail2ban.

    For the event loop only. The number of lines is bounded.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """clock: returns seconds that never go back."""
        self._clock = clock
        self._began_s = clock()
        self._lines: Counter[tuple[str | None, str]] = Counter()
        self._left_out = 0

    def report(self, client: str | None, refusal: Refusal) -> None:
        """Log that a caller at this address was refused for its key, or count it."""
        if self._clock() - self._began_s >= LOG_WINDOW_S:
            self._began_s = self._clock()
            self._lines.clear()
        key = _LOGGED_KEYS.get(refusal, "none")
        if self._lines[client, key] >= MAX_LINES_PER_ADDRESS or self._lines.total() >= MAX_LINES:
            self._left_out += 1
            return
        self._lines[client, key] += 1
        fields = {"client": client, "key": key}
        if self._left_out:
            fields["left_out"] = str(self._left_out)
            self._left_out = 0
        log.info("a caller was refused", extra={"fields": fields})


class Authenticator:
    """Identifies the sender of each request. For the event loop: no method blocks."""

    def __init__(self, callers: Callers, anonymous: AnonymousAccess, origins: Origins) -> None:
        self._callers = callers
        self._anonymous = anonymous
        self._origins = origins
        self._refused_keys = RefusedKeys()
        self._seldom = RateLimitedLogger(log)

    def authenticate(self, request: web.Request) -> Caller | Refusal:
        """The caller that sends this request, or the refusal."""
        if has_key_in_url(request.query_string):
            return KEY_IN_URL
        in_headers = key_in_headers(request.headers)
        offered = in_headers if in_headers is not None else key_in_subprotocols(request.headers)
        caller = self._callers.find(offered)
        if caller is ANONYMOUS:
            caller = self._anonymous.check(request) or caller
        if isinstance(caller, Refusal):
            self._refused_keys.report(request.remote, caller)
            return caller
        # A key in a header proves that no foreign page sends the request on behalf of its reader:
        # the page would have to guess the key.
        is_proven = in_headers is not None or self._callers.need_keys
        return caller if is_proven else self._check_page(request, caller)

    def _check_page(self, request: web.Request, caller: Caller) -> Caller | Refusal:
        origin = request.headers.get("Origin")
        if origin is None or self._origins.permit(origin, request.host):
            return caller
        self._seldom.warning("refused a web page of another origin", origin=origin[:100])
        return foreign_page(origin)
