from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oyez.engines.base import Purpose, Request
from oyez.runtime import queue as module
from oyez.runtime.job import Job, Urgency
from oyez.runtime.queue import MAX_LEAD, POSTPONED_S, Fairness

NO_AUDIO = Request(np.zeros(0, np.float32), Purpose.FINAL)


class Claim(Job):
    """A job of any cost and rank."""

    owner: str
    tenant: str

    def __init__(
        self,
        owner: str,
        cost: float = 1.0,
        rank: int = 0,
        deadline_s: float = 0.0,
        tenant: str = "tenant",
    ) -> None:
        def callback(outcome: object) -> None: ...

        super().__init__(
            owner, "item", 0, NO_AUDIO, Urgency.FINAL, deadline_s, callback, tenant=tenant
        )
        self._cost = cost
        self.rank = rank

    @property
    def cost(self) -> float:
        return self._cost

    def order(self) -> tuple[int, float, float]:
        return self.rank, self.deadline_s, 0.0


def first_of(fairness: Fairness, waiting: list[Claim]) -> Claim:
    """The claim that is served next."""
    claim = fairness.arrange(waiting)[0]
    assert isinstance(claim, Claim)
    return claim


def serve(fairness: Fairness, waiting: list[Claim], count: int = 1) -> list[Claim]:
    """The next so many, one by one; each leaves the list."""
    served = []
    for _ in range(count):
        served.append(first_of(fairness, waiting))
        fairness.serve(served[-1])
        waiting.remove(served[-1])
    return served


def shares(fairness: Fairness, waiting: list[Claim], rounds: int) -> Counter[str]:
    """What each owner is served when claims like these always wait."""
    costs: Counter[str] = Counter()
    for _ in range(rounds):
        first = first_of(fairness, waiting)
        fairness.serve(first)
        costs[first.owner] += first.cost  # type: ignore[assignment]
    return costs


def test_of_equals_the_most_urgent_goes_first() -> None:
    late, soon, partial = Claim("a", deadline_s=9), Claim("b", deadline_s=1), Claim("c", rank=1)
    assert Fairness().arrange([partial, late, soon]) == [soon, late, partial]


def test_urgency_decides_also_when_an_owner_is_a_little_ahead() -> None:
    fairness = Fairness()
    waiting = [Claim("a", cost=20, deadline_s=1), Claim("a", deadline_s=1), Claim("b", rank=1)]
    assert [claim.owner for claim in serve(fairness, waiting, 3)] == ["a", "a", "b"]


def test_an_owner_far_ahead_comes_after_all_that_are_not() -> None:
    fairness = Fairness()
    waiting = [Claim("a", cost=MAX_LEAD + 1), Claim("a"), Claim("b", rank=1, deadline_s=9)]
    assert [claim.owner for claim in serve(fairness, waiting, 3)] == ["a", "b", "a"]


def test_being_ahead_postpones_a_deadline() -> None:
    fairness = Fairness()
    serve(fairness, [Claim("a", cost=10, deadline_s=-1), Claim("b")])
    due_s = 10 * POSTPONED_S
    sooner, later = Claim("b", deadline_s=due_s * 0.9), Claim("b", deadline_s=due_s * 1.1)
    flood = Claim("a", deadline_s=0)
    assert fairness.arrange([flood, sooner, later]) == [sooner, flood, later]


def test_a_crowd_of_one_tenant_gets_no_more_than_one_session_of_another() -> None:
    crowd = [Claim(f"a{n}", tenant="a") for n in range(20)]
    served = shares(Fairness(), [*crowd, Claim("b", rank=1, tenant="b")], 1000)
    assert served["b"] == pytest.approx(500, abs=MAX_LEAD)
    of_crowd = [served[claim.owner] for claim in crowd]
    assert max(of_crowd) - min(of_crowd) <= MAX_LEAD + 1


def test_tenants_get_in_proportion_to_their_weights() -> None:
    fairness = Fairness(weight=lambda tenant: 3.0 if tenant == "a" else 1.0)
    served = shares(fairness, [Claim("a", tenant="a"), Claim("b", tenant="b")], 1000)
    assert served["a"] == pytest.approx(750, abs=MAX_LEAD)


def test_an_owner_that_was_silent_has_saved_up_nothing() -> None:
    fairness = Fairness()
    shares(fairness, [Claim("a"), Claim("b")], 400)
    served = shares(fairness, [Claim("a"), Claim("b"), Claim("silent", rank=1)], 300)
    assert served["silent"] <= 100 + MAX_LEAD


def test_what_an_owner_was_served_alone_does_not_count_later() -> None:
    fairness = Fairness()
    shares(fairness, [Claim("a")], 1000)
    first = fairness.arrange([Claim("b", deadline_s=1), Claim("a")])[0]
    assert first.owner == "a"


def test_when_nothing_waits_all_are_equal_again() -> None:
    fairness = Fairness()
    shares(fairness, [Claim("a"), Claim("b", rank=1)], 50)
    fairness.reset()
    assert fairness.arrange([Claim("b", deadline_s=0.1), Claim("a")])[0].owner == "a"


def remembered(fairness: Fairness) -> int:
    levels = [fairness._tenants, *fairness._owners.values()]
    return sum(len(level.tags) for level in levels)


def test_owners_that_left_are_forgotten_once_the_others_have_caught_up() -> None:
    fairness = Fairness()
    for number in range(1500):
        waiting = [Claim(f"{number}", tenant=f"{number % 7}"), Claim("stays", tenant="stays")]
        serve(fairness, waiting, 2)
    assert remembered(fairness) < 8 * MAX_LEAD


def test_a_stream_of_newcomers_takes_no_more_than_so_much_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_RESTING", 20)
    fairness = Fairness()
    modest = Claim("modest", rank=1)
    for number in range(150):
        serve(fairness, [Claim(f"{number}"), modest])
    assert remembered(fairness) <= 20 + 5


requests = st.lists(
    st.tuples(
        st.integers(0, 2),  # tenant
        st.integers(0, 2),  # owner
        st.integers(0, 1),  # rank
        st.floats(0, 30),  # deadline
        st.floats(0.5, 30.5),  # cost
    ),
    max_size=50,
)


def claims_of(rows: list[tuple[int, int, int, float, float]]) -> list[Claim]:
    return [
        Claim(f"{tenant}.{owner}", cost, rank, deadline_s, f"{tenant}")
        for tenant, owner, rank, deadline_s, cost in rows
    ]


@settings(deadline=None)
@given(first=requests, later=requests)
def test_all_that_waits_is_served_whatever_comes_later(
    first: list[tuple[int, int, int, float, float]],
    later: list[tuple[int, int, int, float, float]],
) -> None:
    fairness, waiting, coming = Fairness(), claims_of(first), claims_of(later)
    everything, served = {*waiting, *coming}, []
    while waiting or coming:
        waiting += [coming.pop() for _ in range(min(len(coming), 2))]
        assert Counter(fairness.arrange(waiting)) == Counter(waiting), "lost, or there twice"
        served += serve(fairness, waiting)
    assert set(served) == everything
    assert len(served) == len(everything)


@settings(deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(0, 1), st.floats(0, 30), st.floats(0.5, 30.5),
            st.booleans(),
        ),
        min_size=1,
        max_size=120,
    ),
    weights=st.tuples(*[st.floats(0.5, 8)] * 2),
    bound=st.sampled_from([0.0, 10.0, MAX_LEAD]),
)  # fmt: skip
def test_between_two_that_always_wait_the_difference_is_bounded(
    steps: list[tuple[int, int, float, float, bool]],
    weights: tuple[float, float],
    bound: float,
) -> None:
    """The theorem: what two tenants get in any interval, each divided by its weight, differs by no
    more than the sum of their largest costs so divided; here the leads that are let pass come on
    top, twice. The same holds between two owners of a tenant. A third comes and goes."""
    of_tenant: dict[Hashable, float] = dict(zip("abc", [*weights, 1.0], strict=True))
    largest = 30.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_LEAD", bound)
        fairness = Fairness(of_tenant.__getitem__)
        got: Counter[str] = Counter()
        lowest, highest = Counter[str](), Counter[str]()
        for favoured, rank, deadline_s, cost, third in steps:
            waiting = [
                Claim("a1", cost if favoured == 0 else largest, rank, deadline_s, "a"),
                Claim("a2", cost, 1 - rank, 0.0, "a"),
                Claim("b1", cost, rank if favoured == 1 else 1 - rank, deadline_s, "b"),
            ]
            if third:
                waiting.append(Claim("c1", cost, 0, 0.0, "c"))
            (served,) = serve(fairness, waiting)
            got[served.owner] += served.cost  # type: ignore[assignment]
            got[served.tenant] += served.cost / of_tenant[served.tenant]  # type: ignore[assignment]
            for one, other in (("a", "b"), ("a1", "a2")):
                difference = got[one] - got[other]
                lowest[one] = min(lowest[one], difference)
                highest[one] = max(highest[one], difference)
        between_tenants = sum((largest + 2 * bound) / each for each in weights)
        assert highest["a"] - lowest["a"] <= between_tenants + 1e-6
        assert highest["a1"] - lowest["a1"] <= 2 * (largest + 2 * bound) + 1e-6


@settings(deadline=None, max_examples=30)
@given(crowd=st.integers(1, 9), deadline_s=st.floats(0, 1e6), cost=st.floats(5, 30))
def test_every_owner_is_served_in_the_end(crowd: int, deadline_s: float, cost: float) -> None:
    """However many others always ask for what is more urgent."""
    fairness = Fairness()
    others = [Claim(f"{n}", cost, 0, -1.0) for n in range(crowd)]
    modest = Claim("modest", cost, 1, deadline_s)
    rounds = crowd * (math.floor(MAX_LEAD / cost) + 1) + 1
    assert shares(fairness, [*others, modest], rounds)["modest"] > 0
