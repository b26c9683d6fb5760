"""Usage that a server could not write before it had to stop, until the next start takes it in.

JSON lines, one a session and day. Taking the same line in twice changes nothing, so a file may be
read by two servers at once, or again after a crash.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import platformdirs

from oyez.accounts.database import Database
from oyez.accounts.record import Record
from oyez.accounts.usage_store import write_what_can_be

ENDING = ".unwritten.jsonl"
UNREADABLE = ".unreadable"
BATCH = 500

log = logging.getLogger(__name__)
_decoder = msgspec.json.Decoder(Record)


def leave(database: Database, instance_id: str, records: Sequence[Record]) -> None:
    """Keep these for the next start, on the disk when this returns; says so in the log."""
    file = _stem(database)
    file = file.with_name(f"{file.name}.{instance_id}{ENDING}")
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


def take_in(database: Database) -> None:
    """Write what earlier runs left, and remove their files. Raises DatabaseError."""
    stem = _stem(database)
    for file in sorted(stem.parent.glob(f"{stem.name}.*{ENDING}")):
        try:
            _take_in(database, file)
        except OSError as error:
            log.error("cannot take in usage from %s: %s", file, error.strerror)


def _take_in(database: Database, file: Path) -> None:
    records, refused = [], 0
    for line in file.read_bytes().splitlines():
        try:
            records.append(_decoder.decode(line))
        except ValueError:
            refused += 1
    for start in range(0, len(records), BATCH):
        refused += len(write_what_can_be(database, records[start : start + BATCH]))
    log.info("took in usage from %s", file, extra={"fields": {"lines": len(records)}})
    if refused:
        file.rename(file.with_name(file.name + UNREADABLE))
        log.error("%d lines of %s%s could not be taken in", refused, file, UNREADABLE)
    else:
        file.unlink()


def _stem(database: Database) -> Path:
    """Beside a SQLite file; in the user's data directory for a database elsewhere."""
    if database.file is not None:
        return database.file.absolute()
    name = hashlib.sha256(database.name.encode()).hexdigest()[:12]
    return Path(platformdirs.user_data_dir("oyez")) / f"usage-{name}"
