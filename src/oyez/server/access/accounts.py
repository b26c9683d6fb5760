"""Keys and usage as the server has them: from start to stop, in a database or in none."""

from __future__ import annotations

from typing import Literal

from oyez.accounts.database import OFF, Database, DatabaseError, open_database
from oyez.accounts.directory import KeyDirectory
from oyez.accounts.ledger import Ledger
from oyez.metrics import Metrics
from oyez.settings import Settings

DatabaseState = Literal["ok", "behind"]


class Accounts:
    """Building and closing it blocks: outside the event loop. Raises DatabaseError if the database
    cannot be used now; later the server goes on without."""

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
        """Of the database: `ok` or `behind`; None without one."""
        if self._database is None:
            return None
        return "behind" if self.ledger.behind else "ok"

    def close(self, timeout_s: float) -> None:
        """Write what waits, for so long; the rest goes to a file that the next start takes in."""
        self.ledger.stop(timeout_s)
        self._close_database()

    def _close_database(self) -> None:
        if self._database is not None:
            self._database.close()
