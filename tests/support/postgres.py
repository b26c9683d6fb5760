"""A PostgreSQL of the test's own, from Debian's packages, on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

BINARIES = Path("/usr/lib/postgresql")


def find_binaries() -> Path | None:
    """Where initdb is, or None if it is not installed."""
    found = sorted(BINARIES.glob("*/bin/initdb"), key=lambda file: int(file.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).parent if elsewhere else None


class Postgres:
    """Stopped and started at will; `url` gives an empty place for tables."""

    def __init__(self, binaries: Path, folder: Path, user: str | None) -> None:
        self._binaries, self._folder, self._user = binaries, folder, user
        self._process: subprocess.Popen[bytes] | None = None
        self._users = 0
        self._run("initdb", "-D", str(folder / "data"), "-U", "oyez", "-A", "trust", "--no-sync")

    def start(self) -> None:
        options = ("-k", str(self._folder), "-c", "listen_addresses=", "-c", "fsync=off")
        command = [str(self._binaries / "postgres"), "-D", str(self._folder / "data"), *options]
        self._process = subprocess.Popen(command, user=self._user, stderr=subprocess.DEVNULL)
        deadline_s = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self._conninfo("postgres")).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)

    def stop(self) -> None:
        """At once, without tidying up: what was committed is there at the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def url(self) -> str:
        """Of an empty schema, its user's own: a database each would be hundreds of files."""
        self._users += 1
        name = f"test_{self._users}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name} LOGIN")
            connection.execute(f"CREATE SCHEMA AUTHORIZATION {name}")
        return f"postgresql://{name}@/postgres?host={self._folder}"

    def _conninfo(self, database: str) -> str:
        return f"host={self._folder} user=oyez dbname={database}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._binaries / program), *arguments]
        subprocess.run(command, user=self._user, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def running_postgres(binaries: Path) -> Iterator[Postgres]:
    """Its files are removed afterwards. It refuses to run as root, so it runs as somebody else."""
    folder = Path(tempfile.mkdtemp(prefix="oyez-pg-"))
    user = _somebody() if os.geteuid() == 0 else None
    try:
        if user is not None:
            shutil.chown(folder, user)
        postgres = Postgres(binaries, folder, user)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(folder)


def _somebody() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
