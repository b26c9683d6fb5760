"""Kill -9 processes that write usage, over and over: `ledger_crashes.py URL ACKNOWLEDGED ROUNDS`.

Each round a child puts sessions as fast as they are taken, and writes a line for each whose
future is done. The parent kills it at a random moment: every other time once something was
promised, however slow the machine.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import time
from collections import deque
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta

from oyez.accounts.database import open_database
from oyez.accounts.ledger import Ledger
from oyez.accounts.usage import LanguageUsage, SessionUsage

AT_ONCE = 20
BEGAN_AT = datetime(2026, 11, 23, 23, 59, 59, tzinfo=UTC)


def usage(session_id: str, step: int, *, is_last: bool) -> SessionUsage:
    at = BEGAN_AT + timedelta(seconds=step)
    return SessionUsage(
        session_id=session_id,
        key_id="key_a",
        key_name="a",
        endpoint="realtime",
        model="m",
        began_at=BEGAN_AT,
        at=at,
        ended_at=at if is_last else None,
        audio_s=1.25 * step,
        turns=step,
        languages={"en": LanguageUsage(step, 0.5 * step)},
        close_code=1000 if is_last else None,
    )


def write_until_killed(url: str, acknowledged: int, round_number: int) -> None:
    ledger = Ledger(open_database(url))
    ledger.start()
    waiting: deque[tuple[str, Future[None]]] = deque()
    number = 0
    while True:
        session_id = f"sess_{round_number}_{number}"
        for step in range(4):
            future = ledger.put(usage(session_id, step, is_last=step == 3))
        waiting.append((session_id, future))
        number += 1
        if len(waiting) >= AT_ONCE:
            session_id, future = waiting.popleft()
            future.result()
            os.write(acknowledged, f"{session_id}\n".encode())


def wait_for_more(acknowledged: int) -> None:
    before = os.fstat(acknowledged).st_size
    deadline_s = time.monotonic() + 30
    while os.fstat(acknowledged).st_size == before:
        assert time.monotonic() < deadline_s, "nothing was written"
        time.sleep(0.005)


def main(url: str, acknowledged_file: str, rounds: int) -> None:
    acknowledged = os.open(acknowledged_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    database = open_database(url)
    file = database.file
    database.close()
    chance = random.Random(1)
    for round_number in range(rounds):
        child = os.fork()
        if child == 0:
            write_until_killed(url, acknowledged, round_number)
        if round_number % 2:
            wait_for_more(acknowledged)
        time.sleep(chance.uniform(0, 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if file is not None:
            with sqlite3.connect(file) as connection:
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
