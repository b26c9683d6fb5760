from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oyez.server.session.byte_budget import KEY_SHARE, MIN_BYTES, SESSION_BYTES, ByteBudget

TOTAL_BYTES = 8 * SESSION_BYTES


def test_a_session_may_hold_so_much_and_no_more() -> None:
    account = ByteBudget(TOTAL_BYTES).account(None)
    account.hold(SESSION_BYTES - 1)
    assert account.has_room
    account.hold(SESSION_BYTES)
    assert not account.has_room


def test_a_key_may_hold_a_share_of_all() -> None:
    budget = ByteBudget(TOTAL_BYTES)
    accounts = [budget.account("key") for _ in range(3)]
    for account in accounts:
        account.hold(TOTAL_BYTES // KEY_SHARE // 3 + 1)
    assert not any(account.has_room for account in accounts)
    other = budget.account("other")
    other.hold(SESSION_BYTES // 2)
    assert other.has_room, "the share of one key is no matter of another's"
    accounts[0].hold(MIN_BYTES)
    assert accounts[1].has_room


def test_callers_without_a_key_may_hold_everything() -> None:
    budget = ByteBudget(TOTAL_BYTES)
    accounts = [budget.account(None) for _ in range(9)]
    for account in accounts[:8]:
        account.hold(SESSION_BYTES - 1)
    assert accounts[0].has_room
    accounts[8].hold(MIN_BYTES)
    assert not accounts[0].has_room
    assert not accounts[8].has_room


def test_who_holds_little_always_has_room() -> None:
    budget = ByteBudget(TOTAL_BYTES)
    budget.account("hog").hold(10 * TOTAL_BYTES)
    speaker = budget.account("hog")
    speaker.hold(MIN_BYTES - 1)
    assert speaker.has_room


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1 << 24)), max_size=50))
def test_what_all_hold_is_the_sum_of_what_each_holds(changes: list[tuple[int, int]]) -> None:
    budget = ByteBudget(TOTAL_BYTES)
    accounts = [budget.account(key) for key in ("a", "a", "b", None, None)]
    held = [0] * 5
    for number, size_bytes in changes:
        accounts[number].hold(size_bytes)
        held[number] = size_bytes
        assert budget.held_bytes == sum(held)
    for account in accounts:
        account.hold(0)
    assert budget.held_bytes == 0
    assert not budget._held_by_key
