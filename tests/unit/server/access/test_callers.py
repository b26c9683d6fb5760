from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.accounts.keys import Key, KeyLimits
from oyez.server.access.callers import ANONYMOUS, Caller, Callers
from oyez.server.access.refusals import EXPIRED_KEY, INVALID_KEY, NO_KEY, REVOKED_KEY
from oyez.settings import Settings, SettingsError
from support.keys import FakeDirectory, a_key, own_key

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Known:
    """Callers, with a clock that a test turns."""

    def __init__(self, *static: str, keys: tuple[Key, ...] = ()) -> None:
        self.now = NOON
        self.directory = FakeDirectory(*keys)
        given: dict[str, Any] = {"api_key": tuple(map(own_key, static))} if static else {}
        self.callers = Callers(Settings(**given), self.directory, lambda: self.now)


def test_without_keys_every_caller_is_anonymous() -> None:
    assert Known().callers.find(None) is ANONYMOUS
    assert Known().callers.find("whatever") is ANONYMOUS


def test_static_keys_are_named_by_number_never_by_themselves() -> None:
    callers = Known("first", "second", "first").callers
    assert callers.find(own_key("second")) == Caller("static-2", "static-2")
    assert callers.find(own_key("third")) is INVALID_KEY
    assert callers.find(None) is NO_KEY


def test_only_keys_that_are_let_in_count_as_several() -> None:
    assert not Known().callers.has_several_keys
    assert not Known("one").callers.has_several_keys
    assert Known("one", "two").callers.has_several_keys
    assert Known("one", keys=(a_key("a"),)).callers.has_several_keys
    revoked = replace(a_key("b"), revoked_at=NOON)
    assert not Known(keys=(a_key("a"), revoked)).callers.has_several_keys


@given(st.text())
def test_nothing_but_a_key_is_a_key(offered: str) -> None:
    assert Known("the-key").callers.find(offered) in (INVALID_KEY, NO_KEY)


def test_a_key_of_the_database_brings_its_limits() -> None:
    callers = Known(keys=(a_key("a", sessions=2),)).callers
    caller = callers.find("a")
    assert caller == Caller("key_a", "of a", KeyLimits(sessions=2))
    assert callers.find("b") is INVALID_KEY
    assert callers.find(None) is NO_KEY, "a server whose database has keys needs one"


def test_limits_that_change_count_at_once() -> None:
    known = Known(keys=(a_key("a", sessions=2),))
    caller = known.callers.find("a")
    assert isinstance(caller, Caller)
    known.directory.set(a_key("a", sessions=3))
    assert known.callers.limits(caller).sessions == 3


def test_a_revoked_key_and_one_that_is_gone_do_not_count() -> None:
    known = Known(keys=(a_key("a"), a_key("b")))
    caller = known.callers.find("a")
    assert isinstance(caller, Caller)
    assert known.callers.check(caller) is None
    known.directory.set(replace(a_key("a"), revoked_at=NOON), a_key("b"))
    assert known.callers.find("a") is REVOKED_KEY
    assert known.callers.check(caller) is REVOKED_KEY
    known.directory.set(a_key("b"))
    assert known.callers.find("a") is INVALID_KEY
    assert known.callers.check(caller) is REVOKED_KEY


def test_a_key_expires_to_the_moment() -> None:
    known = Known(keys=(a_key("a", expires_at=NOON + timedelta(seconds=1)),))
    caller = known.callers.find("a")
    assert isinstance(caller, Caller)
    assert known.callers.check(caller) is None
    known.now += timedelta(seconds=1)
    assert known.callers.find("a") is EXPIRED_KEY
    assert known.callers.check(caller) is EXPIRED_KEY


def test_revoking_the_last_key_opens_nothing() -> None:
    known = Known(keys=(a_key("a"),))
    assert known.callers.need_keys
    known.directory.set(replace(a_key("a"), revoked_at=NOON))
    assert known.callers.need_keys
    assert known.callers.find(None) is NO_KEY
    known.directory.set()
    assert known.callers.find(None) is NO_KEY


@pytest.mark.parametrize(
    "key",
    [
        replace(a_key("a"), revoked_at=NOON),
        a_key("a", expires_at=NOON - timedelta(days=1)),
    ],
    ids=["revoked", "expired"],
)
def test_a_key_that_does_not_count_any_more_is_needed_all_the_same(key: Key) -> None:
    known = Known(keys=(key,))
    assert known.callers.find(None) is NO_KEY
    assert not known.callers.has_active


def test_a_source_of_keys_without_a_key_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("# none yet\n")
    for settings in (Settings(api_key=""), Settings(api_keys_file=tmp_path / "keys")):
        callers = Callers(settings, FakeDirectory())
        assert callers.find(None) is NO_KEY
        assert callers.find("") is NO_KEY
        assert callers.find("any") is INVALID_KEY
        assert not callers.has_active


def test_a_caller_let_in_before_the_first_key_may_stay() -> None:
    known = Known()
    assert known.callers.find(None) is ANONYMOUS
    known.directory.set(a_key("a"))
    assert known.callers.find(None) is NO_KEY
    assert known.callers.check(ANONYMOUS) is None


def of_file(file: Path) -> Callers:
    return Callers(Settings(api_keys_file=file), FakeDirectory())


def its_id(callers: Callers, word: str) -> str | None:
    found = callers.find(own_key(word))
    return found.key_id if isinstance(found, Caller) else None


def lines(*words: str) -> str:
    """The lines of a keys file."""
    return "".join(own_key(word) + "\n" for word in words)


@pytest.fixture
def keys_file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        file = tmp_path / "keys"
        file.write_text(text)
        return file

    return write


def test_a_key_that_stays_keeps_its_id_and_no_id_is_used_again(
    keys_file: Callable[[str], Path],
) -> None:
    callers = of_file(keys_file(lines("a", "b", "c")))
    keys_file(lines("c", "d", "a"))
    assert callers.reload() == "3 static"
    assert [its_id(callers, key) for key in "abcd"] == ["static-1", None, "static-3", "static-4"]
    keys_file(lines("e"))
    callers.reload()
    assert its_id(callers, "e") == "static-5"
    assert callers.check(Caller("static-1", "static-1")) is REVOKED_KEY


@pytest.mark.parametrize("broken", ["two words\n", "short\n"])
def test_a_broken_file_keeps_the_old_keys(keys_file: Callable[[str], Path], broken: str) -> None:
    callers = of_file(keys_file(lines("a-secret")))
    keys_file(broken)
    with pytest.raises(SettingsError) as found:
        callers.reload()
    assert "a-secret" not in str(found.value) and "two words" not in str(found.value)
    assert its_id(callers, "a-secret") == "static-1"
    keys_file(lines("b"))
    callers.reload()
    assert its_id(callers, "b") and not its_id(callers, "a-secret")


def test_a_file_that_is_missing_changes_nothing(keys_file: Callable[[str], Path]) -> None:
    file = keys_file(lines("a"))
    callers = of_file(file)
    file.unlink()
    with pytest.raises(SettingsError):
        callers.reload()
    assert its_id(callers, "a")


@pytest.mark.parametrize("emptied", ["", "# none\n"])
def test_an_emptied_file_revokes_its_keys(keys_file: Callable[[str], Path], emptied: str) -> None:
    callers = of_file(keys_file(lines("a")))
    caller = callers.find(own_key("a"))
    assert isinstance(caller, Caller)
    keys_file(emptied)
    callers.reload()
    assert callers.check(caller) is REVOKED_KEY
    assert callers.find(None) is NO_KEY
