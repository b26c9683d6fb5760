from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oyez.server.session.byte_budget import (
    KEY_SHARE,
    MIN_AUDIO_BYTES,
    MIN_WAITING_BYTES,
    SESSION_BYTES,
    ByteBudget,
)

TOTAL_BYTES = 8 * SESSION_BYTES


def test_so_much_of_a_session_may_wait_and_no_more() -> None:
    account = ByteBudget(TOTAL_BYTES).account(None)
    account.hold(SESSION_BYTES - 1, 0)
    assert account.may_read
    account.hold(SESSION_BYTES, 0)
    assert not account.may_read
    assert account.may_feed, "that is how it becomes less"


def test_a_key_may_hold_a_share_of_all() -> None:
    budget = ByteBudget(TOTAL_BYTES)
    accounts = [budget.account("key") for _ in range(3)]
    part_bytes = TOTAL_BYTES // KEY_SHARE // 6 + 1
    for account in accounts:
        account.hold(part_bytes, part_bytes)
    assert not any(account.may_read or account.may_feed for account in accounts)
    other = budget.account("other")
    other.hold(SESSION_BYTES // 2, SESSION_BYTES // 2)
    assert other.may_read and other.may_feed, "the share of one key is no matter of another's"
    accounts[0].hold(MIN_WAITING_BYTES, 0)
    assert accounts[1].may_read and accounts[1].may_feed


def test_callers_without_a_key_may_hold_everything() -> None:
    budget = ByteBudget(TOTAL_BYTES)
    accounts = [budget.account(None) for _ in range(9)]
    for account in accounts[:8]:
        account.hold(SESSION_BYTES // 2 - 1, SESSION_BYTES // 2)
    assert accounts[0].may_read and accounts[0].may_feed
    accounts[8].hold(MIN_WAITING_BYTES, MIN_AUDIO_BYTES)
    assert not (accounts[0].may_read or accounts[0].may_feed)
    assert not (accounts[8].may_read or accounts[8].may_feed)


def test_who_holds_little_is_always_read_from_and_fed() -> None:
    budget = ByteBudget(TOTAL_BYTES)
    budget.account("hog").hold(10 * TOTAL_BYTES, 0)
    speaker = budget.account("hog")
    speaker.hold(MIN_WAITING_BYTES - 1, MIN_AUDIO_BYTES - 1)
    assert speaker.may_read and speaker.may_feed
    speaker.hold(MIN_WAITING_BYTES - 1, MIN_AUDIO_BYTES)
    assert speaker.may_read and not speaker.may_feed


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 1 << 24), st.integers(0, 1 << 24)), max_size=50
    )
)
def test_what_all_hold_is_the_sum_of_what_each_holds(changes: list[tuple[int, int, int]]) -> None:
    budget = ByteBudget(TOTAL_BYTES)
    accounts = [budget.account(key) for key in ("a", "a", "b", None, None)]
    held = [0] * 5
    for number, waiting_bytes, audio_bytes in changes:
        accounts[number].hold(waiting_bytes, audio_bytes)
        held[number] = waiting_bytes + audio_bytes
        assert budget.held_bytes == sum(held)
    for account in accounts:
        account.hold(0, 0)
    assert budget.held_bytes == 0
    assert not budget._held_by_key
