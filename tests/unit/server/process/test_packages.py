from __future__ import annotations

import socket
from importlib import metadata

import pytest

from oyez.server.lifecycle import StartupError, run_server
from oyez.server.process import packages
from oyez.settings import Settings

NEEDED = ["aiohttp>=3.14.5", "numpy>=1.26", "psycopg>=3.2; extra == 'postgres'"]


def outdated(monkeypatch: pytest.MonkeyPatch, **here: str) -> list[str]:
    def version(name: str) -> str:
        if name not in here:
            raise metadata.PackageNotFoundError(name)
        return here[name]

    monkeypatch.setattr(metadata, "requires", lambda name: NEEDED)
    monkeypatch.setattr(metadata, "version", version)
    return packages.outdated()


def test_an_older_package_is_named_with_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = outdated(monkeypatch, aiohttp="3.14.0", numpy="2.4.6")
    assert found == ["aiohttp 3.14.0 (needed: >=3.14.5)"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outdated(monkeypatch, aiohttp="3.15.0") == ["numpy is missing"]


def test_newer_packages_and_absent_extras_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outdated(monkeypatch, aiohttp="3.15.0rc1", numpy="1.26.0") == []


def test_nothing_is_said_where_oyez_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    assert packages.outdated() == []


def test_the_server_warns_before_it_starts(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(packages, "outdated", lambda: ["aiohttp 3.14.0 (needed: >=3.14.5)"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings(port=taken.getsockname()[1], database="off", engine="fake")
        with pytest.raises(StartupError):
            run_server(settings, lambda line: None)
    assert "aiohttp 3.14.0 (needed: >=3.14.5)" in caplog.text
