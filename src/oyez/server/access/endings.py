"""Why an open session may not go on: its key does not count any more, or its day is used up."""

from __future__ import annotations

from dataclasses import dataclass

from oyez.protocol.errors import ClientError, ProtocolError
from oyez.server.access.callers import Caller, Callers
from oyez.server.access.quotas import Quotas
from oyez.server.access.refusals import EXPIRED_KEY

REVOKED_PATIENCE_S = 1.5
"""Whoever revokes a key wants it to end; but what was said is answered if that is quick."""
QUOTA_PATIENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Ending:
    error: ProtocolError
    """What the client is told first: of the type after which clients read on."""
    reason: str
    """Of the close frame, whose code is 1008."""
    patience_s: float
    """How long what was said may take to be answered."""


def why_end(caller: Caller, callers: Callers, quotas: Quotas) -> Ending | None:
    """None: it may go on."""
    if objection := callers.objection(caller):
        reason = "API key expired" if objection is EXPIRED_KEY else "API key revoked"
        error = ClientError(f"{reason}: the session ends.", code=objection.code)
        return Ending(error, reason, REVOKED_PATIENCE_S)
    if refusal := quotas.refusal(caller):
        error = ClientError(refusal.message, code=refusal.code)
        return Ending(error, "audio of the day used up", QUOTA_PATIENCE_S)
    return None
