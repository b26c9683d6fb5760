from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from oyez.accounts.database import open_database
from oyez.accounts.ledger import Ledger
from oyez.accounts.reports import session_report
from oyez.cli.usage import usage
from support.usage import a_usage

NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Sessions of now, a week and a month ago."""
    url = f"sqlite:///{tmp_path}/accounts.db"
    monkeypatch.setenv("OYEZ_DATABASE", url)
    database = open_database(url)
    ledger = Ledger(database)
    ledger.start()
    for days_ago in (0, 7, 30):
        at = NOW - timedelta(days=days_ago)
        times = {"began_at": at, "at": at, "ended_at": at}
        ledger.put(a_usage(f"s{days_ago}", **times, audio_s=3600.0, speech_s=60.0))
    assert ledger.stop(10.0) == 0
    database.close()
    return url


def left(url: str) -> list[str]:
    database = open_database(url)
    found = session_report(database, since=NOW.date() - timedelta(days=99), until=NOW.date())
    database.close()
    return [each.id for each in found]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(usage, ["prune", *arguments])


def test_sessions_are_counted_and_then_deleted(url: str) -> None:
    result = run("--before", "8d", "--yes")
    assert result.exit_code == 0, result.output
    last = NOW.date() - timedelta(days=8)
    assert f"Until {last} (UTC): 1 session, 1:00:00 of audio, 0:01:00 of speech." in result.stderr
    assert "Deleted 1 session." in result.stderr
    assert left(url) == ["s7", "s0"]
    assert "There are no sessions until" in run("--before", "8d", "--yes").stderr


def test_nothing_goes_without_a_yes(url: str) -> None:
    result = run("--before", "today")
    assert result.exit_code == 2 and "--yes" in result.output
    assert "2 sessions, 2:00:00" in result.output
    assert len(left(url)) == 3


def test_today_stays(url: str) -> None:
    tomorrow = NOW.date() + timedelta(days=1)
    result = run("--before", f"{tomorrow}", "--yes")
    assert result.exit_code == 2
    assert f"the latest is --before {NOW.date()}" in result.output
    assert len(left(url)) == 3


def test_days_with_open_sessions_stay(url: str) -> None:
    database = open_database(url)
    ledger = Ledger(database)
    ledger.start()
    began_at = NOW - timedelta(days=3)
    ledger.put(a_usage("open", began_at=began_at, at=began_at))
    assert ledger.stop(10.0) == 0
    database.close()
    result = run("--before", "today", "--yes")
    assert result.exit_code == 2
    assert f"is still open: the latest is --before {began_at:%Y-%m-%d}" in result.output
    assert len(left(url)) == 4
    assert run("--before", f"{began_at:%Y-%m-%d}", "--yes").exit_code == 0
    assert left(url) == ["open", "s0"]


def test_options_of_the_report_are_not_lost_silently() -> None:
    result = CliRunner().invoke(usage, ["--since", "7d", "prune", "--before", "8d"])
    assert result.exit_code == 2
    assert "--since before prune has no effect" in result.output
