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
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import msgspec
import platformdirs
import sqlalchemy as sa

from oyez.accounts.database import Database
from oyez.accounts.schema import Moment, instances, sessions
from oyez.accounts.usage import ORPHANED, Record, write_valid

SPOOL_ENDING = ".unwritten.jsonl"
UNREADABLE_ENDING = ".unreadable"
SPOOL_BATCH = 500
HEARTBEAT_S = 5.0
GONE_AFTER_S = 30.0
"""A server on another machine is gone if its last heartbeat is older than this."""
NOW = sa.func.current_timestamp(type_=Moment)

log = logging.getLogger(__name__)


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
    else:
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
    records: list[Record] = []
    lines = file.read_bytes().splitlines()
    for line in lines:
        with suppress(ValueError):
            records.append(msgspec.json.decode(line, type=Record))
    rejected = len(lines) - len(records)
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


def heartbeat(connection: sa.Connection, instance_id: str) -> int:
    """Record that this server runs, and close the open sessions of servers that are gone, at the
    time they were last seen. Returns the number of sessions that were closed.

    A server is gone if its process has ended, which can be seen on the same machine, or if it has
    been silent for GONE_AFTER_S. One that was only cut off opens its sessions again with its next
    write.
    """
    renewed = sa.update(instances).where(instances.c.id == instance_id).values(beat_at=NOW)
    if connection.execute(renewed).rowcount == 0:
        row = {"id": instance_id, "place": _place(), "pid": os.getpid()}
        connection.execute(instances.insert().values(**row, began_at=NOW, beat_at=NOW))
    others = sa.select(instances, NOW.label("now")).where(instances.c.id != instance_id)
    gone = [
        row.id
        for row in connection.execute(others)
        if row.now - row.beat_at > timedelta(seconds=GONE_AFTER_S) or _has_ended(row.place, row.pid)
    ]
    connection.execute(sa.delete(instances).where(instances.c.id.in_(gone)))
    orphaned = (
        sa.update(sessions)
        .where(sessions.c.ended_at.is_(None))
        .where(sessions.c.instance_id.not_in(sa.select(instances.c.id)))
        .values(ended_at=sessions.c.seen_at, close_reason=ORPHANED)
    )
    return connection.execute(orphaned).rowcount


def sign_off(connection: sa.Connection, instance_id: str) -> None:
    """Record that this server has ended and has written everything."""
    connection.execute(sa.delete(instances).where(instances.c.id == instance_id))


def _has_ended(place: str | None, pid: int) -> bool:
    """True if a process of this machine does not run any more. False if that is unknown."""
    here = _place()
    if place is None or here is None or place.rpartition("/")[0] != here.rpartition("/")[0]:
        return False
    return place != _place(pid)


def _place(pid: int | None = None) -> str | None:
    """Where a process runs, by default this one: the boot of the machine, the namespace of process
    numbers, and the start of the process, because numbers are used again.

    None if there is no such process, or on systems where it cannot be found out.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
        state = Path(f"/proc/{pid or 'self'}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    is_dead = state[0] in ("Z", "X")  # zombie or dead
    return None if is_dead else f"{boot}/{namespace}/{state[19]}"
