"""`oyez usage prune`."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import click

from oyez.cli.accounts import database_options, opened
from oyez.cli.exits import USAGE, Fault
from oyez.cli.quantities import Day, clock

if TYPE_CHECKING:
    from oyez.accounts.database import Database
    from oyez.accounts.reports import Sums
    from oyez.settings import Settings


@click.command()
@click.option("--before", type=Day(), required=True, metavar="DAY",
              help="First day that stays: 90d (of the last 90), 2026-11-01, 2026-11.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_options
def prune(before: date, yes: bool, settings: Settings) -> None:
    """Delete sessions that ended before a day (UTC), and with them their sums.

    A session that went on into that day stays whole. Nothing of today goes, so what keys have used
    of their audio a day stays as it is. This cannot be undone.

    \b
    Examples:
      oyez usage --since 2020-01 --until 2025-12 --by session --csv > old.csv
      oyez usage prune --before 365d
    """
    from oyez.accounts.reports import old_usage
    from oyez.accounts.reports import prune as delete

    with opened(settings) as found:
        _check(found, before)
        old = old_usage(found, before)
        last = before - timedelta(days=1)
        if not old.sessions:
            click.echo(f"There are no sessions until {last}.", err=True)
            return
        click.echo(f"Until {last} (UTC): {_in_words(old)}.", err=True)
        if not yes:
            if not sys.stdin.isatty():
                raise Fault("nobody is here to confirm: add --yes", USAGE)
            click.confirm("Delete them for good?", abort=True, err=True)
        click.echo(f"Deleted {_sessions(delete(found, before))}.", err=True)


def _check(database: Database, before: date) -> None:
    from oyez.accounts.reports import first_open

    today = datetime.now(UTC).date()
    if before > today:
        raise Fault(
            f"--before {before} is to come: today's usage counts against the keys' audio a day; "
            f"the latest is --before {today}",
            USAGE,
        )
    if began_at := first_open(database, before):
        raise Fault(
            f"a session that began on {began_at:%Y-%m-%d} is still open: the latest is --before "
            f"{began_at:%Y-%m-%d} (what a server that crashed left open is closed at the next "
            "start)",
            USAGE,
        )


def _in_words(old: Sums) -> str:
    audio, speech = (clock(Decimal(ms) / 1000) for ms in (old.audio_ms, old.speech_ms))
    cost = "".join(f", {amount:,.4f} {currency}" for currency, amount in sorted(old.cost.items()))
    return f"{_sessions(old.sessions)}, {audio} of audio, {speech} of speech{cost}"


def _sessions(count: int) -> str:
    return f"{count:,} session{'s' * (count != 1)}"
