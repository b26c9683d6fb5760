"""Access: who sends a request, whether a web page may send it, and why a session has to end.

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
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_plus, urlsplit

from aiohttp import web

from oyez.logs import RateLimitedLogger
from oyez.protocol.errors import ClientError, ProtocolError
from oyez.server.access.admission import Quotas
from oyez.server.access.callers import ANONYMOUS, Accounts, Caller, Callers
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
        *("forwarded", "via", "x-real-ip", "x-client-ip", "x-cluster-client-ip", "true-client-ip"),
        *("cf-connecting-ip", "cdn-loop", "fly-client-ip", "x-envoy-external-address"),
        "x-original-forwarded-for",
    }
)
"""Headers that proxies add, besides all that begin with X-Forwarded-."""
LOG_WINDOW_S = 60.0
MAX_LINES_PER_ADDRESS = 5
"""The most log lines in a window about one address and one kind of key."""
MAX_LINES = 500
"""The most log lines in a window. It also bounds how many addresses are remembered."""
REVOKED_GRACE_S = 1.5
"""How long a session of a revoked key may still wait for results. It is short, because the operator
wants the session to end."""
QUOTA_GRACE_S = 10.0
"""How long a session that has used up its audio of the day may still wait for results."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOGGED_KEYS = {INVALID_KEY: "unknown", REVOKED_KEY: "revoked", EXPIRED_KEY: "expired"}
_ALL_REFUSED = (
    "every caller is refused (401) until 'oyez keys create NAME' makes one or api_keys_file has one"
)

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
            encoded = name.strip().removeprefix(KEY_SUBPROTOCOL)
            try:
                padded = encoded + "=" * (-len(encoded) % 4)
                return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
            except (binascii.Error, ValueError):
                return None
    return None


def query_parameters(query_string: str) -> Iterator[tuple[str, str]]:
    """Names and values in the query of a URL, also in the malformed `a=b?model=…`, which SDKs make
    of a URL that has a query already. They append their own, so the last one of a name is meant."""
    for pair in re.split("[?&]", query_string):
        name, _, value = pair.partition("=")
        yield unquote_plus(name), unquote_plus(value)


def has_key_in_url(query_string: str) -> bool:
    """True if a parameter has a name under which clients send keys."""
    return any(name.lower() in URL_NAMES for name, _ in query_parameters(query_string))


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


def is_of_this_machine(peer: str | None, headers: Mapping[str, str]) -> bool:
    """True if a request seems to come from a program on this machine that is no proxy for others.

    It must come from a loopback address, without a header that proxies add, and its Host must be
    this machine. peer: the address at the other end of the connection.
    """
    if peer is None or not is_loopback(peer):
        return False
    names = [name.lower() for name in headers]
    if any(name.startswith("x-forwarded-") or name in PROXY_HEADERS for name in names):
        return False
    host = headers.get("Host")
    # Proxies pass on the name that their callers use. A page on a name that points at loopback
    # sends this name too.
    try:
        return host is None or _is_name_of_this_machine(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False


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


@dataclass(frozen=True, slots=True)
class Termination:
    """How the server ends a session that may not go on."""

    error: ProtocolError
    """The error that the client gets first. Clients read on after errors of its type."""
    reason: str
    """The reason in the close frame, whose code is 1008."""
    grace_s: float
    """How long the session may still wait for the results of audio it has sent."""


class Access:
    """Decides who may use the server, and for what. For the event loop: no method blocks."""

    def __init__(self, settings: Settings, accounts: Accounts) -> None:
        """Read the keys of the settings. Raises SettingsError if their file cannot be used."""
        self.ledger = accounts.ledger
        self.callers = Callers(settings, accounts.directory)
        self.quotas = Quotas(accounts.ledger, self.callers)
        self._allows_all = settings.allow_insecure
        self._allows_local = settings.for_this_machine
        self._origins = Origins(settings.allowed_origins, local=is_loopback(settings.host))
        self._refused_keys = RefusedKeys()
        self._seldom = RateLimitedLogger(log)

    @property
    def requires_key(self) -> bool:
        """True if no caller is accepted without a key."""
        return self.callers.need_keys or not (self._allows_all or self._allows_local)

    def authenticate(self, request: web.Request) -> Caller | Refusal:
        """The caller that sends this request, or the refusal."""
        if has_key_in_url(request.query_string):
            return KEY_IN_URL
        in_headers = key_in_headers(request.headers)
        offered = in_headers if in_headers is not None else key_in_subprotocols(request.headers)
        caller = self.callers.find(offered)
        if caller is ANONYMOUS and not self._needs_no_key(request):
            caller = NO_KEYS_YET
        if isinstance(caller, Refusal):
            self._refused_keys.report(request.remote, caller)
            return caller
        # A key in a header proves that no foreign page sends the request on behalf of its reader:
        # the page would have to guess the key.
        is_proven = in_headers is not None or self.callers.need_keys
        origin = request.headers.get("Origin")
        if is_proven or origin is None or self._origins.permit(origin, request.host):
            return caller
        self._seldom.warning("refused a web page of another origin", origin=origin[:100])
        return foreign_page(origin)

    def check_session(self, caller: Caller) -> Termination | None:
        """How to end the open session of this caller, or None if it may go on."""
        if refusal := self.callers.check(caller):
            reason = "API key expired" if refusal is EXPIRED_KEY else "API key revoked"
            error = ClientError(f"{reason}: the session ends.", code=refusal.code)
            return Termination(error, reason, REVOKED_GRACE_S)
        if refusal := self.quotas.check(caller):
            error = ClientError(refusal.message, code=refusal.code)
            return Termination(error, "audio of the day used up", QUOTA_GRACE_S)
        return None

    def remarks(self) -> list[str]:
        """What the operator should know about who may use the server. Usually nothing."""
        if not self.callers.need_keys:
            if self._allows_all:
                who = "allow_insecure lets in everybody who reaches the server"
            elif self._allows_local:
                who = "any key, or none, of programs on this machine is accepted, of others refused"
            else:
                who = f"callers may be of other machines: {_ALL_REFUSED}"
            return [f"no API key exists, {who}"]
        remarks = []
        if not self.callers.has_active:
            which = "all are revoked or expired, or their file has none"
            remarks.append(f"no API key is in force ({which}): {_ALL_REFUSED}")
        if self._allows_all:
            remarks.append("allow_insecure has no effect: a key exists, or a setting names one")
        return remarks

    def _needs_no_key(self, request: web.Request) -> bool:
        """Whether a server without any key accepts this request: of all callers if the setting
        `allow_insecure` says so, else of programs on this machine.

        The absence of keys alone opens nothing to other machines: keys may have been lost together
        with their database. Trusted proxies switch `for_this_machine` off, so `remote` is the real
        peer, not a header.
        """
        is_local = self._allows_local and is_of_this_machine(request.remote, request.headers)
        return self._allows_all or is_local
