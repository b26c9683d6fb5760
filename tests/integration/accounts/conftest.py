from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from oyez.accounts.database import Database, open_database
from support.postgres import Postgres, find_binaries, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: postgresql)")
    with running_postgres(binaries) as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that does not exist yet, once for each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'accounts.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    yield opened
    opened.close()
