"""Which servers write to the database, and which of them are gone.

Every server has a row and renews it. The sessions of one that is gone, and left some open, are
closed as lost. Times are the database's own, so that servers need not agree on the clock.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, delete, func, or_, select, update

from oyez.accounts.schema import Moment, instances, sessions
from oyez.accounts.usage import LOST

BEAT_S = 5.0
GONE_AFTER_S = 30.0

_of_this_process: set[str] = set()


def beat(connection: Connection, instance_id: str) -> None:
    """Say that this server, which is of this process, runs."""
    _of_this_process.add(instance_id)
    now = _now(connection)
    renewed = update(instances).where(instances.c.id == instance_id).values(beat_at=now)
    if connection.execute(renewed).rowcount == 0:
        row = {"id": instance_id, "place": _place(), "pid": os.getpid()}
        connection.execute(instances.insert().values(**row, began_at=now, beat_at=now))


def leave(connection: Connection, instance_id: str) -> None:
    """Say that this server has ended and written everything."""
    _of_this_process.discard(instance_id)
    connection.execute(delete(instances).where(instances.c.id == instance_id))


def close_lost(connection: Connection, instance_id: str) -> int:
    """Close the open sessions of servers that are gone, as of when they were last heard of.

    A server that was cut off and comes back opens its own again. Returns how many.
    """
    dead = or_(instances.c.beat_at < _now(connection) - timedelta(seconds=GONE_AFTER_S),
               instances.c.id.in_(_dead_here(connection, instance_id)))  # fmt: skip
    connection.execute(delete(instances).where(dead, instances.c.id != instance_id))
    lost = (
        update(sessions)
        .where(sessions.c.ended_at.is_(None))
        .where(sessions.c.instance_id.not_in(select(instances.c.id)))
        .values(ended_at=sessions.c.seen_at, close_reason=LOST)
    )
    return connection.execute(lost).rowcount


def _dead_here(connection: Connection, instance_id: str) -> list[str]:
    """Servers of this machine whose process is no more: known without waiting for their beat."""
    place = _place()
    if place is None:
        return []
    here = select(instances.c.id, instances.c.pid).where(
        instances.c.place == place, instances.c.id != instance_id
    )
    return [row.id for row in connection.execute(here) if not _runs(row.pid, row.id)]


def _runs(pid: int, instance_id: str) -> bool:
    if pid == os.getpid():
        return instance_id in _of_this_process
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")  # ended, and its parent has not asked how


def _place() -> str | None:
    """This boot of this machine and its process numbers, or None where that cannot be told."""
    if sys.platform != "linux":
        return None
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return None


def _now(connection: Connection) -> datetime:
    now: datetime = connection.execute(select(func.current_timestamp(type_=Moment))).scalar_one()
    return now
