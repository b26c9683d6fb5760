from __future__ import annotations

import re
from pathlib import Path

import pytest

from oyez.logs import TextFormatter
from oyez.server.access.access import MAX_LINES, MAX_LINES_PER_ADDRESS, RefusedKeys
from oyez.server.access.refusals import EXPIRED_KEY, INVALID_KEY, NO_KEY, REVOKED_KEY, Refusal

OPERATIONS = Path(__file__).parents[4] / "docs" / "operations.md"
GUESSER = "203.0.113.7"


class Lines:
    """What is logged, and a clock that a test turns."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", logger="oyez")
        self.now_s = 100.0
        self._caplog = caplog
        self._refused = RefusedKeys(lambda: self.now_s)

    def refuse(self, client: str, refusal: Refusal = INVALID_KEY, times: int = 1) -> None:
        for _ in range(times):
            self._refused.report(client, refusal)

    def count(self, text: str = "") -> int:
        return sum(text in line for line in self.all())

    def all(self) -> list[str]:
        return [TextFormatter().format(record) for record in self._caplog.records]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    return Lines(caplog)


def test_a_line_names_the_address_and_what_was_wrong(lines: Lines) -> None:
    for refusal in (INVALID_KEY, NO_KEY, REVOKED_KEY, EXPIRED_KEY):
        lines.refuse(GUESSER, refusal)
    endings = [line.partition(" INFO ")[2] for line in lines.all()]
    assert endings == [
        f"a caller was refused client={GUESSER} key={word}"
        for word in ("unknown", "none", "revoked", "expired")
    ]


def test_an_address_that_goes_on_is_logged_again_in_each_window_and_counted_between(
    lines: Lines,
) -> None:
    lines.refuse(GUESSER, times=100)
    assert lines.count() == MAX_LINES_PER_ADDRESS
    lines.now_s += 60.0
    lines.refuse(GUESSER, times=100)
    assert lines.count() == 2 * MAX_LINES_PER_ADDRESS
    assert lines.count("left_out=95") == 1


def test_one_address_and_one_reason_hide_no_other(lines: Lines) -> None:
    lines.refuse(GUESSER, NO_KEY, 1000)
    lines.refuse(GUESSER, INVALID_KEY)
    lines.refuse("198.51.100.1", NO_KEY)
    assert lines.count("key=unknown") == 1
    assert lines.count("client=198.51.100.1") == 1


def test_a_crowd_of_addresses_fills_neither_log_nor_memory(lines: Lines) -> None:
    for number in range(3 * MAX_LINES):
        lines.refuse(f"2001:db8::{number:x}")
    assert lines.count() == MAX_LINES
    assert len(lines._refused._lines) <= MAX_LINES
    lines.now_s += 60.0
    lines.refuse(GUESSER)
    assert lines.count(f"client={GUESSER}") == 1
    assert len(lines._refused._lines) == 1


@pytest.mark.parametrize("address", [GUESSER, "2001:db8::7"])
def test_the_filter_shown_for_fail2ban_finds_addresses_that_guess(
    lines: Lines, address: str
) -> None:
    shown = re.search(r"^failregex = (.*)$", OPERATIONS.read_text(), re.MULTILINE)
    assert shown
    matches = re.compile(shown[1].replace("<ADDR>", r"(?P<ip>[0-9a-f.:]+)")).search
    lines.refuse(address, times=10)
    lines.now_s += 60.0
    lines.refuse(address)
    found = [matches(line) for line in lines.all()]
    assert [match and match["ip"] for match in found] == [address] * (MAX_LINES_PER_ADDRESS + 1)
    lines.refuse("198.51.100.1", NO_KEY)
    assert not matches(lines.all()[-1]), "a client that is not set up yet guesses nothing"
    forged = f"INFO a caller was refused client={address} key=unknown"
    assert not matches(f'2026-11-28T12:00:00.000Z INFO other origin="{forged}"')
