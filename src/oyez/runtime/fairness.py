"""The order of waiting requests: start-time fair queueing (Goyal, Vin and Cheng, 1996).

It works at two levels: among tenants (keys), and among the owners (sessions) of each tenant. Of two
that always have requests waiting, neither gets much more than the other, however much more it
requests. Urgency decides as long as none is far ahead of its fair share. The rule needs no clock,
threads or batches: it is given what waits and what was served, and computes with costs.

Each tenant and owner has a tag: the cost of what it was served so far, divided by its weight. One
that starts to wait gets at least the lowest tag of those that wait, so that requesting nothing
saves up no credit. The lead of a tenant or owner is how far its tag is above the lowest.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import itemgetter
from typing import Protocol, TypeVar

CALL_COST = 0.5
"""The cost of a request besides its audio, in seconds of audio. Measured with Whisper base: about
50 ms, while a second of audio takes 110 ms."""
MAX_LEAD = 60.0
"""Owners and tenants with a larger lead, in seconds of audio, are served after all others.
Conversations on a crowded machine have leads of up to half of it."""
POSTPONED_S = 0.02
"""By how many seconds a deadline is postponed for each second of audio of its owner's lead. Without
it, many requests that are due at once would go before one that is due soon."""
TENANT_POSTPONED_S = 1.0
"""The same for the lead of a tenant. It is larger, because a tenant can have many times more
requests, and it does not change the order among the tenant's own requests."""
MAX_RESTING = 1024
"""How many tenants or owners that are ahead, but have nothing waiting, are remembered at each
level."""


class Claim(Protocol):
    """A waiting request."""

    @property
    def tenant(self) -> Hashable:
        """Whose share the request uses."""

    @property
    def owner(self) -> Hashable:
        """The session that made the request."""

    @property
    def cost(self) -> float:
        """The cost of serving the request, in seconds of audio, above 0."""

    def order(self) -> tuple[int, float, float]:
        """Return rank, deadline and time of submission, both in seconds. Lower is more urgent."""


AnyClaim = TypeVar("AnyClaim", bound=Claim)


class Fairness:
    """Tracks what tenants and owners were served recently. Not thread-safe."""

    def __init__(self, weight: Callable[[Hashable], float] = lambda tenant: 1.0) -> None:
        """weight: of a tenant, above 0. A tenant of weight 2 gets twice as much as one of
        weight 1."""
        self._weight = weight
        self._tenants = _Level()
        self._owners: dict[Hashable, _Level] = {}

    def arrange(self, waiting: Iterable[AnyClaim]) -> list[AnyClaim]:
        """Return all waiting requests in the order in which they should be served."""
        tenants: dict[Hashable, dict[Hashable, list[AnyClaim]]] = {}
        for claim in waiting:
            tenants.setdefault(claim.tenant, {}).setdefault(claim.owner, []).append(claim)
        rows: list[tuple[tuple[float, ...], AnyClaim]] = []
        for tenant, lead in self._tenants.begin(tenants).items():
            tenant_lead = lead * self._weight(tenant)
            owners, level = tenants[tenant], self._owners.setdefault(tenant, _Level())
            for owner, owner_lead in level.begin(owners).items():
                tenant_excess = max(0.0, tenant_lead - MAX_LEAD)
                owner_excess = max(0.0, owner_lead - MAX_LEAD)
                postponed_s = TENANT_POSTPONED_S * tenant_lead + POSTPONED_S * owner_lead
                for claim in owners[owner]:
                    rank, deadline_s, submitted_s = claim.order()
                    due_s = deadline_s + postponed_s
                    key = (tenant_excess, owner_excess, rank, due_s, submitted_s, len(rows))
                    rows.append((key, claim))
        for tenant in [tenant for tenant in self._owners if tenant not in self._tenants]:
            del self._owners[tenant]
        rows.sort(key=itemgetter(0))
        return [claim for _, claim in rows]

    def serve(self, claim: Claim) -> None:
        """Record that a request, one of those just arranged, is served."""
        self._tenants.charge(claim.tenant, claim.cost / self._weight(claim.tenant))
        self._owners[claim.tenant].charge(claim.owner, claim.cost)

    def reset(self) -> None:
        """Make all equal again, because nothing waits any more."""
        self._tenants = _Level()
        self._owners.clear()


class _Level:
    """Start-time fair queueing among equals."""

    def __init__(self) -> None:
        self._tags: dict[Hashable, float] = {}
        self._lowest = 0.0
        """The virtual time, which never decreases."""

    def __contains__(self, name: Hashable) -> bool:
        return name in self._tags

    def begin(self, waiting: Mapping[Hashable, object]) -> dict[Hashable, float]:
        """Return the leads of all that wait now. Others are forgotten unless they are ahead."""
        tags = {name: max(self._lowest, self._tags.get(name, 0.0)) for name in waiting}
        self._lowest = min(tags.values(), default=self._lowest)
        leads = {name: tag - self._lowest for name, tag in tags.items()}
        resting = [
            (tag, name)
            for name, tag in self._tags.items()
            if name not in waiting and tag > self._lowest
        ]
        if len(resting) > MAX_RESTING:
            resting = heapq.nlargest(MAX_RESTING, resting, key=lambda each: each[0])
        tags.update((name, tag) for tag, name in resting)
        self._tags = tags
        return leads

    def charge(self, name: Hashable, cost: float) -> None:
        """Add the cost of what was served."""
        self._tags[name] += cost
