"""Who may use the server and what for: what every endpoint that does work asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from oyez.accounts.database import DatabaseError
from oyez.accounts.usage import Endpoint
from oyez.server.access.accounts import Accounts
from oyez.server.access.anonymous import Anonymous
from oyez.server.access.callers import Caller, Callers, now
from oyez.server.access.endings import Ending, why_end
from oyez.server.access.gate import Gate
from oyez.server.access.origins import Origins
from oyez.server.access.quotas import Quotas
from oyez.server.access.static_keys import StaticKeys
from oyez.server.session.figures import Figures
from oyez.server.session.usage_recorder import UsageRecorder
from oyez.settings import Settings, SettingsError, is_loopback

REFUSED = (
    "every caller is refused (401) until 'oyez keys create NAME' makes one or api_keys_file has one"
)


class Access:
    """Raises SettingsError when the keys file cannot be used. clock: the time, with time zone."""

    def __init__(
        self, settings: Settings, accounts: Accounts, clock: Callable[[], datetime] = now
    ) -> None:
        self._clock = clock
        self._accounts = accounts
        self.static = StaticKeys(settings)
        self.callers = Callers(self.static, accounts.directory, clock)
        self.quotas = Quotas(accounts.ledger, self.callers, clock)
        self.anonymous = Anonymous(settings)
        origins = Origins(settings.allowed_origins, local=is_loopback(settings.host))
        self.gate = Gate(self.callers, self.anonymous, origins)

    @property
    def asks_for_keys(self) -> bool:
        """Whether nobody is let in without a key."""
        return self.callers.need_keys or not self.anonymous.anybody

    def remarks(self) -> list[str]:
        """What the operator should know of who may use the server; usually nothing."""
        if not self.callers.need_keys:
            if self.anonymous.everybody:
                who = "allow_insecure lets in everybody who reaches the server"
            elif self.anonymous.this_machine:
                who = "any key, or none, of programs on this machine is accepted, of others refused"
            else:
                who = f"callers may be of other machines: {REFUSED}"
            return [f"no API key exists, {who}"]
        remarks = []
        if not self.callers.has_active:
            which = "all are revoked or expired, or their file has none"
            remarks.append(f"no API key is in force ({which}): {REFUSED}")
        if self.anonymous.everybody:
            remarks.append("allow_insecure has no effect: a key exists, or a setting names one")
        return remarks

    def why_end(self, caller: Caller) -> Ending | None:
        """Why the open session of this caller may not go on; None: it may."""
        return why_end(caller, self.callers, self.quotas)

    def recorder(
        self, caller: Caller, figures: Figures, *, session_id: str, endpoint: Endpoint, model: str
    ) -> UsageRecorder:
        """A session begins, of which `figures` will be kept up to date. `end` the recorder."""
        return UsageRecorder(
            self._accounts.ledger,
            self.quotas,
            caller,
            figures,
            session_id=session_id,
            endpoint=endpoint,
            model=model,
            clock=self._clock,
        )

    def reload(self) -> str:
        """Read all keys anew: SIGHUP. Blocks. Raises SettingsError, and then old keys stay."""
        static = self.static.reload()
        try:
            self._accounts.directory.refresh()
        except DatabaseError as error:
            raise SettingsError(str(error)) from error
        return f"{static}, {len(self._accounts.directory.keys())} in the database"
