"""`oyez usage`: what keys have used, as sums or session by session, and `oyez usage prune`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import click
from click.core import ParameterSource

from oyez.accounts import reports
from oyez.accounts.database import Database
from oyez.accounts.keys import all_keys
from oyez.accounts.reports import Report, SessionLine, Sums
from oyez.cli.errors import USAGE, CommandError, confirm
from oyez.cli.keys import accounts_database, complete_key, database_options
from oyez.cli.terminal import print_table
from oyez.cli.values import clock, counted, parse_day, spreadsheet_cells
from oyez.settings import Settings

DEFAULT_DAYS = 30
SUMS = ("sessions", "audio_s", "speech_s", "turns", "finals", "failed", "errors")
LANGUAGE_SUMS = ("turns", "speech_s")
MAX_SESSIONS_SHOWN = 200
SESSIONS_HEADER = ("BEGAN (UTC)", "SESSION", "KEY", "AUDIO", "CLOSED")


@click.group(invoke_without_command=True)
@click.option(
    "--since",
    type=parse_day,
    metavar="DAY",
    help="First day: 7d (the last 7), 2026-11-01, 2026-11. [default: 30d]",
)
@click.option(
    "--until",
    type=lambda text: parse_day(text, is_last=True),
    metavar="DAY",
    help="Last day. [default: today]",
)
@click.option(
    "--by",
    type=click.Choice(["key", "day", "language", "endpoint", "session"]),
    default="key",
    show_default=True,
    help="What a line is.",
)
@click.option(
    "--key", "wanted", metavar="ID|NAME", shell_complete=complete_key, help="Of this key only."
)
@click.option("--csv", "form", flag_value="csv", help="For spreadsheets.")
@click.option("--json", "form", flag_value="json", help="For machines.")
@database_options
def usage(
    since: date | None,
    until: date | None,
    by: Any,
    wanted: str | None,
    form: str | None,
    settings: Settings,
) -> None:
    """Show what was used: audio, speech, turns, and their cost where there is a price.

    Days are those of UTC. A session that goes on over midnight is in both days, and counts as a
    session on the first; --by session shows it whole. A turn is counted in its language when it
    is final. Cost is the audio at the price that was in force when the session began.

    \b
    Examples:
      oyez usage
      oyez usage --since 2026-11 --until 2026-11 --csv > november.csv
      oyez usage --since 7d --by day --key mobile-app
      oyez usage --since today --by session
      oyez usage prune --before 365d
    """
    if _has_subcommand():
        return
    until = until or datetime.now(UTC).date()
    since = since or until - timedelta(days=DEFAULT_DAYS - 1)
    if since > until:
        raise CommandError(f"--since {since} is after --until {until}", USAGE)
    with accounts_database(settings) as database:
        key_id = _key_id(database, wanted) if wanted else None
        if by == "session":
            sessions = reports.session_report(database, since=since, until=until, key_id=key_id)
            _print_sessions(sessions, form)
        else:
            report = reports.usage_report(database, by, since=since, until=until, key_id=key_id)
            _print_report(report, by, since, until, form)


@usage.command()
@click.option(
    "--before",
    type=parse_day,
    required=True,
    metavar="DAY",
    help="First day that stays: 90d (of the last 90), 2026-11-01, 2026-11.",
)
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
    with accounts_database(settings) as database:
        today = datetime.now(UTC).date()
        if before > today:
            raise CommandError(
                f"--before {before} is to come: today's usage counts against the keys' audio a "
                f"day; the latest is --before {today}",
                USAGE,
            )
        if began_at := reports.first_open(database, before):
            raise CommandError(
                f"a session that began on {began_at:%Y-%m-%d} is still open: the latest is "
                f"--before {began_at:%Y-%m-%d} (what a server that crashed left open is closed at "
                "the next start)",
                USAGE,
            )
        old = reports.old_usage(database, before)
        last = before - timedelta(days=1)
        if not old.sessions:
            click.echo(f"There are no sessions until {last}.", err=True)
            return
        cost = "".join(f", {each:,.4f} {name}" for name, each in sorted(old.cost.items()))
        audio, speech = _time_text(old.audio_ms), _time_text(old.speech_ms)
        words = f"{counted(old.sessions, 'session')}, {audio} of audio, {speech} of speech{cost}"
        click.echo(f"Until {last} (UTC): {words}.", err=True)
        confirm("Delete them for good?", is_confirmed=yes)
        click.echo(f"Deleted {counted(reports.prune(database, before), 'session')}.", err=True)


def _has_subcommand() -> bool:
    """Return whether this is `oyez usage prune`, which has options of its own."""
    ctx = click.get_current_context()
    name = ctx.invoked_subcommand
    for param in ctx.command.params if name else ():
        if param.name and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
            raise CommandError(f"{param.opts[0]} before {name} has no effect: put it behind", USAGE)
    return name is not None


def _key_id(database: Database, wanted: str) -> str:
    """Return the id of a key of the database or of one that was used, also of a revoked one.

    Raises CommandError, which names the keys that exist.
    """
    names = reports.used_keys(database) | {key.id: key.name for key in all_keys(database)}
    if wanted in names:
        return wanted
    ids = [key_id for key_id, name in names.items() if name == wanted]
    if len(ids) == 1:
        return ids[0]
    if ids:
        message = f"several keys are named {wanted!r}: give the id: {', '.join(ids)}"
        raise CommandError(message, USAGE)
    known = ", ".join(f"{name} ({key_id})" for key_id, name in names.items()) or "none"
    raise CommandError(f"no key has the id or name {wanted!r}; there are: {known}", USAGE)


def _print_report(report: Report, by: str, since: date, until: date, form: str | None) -> None:
    """Print sums of usage. form: csv, json, or None for a table."""
    names = LANGUAGE_SUMS if by == "language" else SUMS
    currencies = sorted(report.total.cost)

    def labels(label: str) -> dict[str, str | None]:
        if by == "key":
            return {"key_id": label or None, "key_name": report.names.get(label)}
        return {by: label}

    def costs(sums: Sums, how: str) -> list[str]:
        return [format(sums.cost.get(name, Decimal()), how) for name in currencies]

    def as_json(sums: Sums) -> dict[str, Any]:
        cost = {"cost": {name: f"{amount:f}" for name, amount in sums.cost.items()}}
        return _figures(sums, names) | ({} if by == "language" else cost)

    def cells(sums: Sums) -> list[str]:
        figures = _figures(sums, shown).items()
        texts = [
            clock(round(value), hours=True) if name.endswith("_s") else f"{value:,}"
            for name, value in figures
        ]
        return texts + costs(sums, ",.4f")

    if form == "json":
        lines = [labels(label) | as_json(sums) for label, sums in report.lines.items()]
        period = {"since": f"{since}", "until": f"{until}", "by": by}
        _print_json(period | {"usage": lines, "total": as_json(report.total)})
    elif form == "csv":
        header = [*labels(""), *names, *(f"cost_{name}" for name in currencies)]
        rows = (
            [*labels(label).values(), *_figures(sums, names).values(), *costs(sums, "f")]
            for label, sums in report.lines.items()
        )
        _print_csv(header, rows)
    elif not report.lines:
        click.echo(f"Nothing was used from {since} to {until}.", err=True)
    else:
        click.echo(f"Usage from {since} to {until} (UTC)", err=True)
        shown = [name for name in names if name != "finals"]  # turns without those that failed
        titles = [name.removesuffix("_s").upper() for name in shown] + currencies
        table = [[_label_text(report, label), *cells(sums)] for label, sums in report.lines.items()]
        total = ["total", *cells(report.total)]
        print_table([by.upper(), *titles], table, numbers=len(titles), footer=total)


def _label_text(report: Report, label: str) -> str:
    """Return the name of a key, with its id if several keys have this name; or another label."""
    name = report.names.get(label, label)
    if list(report.names.values()).count(name) > 1:
        return f"{name}\n{label}"
    return name or "(no key)"


def _print_sessions(sessions: Sequence[SessionLine], form: str | None) -> None:
    """Print sessions. form: csv, json, or None for a table, which has only the newest ones."""
    if form == "json":
        _print_json([_session_values(each) for each in sessions])
    elif form == "csv":
        header = (name.replace("_ms", "_s") for name in SessionLine.__dataclass_fields__)
        _print_csv(header, (_session_values(each).values() for each in sessions))
    elif not sessions:
        click.echo("There were no sessions.", err=True)
    else:
        rows = [_session_cells(each) for each in sessions[-MAX_SESSIONS_SHOWN:]]
        print_table(SESSIONS_HEADER, rows, unbroken=SESSIONS_HEADER[:2])
        if len(sessions) > MAX_SESSIONS_SHOWN:
            shown = f"The last {MAX_SESSIONS_SHOWN} of {len(sessions):,} sessions"
            click.echo(f"{shown}; --csv and --json have all.", err=True)


def _session_values(session: SessionLine) -> dict[str, Any]:
    """Return the fields with durations in seconds, times in UTC, and exact costs."""
    shown: dict[str, Any] = {}
    for name, value in asdict(session).items():
        if name.endswith("_ms"):
            name, value = name.removesuffix("_ms") + "_s", _seconds(value)
        elif isinstance(value, datetime):
            value = f"{value:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        elif isinstance(value, Decimal):
            value = f"{value:f}"
        shown[name] = value
    return shown


def _session_cells(session: SessionLine) -> list[str]:
    how = (session.close_code, session.close_reason)
    closed = " ".join(str(part) for part in how if part) if session.ended_at else "open"
    began, audio = f"{session.began_at:%m-%d %H:%M:%S}", _time_text(session.audio_ms)
    return [began, session.id, session.key_name or "", audio, closed]


def _figures(sums: Sums, names: Iterable[str]) -> dict[str, Any]:
    """Return these sums; the times, whose names end in `_s`, as exact seconds."""
    return {
        name: _seconds(getattr(sums, f"{name[:-2]}_ms"))
        if name.endswith("_s")
        else getattr(sums, name)
        for name in names
    }


def _seconds(milliseconds: int) -> Decimal:
    return Decimal(milliseconds) / 1000


def _time_text(milliseconds: int) -> str:
    return clock(round(_seconds(milliseconds)), hours=True)


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2, default=float))


def _print_csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(header)
    out.writerows(map(spreadsheet_cells, rows))
