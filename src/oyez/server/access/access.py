"""Who may use the server and what for: what every endpoint that does work asks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from oyez.accounts.database import DatabaseError
from oyez.accounts.usage import Endpoint
from oyez.server.access.accounts import Accounts
from oyez.server.access.callers import Caller, Callers, now
from oyez.server.access.endings import Ending, why_end
from oyez.server.access.gate import Gate
from oyez.server.access.origins import Origins
from oyez.server.access.quotas import Quotas
from oyez.server.access.static_keys import StaticKeys
from oyez.server.session.figures import Figures
from oyez.server.session.usage_recorder import UsageRecorder
from oyez.settings import Settings, SettingsError, is_loopback


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
        self.gate = Gate(
            self.callers, Origins(settings.allowed_origins, local=is_loopback(settings.host))
        )

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
