from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from oyez.accounts.database import open_database
from oyez.accounts.keys import KeyDirectory
from oyez.accounts.ledger import Ledger
from oyez.accounts.reports import usage_report
from oyez.cli.keys import keys
from support.usage import a_usage


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OYEZ_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OYEZ_DATABASE", f"sqlite:///{tmp_path}/accounts.db")


def run(*arguments: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(keys, [*arguments], input=answer)


def created(*arguments: str) -> dict[str, Any]:
    result = run("create", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def listed(*arguments: str) -> list[dict[str, Any]]:
    return json.loads(run("list", "--json", *arguments).stdout)  # type: ignore[no-any-return]


def test_the_key_is_alone_on_standard_output(tmp_path: Path) -> None:
    result = run("create", "ci")
    secret = result.stdout.rstrip("\n")
    directory = KeyDirectory(open_database(f"sqlite:///{tmp_path}/accounts.db"))
    directory.refresh()
    found = directory.find(secret)
    assert found is not None and found.name == "ci"
    assert found.id in result.stderr and secret not in result.stderr


def test_every_limit_is_kept_and_shown() -> None:
    made = created(
        *("ci", "--sessions", "2", "--sessions-per-second", "3", "--audio-per-day", "1h30m"),
        *("--language", "en", "--language", "de,FR", "--expires", "2127-01-31"),
    )
    limits = {
        "sessions": 2,
        "sessions_per_second": 3,
        "audio_s_per_day": 5400.0,
        "languages": ["en", "de", "fr"],
        "expires_at": "2127-01-31T00:00:00Z",
    }
    assert limits.items() <= made.items()
    assert limits.items() <= listed()[0].items()
    shown = run("limits", "ci").stdout
    for words in ("2 sessions at once", "3 new", "1h 30m of audio", "en de fr", "2127-01-31"):
        assert words in shown


def test_one_of_a_thing_is_said_as_one() -> None:
    shown = run("create", "ci", "--sessions", "1", "--sessions-per-second", "1").output
    assert "1 session at once, 1 new session a second." in shown


def test_changing_a_limit_leaves_the_others_alone() -> None:
    created("ci", "--sessions", "2", "--language", "en", "--expires", "30d")
    result = run("limits", "ci", "--sessions", "5", "--none", "expires", "--none", "language")
    assert result.exit_code == 0, result.output
    (key,) = listed()
    assert (key["sessions"], key["expires_at"], key["languages"]) == (5, None, [])
    run("limits", "ci", "--none", "sessions")
    assert "no limits of its own" in run("limits", "ci").stdout


def test_a_limit_is_not_set_and_lifted_at_once() -> None:
    created("ci")
    result = run("limits", "ci", "--sessions", "5", "--none", "sessions")
    assert result.exit_code == 2
    assert "--none sessions" in result.stderr


def test_the_table_shows_names_as_they_are_and_needs_no_colour() -> None:
    created("a rather long name with [bold]brackets[/bold]", "--sessions", "2", "--expires", "9w")
    result = run("list")
    assert "[bold]brackets[/bold]" in result.stdout
    assert "\x1b" not in result.stdout


def test_revoking_asks_first() -> None:
    made = created("ci")
    result = run("revoke", "ci")
    assert result.exit_code == 2 and "--yes" in result.stderr
    assert listed()[0]["status"] == "active"
    assert run("revoke", made["id"], "--yes").exit_code == 0
    assert listed() == []
    assert listed("--all")[0]["status"] == "revoked"
    assert "was revoked" in run("revoke", "ci", "--yes").stderr


def test_a_name_means_the_only_key_that_is_not_revoked() -> None:
    first, second = created("ci"), created("ci")
    ambiguous = run("limits", "ci")
    assert ambiguous.exit_code == 2
    assert first["id"] in ambiguous.stderr and second["id"] in ambiguous.stderr
    run("revoke", first["id"], "--yes")
    assert second["id"] in run("limits", "ci").stdout


def test_limits_tell_what_was_used_today(tmp_path: Path) -> None:
    made = created("ci", "--audio-per-day", "2h")
    database = open_database(f"sqlite:///{tmp_path}/accounts.db")
    now = datetime.now(UTC)
    ledger = Ledger(database)
    ledger.start()
    yesterday = a_usage("x", key_id=made["id"], audio_s=100, at=now - timedelta(days=1))
    ledger.put(yesterday)
    ledger.put(a_usage("x", key_id=made["id"], audio_s=190, at=now, ended_at=now))
    ledger.stop(10)
    shown = run("limits", "ci").stdout
    assert "2h of audio a day" in shown and "today (UTC): 1m 30s" in shown
    assert json.loads(run("limits", "ci", "--json").stdout)["audio_today_s"] == 90


def test_the_tab_key_completes_names_and_ids(tmp_path: Path) -> None:
    from click.shell_completion import ShellComplete

    kept, revoked = created("mobile"), created("old")
    run("revoke", "old", "--yes")
    words = ShellComplete(keys, {}, "keys", "_KEYS_COMPLETE")
    assert [each.value for each in words.get_completions(["limits"], "mo")] == ["mobile"]
    found = {each.value for each in words.get_completions(["revoke"], "")}
    assert found == {"mobile", kept["id"]} and revoked["id"] not in found
    elsewhere = ["limits", "--database", f"sqlite:///{tmp_path}/nowhere.db"]
    assert words.get_completions(elsewhere, "") == []


def test_a_second_key_of_a_name_is_pointed_out() -> None:
    first = created("ci")
    assert first["id"] in run("create", "ci").stderr


def test_an_unknown_name_says_which_there_are() -> None:
    assert "oyez keys create" in _failed("limits", "ci", "--config", _empty_file()).stderr
    created("mobile")
    assert "mobile (key_" in _failed("limits", "mobil").stderr


def _failed(*arguments: str) -> Result:
    result = run(*arguments)
    assert result.exit_code != 0
    return result


def _empty_file() -> str:
    return os.devnull


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sessions", "0"], "--sessions"),
        (["--sessions-per-second", "x"], "--sessions-per-second"),
        (["--audio-per-day", "2 x"], "90m"),
        (["--language", "xx"], "yue"),
        (["--language", ","], "yue"),
        (["--expires", "30"], "30d"),
        (["--expires", "2001-01-01"], "is past"),
    ],
)
def test_a_wrong_limit_names_the_option_and_what_is_allowed(
    arguments: list[str], words: str
) -> None:
    stderr = _failed("create", "ci", *arguments).stderr
    assert arguments[0] in stderr and words in stderr


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 65, "key_abc", "static-1", "\x1b[31m"])
def test_names_are_fit_for_tables(name: str) -> None:
    assert "name" in _failed("create", name).stderr


def test_a_database_that_does_not_exist_is_not_made_by_looking(tmp_path: Path) -> None:
    missing = tmp_path / "typo" / "a.db"
    result = _failed("list", "--database", f"sqlite:///{missing}")
    assert "no such file" in result.stderr
    assert not missing.parent.exists()


def test_the_flag_beats_the_environment_and_the_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "oyez.toml"
    file.write_text(f'database = "sqlite:///{tmp_path}/file.db"\n')
    created("in environment")
    created("by flag", "--database", f"sqlite:///{tmp_path}/flag.db")
    monkeypatch.delenv("OYEZ_DATABASE")
    created("in file", "--config", str(file))
    assert [key["name"] for key in listed("--config", str(file))] == ["in file"]
    flagged = listed("--config", str(file), "--database", f"sqlite:///{tmp_path}/flag.db")
    assert [key["name"] for key in flagged] == ["by flag"]


def test_without_a_database_there_are_no_keys() -> None:
    assert "'off'" in _failed("create", "ci", "--database", "off").stderr


def test_no_settings_at_all_keep_keys_with_the_users_data(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OYEZ_")}
    environment |= {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    command = [sys.executable, "-m", "oyez", "keys", "create", "ci"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    file = tmp_path / "data" / "oyez" / "accounts.db"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_key_is_renamed_and_its_usage_with_it(tmp_path: Path) -> None:
    key_id = created("ci")["id"]
    database = open_database(f"sqlite:///{tmp_path}/accounts.db")
    ledger = Ledger(database)
    ledger.start()
    now = datetime.now(UTC)
    ledger.put(a_usage("s1", key_id=key_id, key_name="ci", at=now, ended_at=now, audio_s=1.0))
    assert ledger.stop(10.0) == 0
    result = run("rename", "ci", "  nightly tests ")
    assert result.exit_code == 0, result.output
    assert "ci is now nightly tests" in result.stderr and result.stdout == ""
    assert [(key["id"], key["name"]) for key in listed()] == [(key_id, "nightly tests")]
    assert usage_report(database, "key").names == {key_id: "nightly tests"}
    database.close()
    assert run("rename", "ci", "other").exit_code == 2, "no key has the old name"


def test_a_new_name_is_held_to_what_create_takes() -> None:
    created("one")
    other = created("two")["id"]
    for name in ("", "key_one", "static-1", "a\nb", "x" * 101):
        assert run("rename", "one", name).exit_code == 2
    result = run("rename", "one", "two")
    assert result.exit_code == 0
    assert f"There is another key of this name: {other}." in result.stderr
    assert run("rename", other, "two").stderr.count("another key") == 1
    run("revoke", other, "--yes")
    assert "another key" not in run("rename", "two", "two").stderr


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_key_that_could_not_be_printed_is_an_error(form: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "oyez", "keys", "create", "ci", *form]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    (key,) = listed()
    assert done.returncode == 1
    assert f"the key of {key['id']} could not be printed" in done.stderr
    assert "Traceback" not in done.stderr
