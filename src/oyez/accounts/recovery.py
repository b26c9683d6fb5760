"""What servers leave behind when they end, and how it is put right.

The spool: usage that a server could not write before it had to stop. It lies in files of JSON
lines, one for each session and day, until the next start writes it to the database. Writing a line
twice changes nothing, so two servers may read one file, or one server again after a crash.

The heartbeat: every running server has a row in `instances`, which it renews. When a server is
gone, other servers close the sessions that it left open. Times are those of the database, so that
the clocks of servers need not agree.

Everything here blocks.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import platformdirs
from sqlalchemy import Connection, delete, func, or_, select, update

from oyez.accounts.database import Database
from oyez.accounts.schema import Moment, instances, sessions
from oyez.accounts.usage import ORPHANED, Record, write_valid

SPOOL_ENDING = ".unwritten.jsonl"
UNREADABLE_ENDING = ".unreadable"
SPOOL_BATCH = 500
HEARTBEAT_S = 5.0
GONE_AFTER_S = 30.0
"""A server on another machine is gone if its last heartbeat is older than this."""

log = logging.getLogger(__name__)
_decoder = msgspec.json.Decoder(Record)
_of_this_process: set[str] = set()


def write_spool(database: Database, instance_id: str, records: Sequence[Record]) -> None:
    """Keep records for the next start. They are on the disk when this returns.

    If that fails, the log says so and the records are lost.
    """
    stem = _spool_stem(database)
    file = stem.with_name(f"{stem.name}.{instance_id}{SPOOL_ENDING}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            out.write(msgspec.json.Encoder().encode_lines(records))
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        log.error("usage of %d sessions is lost: %s: %s", len(records), file, error.strerror)
        return
    log.error("usage could not be written; the next start takes it from %s", file)


def replay_spool(database: Database) -> None:
    """Write what earlier runs left, and remove their files. Raises DatabaseError."""
    stem = _spool_stem(database)
    for file in sorted(stem.parent.glob(f"{stem.name}.*{SPOOL_ENDING}")):
        try:
            _replay_file(database, file)
        except OSError as error:
            log.error("cannot take in usage from %s: %s", file, error.strerror)


def _replay_file(database: Database, file: Path) -> None:
    records, rejected = [], 0
    for line in file.read_bytes().splitlines():
        try:
            records.append(_decoder.decode(line))
        except ValueError:
            rejected += 1
    for start in range(0, len(records), SPOOL_BATCH):
        rejected += len(write_valid(database, records[start : start + SPOOL_BATCH]))
    log.info("took in usage from %s", file, extra={"fields": {"lines": len(records)}})
    if rejected:
        file.rename(file.with_name(file.name + UNREADABLE_ENDING))
        log.error("%d lines of %s%s could not be taken in", rejected, file, UNREADABLE_ENDING)
    else:
        file.unlink()


def _spool_stem(database: Database) -> Path:
    """The path with which spool files begin: that of an SQLite file, or one in the user's data
    directory for a database on a server."""
    if database.file is not None:
        return database.file.absolute()
    name = hashlib.sha256(database.name.encode()).hexdigest()[:12]
    return Path(platformdirs.user_data_dir("oyez")) / f"usage-{name}"


def heartbeat(connection: Connection, instance_id: str) -> None:
    """Record that this server runs in this process."""
    _of_this_process.add(instance_id)
    now = _database_time(connection)
    renewed = update(instances).where(instances.c.id == instance_id).values(beat_at=now)
    if connection.execute(renewed).rowcount == 0:
        row = {"id": instance_id, "place": _place(), "pid": os.getpid()}
        connection.execute(instances.insert().values(**row, began_at=now, beat_at=now))


def sign_off(connection: Connection, instance_id: str) -> None:
    """Record that this server has ended and has written everything."""
    _of_this_process.discard(instance_id)
    connection.execute(delete(instances).where(instances.c.id == instance_id))


def close_orphaned(connection: Connection, instance_id: str) -> int:
    """Close the open sessions of servers that are gone, at the time they were last seen.

    A server that was only cut off opens its sessions again with its next write. Returns the number
    of sessions that were closed.
    """
    is_silent = instances.c.beat_at < _database_time(connection) - timedelta(seconds=GONE_AFTER_S)
    is_dead = or_(is_silent, instances.c.id.in_(_dead_on_this_machine(connection, instance_id)))
    connection.execute(delete(instances).where(is_dead, instances.c.id != instance_id))
    orphaned = (
        update(sessions)
        .where(sessions.c.ended_at.is_(None))
        .where(sessions.c.instance_id.not_in(select(instances.c.id)))
        .values(ended_at=sessions.c.seen_at, close_reason=ORPHANED)
    )
    return connection.execute(orphaned).rowcount


def _dead_on_this_machine(connection: Connection, instance_id: str) -> list[str]:
    """Servers whose process does not exist any more. This is known at once, without waiting for
    GONE_AFTER_S."""
    place = _place()
    if place is None:
        return []
    here = select(instances.c.id, instances.c.pid).where(
        instances.c.place == place, instances.c.id != instance_id
    )
    return [row.id for row in connection.execute(here) if not _is_running(row.pid, row.id)]


def _is_running(pid: int, instance_id: str) -> bool:
    # In a container every server may have the same process number: this process knows its own.
    if pid == os.getpid():
        return instance_id in _of_this_process
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")  # zombie or dead


def _place() -> str | None:
    """The boot of this machine and the process namespace, in which process numbers are unique.

    None on systems where it cannot be found out.
    """
    if sys.platform != "linux":
        return None
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return None


def _database_time(connection: Connection) -> datetime:
    now: datetime = connection.execute(select(func.current_timestamp(type_=Moment))).scalar_one()
    return now
