"""Revoking a key while its sessions run, under load."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from support.keys import KeyOffice
from support.server import FINISH, Client, append, running_server, silence, speech

SESSIONS = 30
PACKET_S = 0.1


async def speak_until_closed(client: Client) -> float:
    """Stream speech as it is spoken, with short pauses. When the server closed."""

    async def speak() -> None:
        while True:
            for number in range(20):
                await client.send(append((silence if number > 17 else speech)(PACKET_S)))
                await asyncio.sleep(PACKET_S)

    speaking = asyncio.create_task(speak())
    try:
        await client.closed(20.0)
        return time.monotonic()
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)


async def speak_and_finish(client: Client, turns: int) -> None:
    for _ in range(turns):
        for part in (speech(0.5), speech(0.5), silence(0.5), silence(0.5)):
            await client.send(append(part))
            await asyncio.sleep(0.5)
    await client.send(FINISH)
    await client.until("session.finished")
    await client.socket.close()


async def test_sessions_of_a_revoked_key_end_with_what_was_said_and_others_never_notice(
    tmp_path: Path,
) -> None:
    office = KeyOffice(tmp_path)
    (key, its), (other_key, _) = office.create("leaked"), office.create("other")
    async with running_server(database=office.url, sessions_per_second=100, max_load=0) as running:
        revoked = [await running.connect(key=key) for _ in range(SESSIONS)]
        others = [await running.connect(key=other_key) for _ in range(5)]
        ending = [asyncio.create_task(speak_until_closed(client)) for client in revoked]
        staying = [asyncio.create_task(speak_and_finish(client, 3)) for client in others]
        await asyncio.sleep(1.0)
        await office.revoke(its)
        revoked_s = time.monotonic()
        ended_s = await asyncio.gather(*ending)
        assert max(ended_s) - revoked_s < 5.0
        await asyncio.gather(*staying)
    for client in revoked:
        assert client.socket.close_code == 1008
        told = [event for event in client.seen if event["type"] == "error"]
        assert [event["error"]["code"] for event in told] == ["InvalidApiKey"]
        assert client.types[-1] == "finished", "and nothing after it"
        assert client.types.count("committed") == client.types.count("completed") >= 1
        assert client.seen[-1]["transcript"].startswith("one two")
    for client in others:
        assert "error" not in client.types
        assert client.types.count("completed") == 3
    rows = office.sessions().values()
    reasons = [(row["key_name"], row["close_code"], row["close_reason"]) for row in rows]
    assert reasons.count(("leaked", 1008, "API key revoked")) == SESSIONS
    assert reasons.count(("other", 1000, "session finished")) == 5
