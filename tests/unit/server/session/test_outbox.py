from __future__ import annotations

import asyncio

import pytest

from oyez.server.session.outbox import ByteQueue


async def test_items_leave_in_the_order_they_came() -> None:
    queue: ByteQueue[str] = ByteQueue(100)
    for item in "abc":
        queue.put(item, 1)
    assert [await queue.get() for _ in range(3)] == ["a", "b", "c"]
    assert queue.size_bytes == 0


async def test_getting_waits_for_an_item() -> None:
    queue: ByteQueue[str] = ByteQueue(100)
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not getting.done()
    queue.put("a", 1)
    assert await getting == "a"


async def test_whoever_wants_to_know_is_told_of_room_once_there_is_some_again() -> None:
    told: list[int] = []
    queue: ByteQueue[str] = ByteQueue(10, lambda: told.append(queue.size_bytes))
    queue.put("a", 6)
    queue.take()
    assert not told
    for item in "bcd":
        queue.put(item, 6)
    assert not queue.has_room
    for _ in "bcd":
        queue.take()
    assert told == [6]
    with pytest.raises(IndexError):
        queue.take()


async def test_a_released_queue_is_empty_and_tells_nobody() -> None:
    told: list[int] = []
    queue: ByteQueue[str] = ByteQueue(10, lambda: told.append(1))
    queue.put("a", 20)
    queue.release()
    assert (len(queue), queue.size_bytes, told) == (0, 0, [])
    queue.put("b", 20)
    queue.take()
    assert told == []
