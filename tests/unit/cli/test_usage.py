from __future__ import annotations

import csv
import io
import json
import os
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from oyez.accounts.database import open_database
from oyez.accounts.keys import create_key
from oyez.accounts.ledger import Ledger
from oyez.accounts.usage import LanguageUsage
from oyez.cli.usage import usage
from support.usage import NOON, a_usage

PRICE = Decimal("0.00009")
PERIOD = ("--since", "2026-11-01", "--until", "2026-11-30")


@pytest.fixture(autouse=True)
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sessions of ci, one over midnight; one of a key from a file; one without a key."""
    for name in list(os.environ):
        if name.startswith("OYEZ_"):
            monkeypatch.delenv(name)
    url = f"sqlite:///{tmp_path}/accounts.db"
    monkeypatch.setenv("OYEZ_DATABASE", url)
    database = open_database(url)
    _, key = create_key(database, "ci")
    ledger = Ledger(database, price_per_second=PRICE, currency="EUR")
    ledger.start()
    ci = {"key_id": key.id, "key_name": "ci"}
    english = {"en": LanguageUsage(2, 30.5)}
    ledger.put(a_usage("a", **ci, audio_s=61.25, speech_s=30.5, turns=2, finals=2,
                       languages=english, ended_at=NOON, close_code=1000,
                       close_reason="finished"))  # fmt: skip
    ledger.put(a_usage("b", **ci, audio_s=10.0))
    ledger.put(
        a_usage("b", **ci, at=NOON + timedelta(days=1), audio_s=3600.004, ended_at=NOON, turns=1,
                failed=1, errors=1, languages={"de": LanguageUsage(1, 0.25)})
    )  # fmt: skip
    ledger.put(a_usage("c", key_id="static-1", key_name="static-1", audio_s=1.0, ended_at=NOON))
    ledger.put(a_usage("d", key_id=None, key_name=None, audio_s=2.0, ended_at=NOON))
    assert ledger.stop(10.0) == 0
    database.close()


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(usage, [*arguments])
    assert result.exit_code == 0, result.output
    return result


def as_json(*arguments: str) -> dict[str, Any]:
    return json.loads(run(*PERIOD, *arguments, "--json").stdout)  # type: ignore[no-any-return]


def test_by_key() -> None:
    found = as_json()
    by_name = {line["key_name"]: line for line in found["usage"]}
    assert set(by_name) == {"ci", "static-1", None}
    ci = by_name["ci"]
    assert (ci["sessions"], ci["audio_s"], ci["turns"]) == (2, 3661.254, 3)
    assert (ci["finals"], ci["failed"], ci["errors"]) == (2, 1, 1)
    assert ci["cost"] == {"EUR": "0.32951286"}
    assert found["total"]["audio_s"] == 3664.254


def test_by_day_a_session_over_midnight_is_in_both() -> None:
    lines = {line["day"]: line for line in as_json("--by", "day", "--key", "ci")["usage"]}
    assert lines["2026-11-23"]["audio_s"] == 71.25
    assert lines["2026-11-24"]["audio_s"] == 3590.004
    assert [lines[day]["sessions"] for day in sorted(lines)] == [2, 0]


def test_by_endpoint() -> None:
    (line,) = as_json("--by", "endpoint")["usage"]
    assert (line["endpoint"], line["sessions"], line["audio_s"]) == ("realtime", 4, 3664.254)


def test_by_language() -> None:
    assert as_json("--by", "language")["usage"] == [
        {"language": "de", "turns": 1, "speech_s": 0.25},
        {"language": "en", "turns": 2, "speech_s": 30.5},
    ]


def test_the_period_is_whole_days_both_included() -> None:
    second = run("--since", "2026-11-24", "--until", "2026-11-24", "--json").stdout
    assert json.loads(second)["total"]["audio_s"] == 3590.004
    assert "Nothing was used" in run("--since", "2026-11-25", "--until", "2026-11").stderr


def test_csv_is_exact() -> None:
    lines = list(csv.DictReader(io.StringIO(run(*PERIOD, "--by", "day", "--csv").stdout)))
    assert lines[0]["audio_s"] == "74.25"
    assert sum(Decimal(line["cost_EUR"]) for line in lines) == Decimal("3664.254") * PRICE


def test_the_table_has_totals_and_fits_eighty_columns() -> None:
    lines = run(*PERIOD).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert "(no key)" in " ".join(lines)
    assert lines[-1].split()[:3] == ["total", "4", "1:01:04"]
    assert lines[-1].split()[-1] == "0.3298"


def test_sessions_one_by_one_tell_how_they_closed() -> None:
    found = json.loads(run(*PERIOD, "--by", "session", "--json").stdout)
    by_id = {line["id"]: line for line in found}
    assert set(by_id) == set("abcd")
    assert by_id["b"]["audio_s"] == 3600.004
    assert by_id["b"]["cost"] == "0.32400036"
    assert by_id["a"]["began_at"] == "2026-11-23T12:00:00.000Z"
    assert (by_id["a"]["close_code"], by_id["a"]["close_reason"]) == (1000, "finished")
    second = run("--since", "2026-11-24", "--until", "2026-11-24", "--by", "session", "--csv")
    (line,) = csv.DictReader(io.StringIO(second.stdout))
    assert (line["id"], line["audio_s"], line["key_name"]) == ("b", "3600.004", "ci")
    table = run(*PERIOD, "--by", "session", "--key", "ci").stdout
    assert "1000 finished" in table and "static-1" not in table


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+1+1", "'+1+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("a\r\n=1\x1b[31m", "a  =1 [31m"),
        ("whisper-1", "whisper-1"),
    ],
)
def test_what_clients_write_is_no_formula_and_has_no_control_characters(
    tmp_path: Path, name: str, shown: str
) -> None:
    database = open_database(f"sqlite:///{tmp_path}/accounts.db")
    ledger = Ledger(database)
    ledger.start()
    ledger.put(a_usage("e", key_id="k", key_name=name, model=name, ended_at=NOON))
    assert ledger.stop(10.0) == 0
    database.close()
    sessions = run(*PERIOD, "--by", "session", "--csv").stdout
    line = next(each for each in csv.DictReader(io.StringIO(sessions)) if each["id"] == "e")
    assert (line["model"], line["key_name"]) == (shown, shown)
    keys = run(*PERIOD, "--by", "key", "--csv").stdout
    assert shown in [each["key_name"] for each in csv.DictReader(io.StringIO(keys))]
    for table in (run(*PERIOD).stdout, run(*PERIOD, "--by", "session").stdout):
        assert not {"\x1b", "\t", "\r"} & set(table)


def test_a_table_of_sessions_shows_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oyez.cli.usage.MAX_SESSIONS_SHOWN", 1)
    result = run(*PERIOD, "--by", "session")
    assert len(result.stdout.splitlines()) == 2
    assert "last 1 of 4" in result.stderr


def test_a_key_of_a_file_can_be_asked_for() -> None:
    assert as_json("--key", "static-1")["total"]["sessions"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--since", "soon"], "yesterday"),
        (["--since", "2026-11-24", "--until", "2026-11-23"], "is after"),
        (["--key", "mobile"], "ci (key_"),
        (["--by", "year"], "language"),
        (["--database", "sqlite:///nowhere.db"], "no such file"),
        (["--database", "mysql://x:secret@y/z"], "mysql"),
    ],
)
def test_wrong_usage_says_what_to_change(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(usage, arguments)
    assert result.exit_code in (1, 2)
    assert words in result.stderr
    assert "secret" not in result.stderr
