"""Access: the accounts of the server, and the one object that endpoints ask about callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from oyez.accounts.database import OFF, Database, DatabaseError, open_database
from oyez.accounts.keys import KeyDirectory
from oyez.accounts.ledger import Ledger
from oyez.metrics import Metrics
from oyez.protocol.errors import ClientError, ProtocolError
from oyez.server.access.admission import Quotas
from oyez.server.access.auth import AnonymousAccess, Authenticator, Origins
from oyez.server.access.callers import Caller, Callers, StaticKeys
from oyez.server.access.refusals import EXPIRED_KEY, Refusal
from oyez.settings import Settings, SettingsError, is_loopback

DatabaseState = Literal["ok", "behind"]

REFUSED = (
    "every caller is refused (401) until 'oyez keys create NAME' makes one or api_keys_file has one"
)
REVOKED_GRACE_S = 1.5
"""How long a session of a revoked key may still wait for results. It is short, because the operator
wants the session to end."""
QUOTA_GRACE_S = 10.0
"""How long a session that has used up its audio of the day may still wait for results."""


class Accounts:
    """The keys and the usage of a server, in a database or without one.

    Creating and closing it blocks: do this outside the event loop. Raises DatabaseError if the
    database cannot be used at the start; if it fails later, the server goes on without it.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._database: Database | None = None
        if settings.database != OFF:
            self._database = open_database(settings.database, create=settings.creates_database)
        self.directory = KeyDirectory(self._database)
        self.ledger = Ledger(
            self._database,
            price_per_second=settings.price_per_second,
            currency=settings.currency,
            metrics=metrics,
        )
        try:
            self.directory.refresh()
            self.ledger.start()
        except DatabaseError:
            self._close_database()
            raise

    @property
    def state(self) -> DatabaseState | None:
        """The state of the database; None without a database."""
        if self._database is None:
            return None
        return "behind" if self.ledger.behind else "ok"

    def close(self, timeout_s: float) -> None:
        """Write pending usage for at most `timeout_s`. The next start writes the rest."""
        self.ledger.stop(timeout_s)
        self._close_database()

    def _close_database(self) -> None:
        if self._database is not None:
            self._database.close()


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
    """Decides who may use the server, and for what.

    Raises SettingsError if the keys file cannot be used.
    """

    def __init__(self, settings: Settings, accounts: Accounts) -> None:
        self.ledger = accounts.ledger
        self._directory = accounts.directory
        self.static = StaticKeys(settings)
        self.callers = Callers(self.static, accounts.directory)
        self.quotas = Quotas(accounts.ledger, self.callers)
        self._anonymous = AnonymousAccess(settings)
        origins = Origins(settings.allowed_origins, local=is_loopback(settings.host))
        self._authenticator = Authenticator(self.callers, self._anonymous, origins)

    @property
    def requires_key(self) -> bool:
        """True if no caller is accepted without a key."""
        allows_some = self._anonymous.allows_all or self._anonymous.allows_local
        return self.callers.need_keys or not allows_some

    def authenticate(self, request: web.Request) -> Caller | Refusal:
        """The caller that sends this request, or the refusal."""
        return self._authenticator.authenticate(request)

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
            if self._anonymous.allows_all:
                who = "allow_insecure lets in everybody who reaches the server"
            elif self._anonymous.allows_local:
                who = "any key, or none, of programs on this machine is accepted, of others refused"
            else:
                who = f"callers may be of other machines: {REFUSED}"
            return [f"no API key exists, {who}"]
        remarks = []
        if not self.callers.has_active:
            which = "all are revoked or expired, or their file has none"
            remarks.append(f"no API key is in force ({which}): {REFUSED}")
        if self._anonymous.allows_all:
            remarks.append("allow_insecure has no effect: a key exists, or a setting names one")
        return remarks

    def reload(self) -> str:
        """Read all keys again, and return a summary for the log. Blocks.

        Raises SettingsError if the keys file or the database cannot be read; old keys stay then.
        """
        static = self.static.reload()
        try:
            self._directory.refresh()
        except DatabaseError as error:
            raise SettingsError(str(error)) from error
        return f"{static}, {len(self._directory.keys())} in the database"
