"""Who goes first among those who wait: start-time fair queueing (Goyal, Vin and Cheng, 1996).

It holds at two levels: between tenants (keys), and between the owners (sessions) of each tenant. Of
two that always have something waiting, neither gets much more than the other, however much more it
asks for. Urgency decides as long as nobody is far ahead of what is fair. The rule knows no clock,
threads or batches: it learns what waits and what was served, and computes with costs.

Each has a tag: the cost of what it was served so far, divided by its weight. Whoever begins to wait
does so at no less than the lowest tag among those that wait, so nobody saves up by asking for
nothing. How far a tag is above the lowest is the lead.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import itemgetter
from typing import Protocol, TypeVar

CALL_COST = 0.5
"""What a request costs besides its audio, in seconds of audio. Measured with Whisper base: some
50 ms, where a second of audio takes 110."""
MAX_LEAD = 60.0
"""Who is ahead by more than this, in seconds of audio, is served after everybody who is not.
Conversations on a crowded machine are ahead of each other by half of it."""
POSTPONED_S = 0.02
TENANT_POSTPONED_S = 1.0
"""Up to there, each second of audio by which an owner or a tenant is ahead counts as a deadline
later by so much: otherwise a crowd of requests that are due at once would go before one that is due
soon. A tenant's counts for more: its crowd can be many times larger, and in what it has itself its
lead changes no order."""
MAX_RESTING = 1024
"""So many of those that are ahead and wait for nothing are remembered, at each level."""


class Claim(Protocol):
    """A request that waits."""

    @property
    def tenant(self) -> Hashable:
        """Whose share it takes from."""

    @property
    def owner(self) -> Hashable:
        """Who asks."""

    @property
    def cost(self) -> float:
        """What serving it costs, in seconds of audio; more than 0."""

    def order(self) -> tuple[int, float, float]:
        """Rank, deadline and time of asking, both in seconds. Lower is more urgent."""


AnyClaim = TypeVar("AnyClaim", bound=Claim)


class Fairness:
    """What tenants and owners were served lately. Not thread-safe."""

    def __init__(self, weight: Callable[[Hashable], float] = lambda tenant: 1.0) -> None:
        """weight: of a tenant; one of weight 2 may have twice what one of weight 1 has. Above 0."""
        self._weight = weight
        self._tenants = _Level()
        self._owners: dict[Hashable, _Level] = {}

    def arrange(self, waiting: Iterable[AnyClaim]) -> list[AnyClaim]:
        """All that waits now, in the order in which it should be served."""
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
                    rank, deadline_s, asked_s = claim.order()
                    due_s = deadline_s + postponed_s
                    key = (tenant_excess, owner_excess, rank, due_s, asked_s, len(rows))
                    rows.append((key, claim))
        for tenant in [tenant for tenant in self._owners if tenant not in self._tenants]:
            del self._owners[tenant]
        rows.sort(key=itemgetter(0))
        return [claim for _, claim in rows]

    def serve(self, claim: Claim) -> None:
        """Count a claim, one that was just arranged, as served."""
        self._tenants.charge(claim.tenant, claim.cost / self._weight(claim.tenant))
        self._owners[claim.tenant].charge(claim.owner, claim.cost)

    def forget(self) -> None:
        """Nothing waits any more: all are equal again."""
        self._tenants = _Level()
        self._owners.clear()


class _Level:
    """Start-time fair queueing among equals."""

    def __init__(self) -> None:
        self._tags: dict[Hashable, float] = {}
        self._lowest = 0.0
        """The virtual time: never goes back."""

    def __contains__(self, who: Hashable) -> bool:
        return who in self._tags

    def begin(self, waiting: Mapping[Hashable, object]) -> dict[Hashable, float]:
        """The leads of all that wait now. Whoever else is not ahead of them is forgotten."""
        tags = {who: max(self._lowest, self._tags.get(who, 0.0)) for who in waiting}
        self._lowest = min(tags.values(), default=self._lowest)
        leads = {who: tag - self._lowest for who, tag in tags.items()}
        resting = [
            (tag, who)
            for who, tag in self._tags.items()
            if who not in waiting and tag > self._lowest
        ]
        if len(resting) > MAX_RESTING:
            resting = heapq.nlargest(MAX_RESTING, resting, key=lambda each: each[0])
        tags.update((who, tag) for tag, who in resting)
        self._tags = tags
        return leads

    def charge(self, who: Hashable, cost: float) -> None:
        self._tags[who] += cost
