"""`oyez keys` and `oyez usage` in a real terminal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from oyez.accounts.database import open_database
from oyez.accounts.keys import Key, KeyLimits, all_keys, create_key
from oyez.accounts.ledger import Ledger
from support.terminal import a_terminal
from support.usage import a_usage

SESSION = "sess_0123456789abcdefghijk"
EVERY_LIMIT = KeyLimits(2, 3, 5400, ("en", "de"), datetime(2127, 1, 31, tzinfo=UTC))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'accounts.db'}"


@pytest.fixture
def key(url: str) -> Key:
    """It has every limit, a long name, and a session with large figures."""
    database = open_database(url)
    _, made = create_key(database, "the team with a rather long name", EVERY_LIMIT)
    ledger = Ledger(database)
    ledger.start()
    now = datetime.now(UTC)
    ledger.put(
        a_usage(SESSION, key_id=made.id, key_name=made.name, began_at=now, at=now, ended_at=now,
                audio_s=1e6, speech_s=9e5, turns=12345, close_code=1008,
                close_reason="API key revoked")
    )  # fmt: skip
    ledger.stop(10)
    database.close()
    return made


@pytest.mark.parametrize("columns", [80, 60])
def test_tables_fit_and_break_no_id(url: str, key: Key, columns: int) -> None:
    for arguments, whole in (
        (["keys", "list"], key.id),
        (["usage"], "277:46:40"),
        (["usage", "--by", "session"], SESSION),
    ):
        with a_terminal(*arguments, columns=columns, variables={"OYEZ_DATABASE": url}) as terminal:
            assert terminal.end() == 0
            assert whole in terminal.text
            assert max(map(len, terminal.lines)) <= columns
    assert "1008" in terminal.text


@pytest.mark.parametrize(("answer", "revoked"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_revoking_waits_for_a_yes(url: str, key: Key, answer: str, revoked: bool) -> None:
    with a_terminal("keys", "revoke", key.id, variables={"OYEZ_DATABASE": url}) as terminal:
        terminal.until("for good? [y/N]")
        terminal.process.send(answer)
        assert (terminal.end() == 0) == revoked
    database = open_database(url)
    assert (all_keys(database)[0].revoked_at is not None) == revoked
    database.close()
