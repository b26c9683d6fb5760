from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from oyez.server.session.buffers import (
    FRAME_OVERHEAD_BYTES,
    KEY_SHARE,
    MIN_AUDIO_BYTES,
    MIN_WAITING_BYTES,
    SESSION_BYTES,
    ByteAccount,
    ByteBudget,
    Outbox,
)

TOTAL_BYTES = 8 * SESSION_BYTES


def test_so_much_of_a_session_may_wait_and_no_more() -> None:
    account = ByteAccount(ByteBudget(TOTAL_BYTES), None)
    account.hold(SESSION_BYTES - 1, 0)
    assert account.may_read
    account.hold(SESSION_BYTES, 0)
    assert not account.may_read
    assert account.may_feed, "that is how it becomes less"


def test_a_key_may_hold_a_share_of_all() -> None:
    budget = ByteBudget(TOTAL_BYTES)
    accounts = [ByteAccount(budget, "key") for _ in range(3)]
    part_bytes = TOTAL_BYTES // KEY_SHARE // 6 + 1
    for account in accounts:
        account.hold(part_bytes, part_bytes)
    assert not any(account.may_read or account.may_feed for account in accounts)
    other = ByteAccount(budget, "other")
    other.hold(SESSION_BYTES // 2, SESSION_BYTES // 2)
    assert other.may_read and other.may_feed, "the share of one key is no matter of another's"
    accounts[0].hold(MIN_WAITING_BYTES, 0)
    assert accounts[1].may_read and accounts[1].may_feed


def test_callers_without_a_key_may_hold_everything() -> None:
    budget = ByteBudget(TOTAL_BYTES)
    accounts = [ByteAccount(budget, None) for _ in range(9)]
    for account in accounts[:8]:
        account.hold(SESSION_BYTES // 2 - 1, SESSION_BYTES // 2)
    assert accounts[0].may_read and accounts[0].may_feed
    accounts[8].hold(MIN_WAITING_BYTES, MIN_AUDIO_BYTES)
    assert not (accounts[0].may_read or accounts[0].may_feed)
    assert not (accounts[8].may_read or accounts[8].may_feed)


def test_a_session_that_holds_little_is_always_read_from_and_fed() -> None:
    budget = ByteBudget(TOTAL_BYTES)
    ByteAccount(budget, "hog").hold(10 * TOTAL_BYTES, 0)
    speaker = ByteAccount(budget, "hog")
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
    accounts = [ByteAccount(budget, key) for key in ("a", "a", "b", None, None)]
    held = [0] * 5
    for number, waiting_bytes, audio_bytes in changes:
        accounts[number].hold(waiting_bytes, audio_bytes)
        held[number] = waiting_bytes + audio_bytes
        assert budget.held_bytes == sum(held)
    for account in accounts:
        account.hold(0, 0)
    assert budget.held_bytes == 0
    assert not budget.held_by_key


class Socket:
    """Keeps what is sent, while it takes anything."""

    def __init__(self) -> None:
        self.sent: list[object] = []
        self.takes = asyncio.Event()
        self.takes.set()

    async def send(self, text: str) -> None:
        await self.takes.wait()
        self.sent.append(text)

    async def close(self, code: int, reason: str, timeout_s: float) -> None:
        self.sent.append(code)


def an_outbox(socket: Socket, limit_bytes: int, on_room: Callable[[], None]) -> Outbox:
    return Outbox(socket, limit_bytes, on_room, lambda took_s: None)  # type: ignore[arg-type]


async def test_frames_leave_in_the_order_they_came_and_the_last_one_ends_it() -> None:
    socket = Socket()
    outbox = an_outbox(socket, 1000, lambda: None)
    running = asyncio.create_task(outbox.run())
    await asyncio.sleep(0)
    for text in "abc":
        outbox.text(text)
    assert outbox.waiting_bytes == 3 * (1 + FRAME_OVERHEAD_BYTES)
    outbox.close(1000, "")
    outbox.text("never sent")
    await running
    assert socket.sent == ["a", "b", "c", 1000]


async def test_frames_are_held_back_until_something_is_done_or_for_so_long() -> None:
    socket, late = Socket(), list[int]()
    outbox = an_outbox(socket, 1000, lambda: None)
    done, never = asyncio.Future[None](), asyncio.Future[None]()
    outbox.hold(done, 60.0, lambda: late.append(1))
    outbox.text("a")
    outbox.hold(never, 0.01, lambda: late.append(2))
    outbox.text("b")
    outbox.close(1000, "")
    running = asyncio.create_task(outbox.run())
    await asyncio.sleep(0.01)
    assert socket.sent == []
    done.set_result(None)
    await running
    assert (socket.sent, late) == (["a", "b", 1000], [2])


async def test_room_is_reported_once_there_is_some_again() -> None:
    waiting: list[int] = []
    socket = Socket()
    socket.takes.clear()
    size_bytes = 6 + FRAME_OVERHEAD_BYTES
    outbox = an_outbox(socket, 2 * size_bytes, lambda: waiting.append(outbox.waiting_bytes))
    running = asyncio.create_task(outbox.run())
    outbox.text("a" * 6)
    await asyncio.sleep(0)
    assert outbox.has_room and not waiting, "it had room all the time"
    for _ in range(4):
        outbox.text("a" * 6)
    assert not outbox.has_room
    await asyncio.sleep(0.01)
    assert outbox.stalled_s > 0
    socket.takes.set()
    await asyncio.sleep(0)
    outbox.close(1000, "")
    await running
    assert waiting == [size_bytes]
    assert outbox.stalled_s == 0


async def test_a_released_outbox_is_empty() -> None:
    socket = Socket()
    outbox = an_outbox(socket, 10, lambda: None)
    outbox.text("a" * 20)
    outbox.release()
    assert outbox.waiting_bytes == 0
    outbox.close(1000, "")
    await outbox.run()
    assert socket.sent == [1000]
