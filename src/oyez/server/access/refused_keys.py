"""Log lines that name who offers wrong keys, for people and for programs such as fail2ban."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

from oyez.server.access.refusals import EXPIRED_KEY, INVALID_KEY, REVOKED_KEY, Refusal

WINDOW_S = 60.0
LINES_OF_ONE = 5
"""Lines in a window about one address and one reason."""
LINES_OF_ALL = 500
"""Lines in a window; it also bounds how many addresses are remembered."""
WORDS = {INVALID_KEY: "unknown", REVOKED_KEY: "revoked", EXPIRED_KEY: "expired"}
NONE = "none"

log = logging.getLogger(__name__)


class RefusedKeys:
    """Event loop only. clock: seconds that never go back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began_s = clock()
        self._lines: Counter[tuple[str | None, str]] = Counter()
        self._left_out = 0

    def tell(self, client: str | None, refusal: Refusal) -> None:
        """Somebody at this address was refused for its key; it is logged or counted."""
        if self._clock() - self._began_s >= WINDOW_S:
            self._began_s = self._clock()
            self._lines.clear()
        which = client, WORDS.get(refusal, NONE)
        if self._lines[which] >= LINES_OF_ONE or self._lines.total() >= LINES_OF_ALL:
            self._left_out += 1
            return
        self._lines[which] += 1
        fields = {"client": which[0], "key": which[1]}
        if self._left_out:
            fields["left_out"] = str(self._left_out)
            self._left_out = 0
        log.info("a caller was refused", extra={"fields": fields})
