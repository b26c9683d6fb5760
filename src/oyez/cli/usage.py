"""`oyez usage`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from oyez.cli.accounts import complete_key, database_options, opened
from oyez.cli.exits import USAGE, Fault
from oyez.cli.quantities import Day, clock
from oyez.cli.table import print_table, spreadsheet_cells
from oyez.cli.usage_prune import prune

if TYPE_CHECKING:
    from oyez.accounts.database import Database
    from oyez.accounts.reports import Report, Sums
    from oyez.settings import Settings

DEFAULT_DAYS = 30
MS = Decimal(1000)
OF_A_LANGUAGE = ("turns", "speech_s")
ANYONE = "(no key)"


@click.group(invoke_without_command=True)
@click.option("--since", type=Day(), metavar="DAY",
              help="First day: 7d (the last 7), 2026-11-01, 2026-11. [default: 30d]")  # fmt: skip
@click.option("--until", type=Day(is_last=True), metavar="DAY", help="Last day. [default: today]")
@click.option("--by", type=click.Choice(["key", "day", "language", "endpoint", "session"]),
              default="key", show_default=True, help="What a line is.")  # fmt: skip
@click.option("--key", "wanted", metavar="ID|NAME", shell_complete=complete_key,
              help="Of this key only.")  # fmt: skip
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
    if _is_for_another_command():
        return
    from oyez.accounts.reports import session_report, usage_report
    from oyez.cli.usage_sessions import print_sessions

    until = until or datetime.now(UTC).date()
    since = since or until - timedelta(days=DEFAULT_DAYS - 1)
    if since > until:
        raise Fault(f"--since {since} is after --until {until}", USAGE)
    with opened(settings) as found:
        key_id = _key_id(found, wanted) if wanted else None
        if by == "session":
            print_sessions(session_report(found, since=since, until=until, key_id=key_id), form)
            return
        report = usage_report(found, by, since=since, until=until, key_id=key_id)
    if form == "json":
        _print_json(report, by, since, until)
    elif form == "csv":
        _print_csv(report, by)
    elif report.lines:
        _print_table(report, by, f"{since} to {until} (UTC)")
    else:
        click.echo(f"Nothing was used from {since} to {until}.", err=True)


usage.add_command(prune)


def _is_for_another_command() -> bool:
    """`oyez usage prune`, which has options of its own."""
    ctx = click.get_current_context()
    if ctx.invoked_subcommand is None:
        return False
    for param in ctx.command.params:
        if param.name and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
            name = ctx.invoked_subcommand
            raise Fault(f"{param.opts[0]} before {name} has no effect: put it behind", USAGE)
    return True


def _key_id(database: Database, wanted: str) -> str:
    """The id of a key of the database or of one that was used, revoked ones too.

    Raises Fault naming those there are.
    """
    from oyez.accounts.keys import all_keys
    from oyez.accounts.reports import used_keys

    names = used_keys(database) | {key.id: key.name for key in all_keys(database)}
    if wanted in names:
        return wanted
    ids = [key_id for key_id, name in names.items() if name == wanted]
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise Fault(f"several keys are named {wanted!r}: give the id: {', '.join(ids)}", USAGE)
    known = ", ".join(f"{name} ({key_id})" for key_id, name in names.items()) or "none"
    raise Fault(f"no key has the id or name {wanted!r}; there are: {known}", USAGE)


def _fields(by: str) -> Sequence[str]:
    if by == "language":
        return OF_A_LANGUAGE
    return ("sessions", "audio_s", "speech_s", "turns", "finals", "failed", "errors")


def _values(sums: Sums, by: str) -> dict[str, Any]:
    """Figures with their decimal seconds."""
    return {
        name: _seconds(sums, name) if name.endswith("_s") else getattr(sums, name)
        for name in _fields(by)
    }


def _seconds(sums: Sums, name: str) -> Decimal:
    milliseconds: int = getattr(sums, name.removesuffix("_s") + "_ms")
    return milliseconds / MS


def _labels(report: Report, by: str, label: str) -> dict[str, str | None]:
    if by == "key":
        return {"key_id": label or None, "key_name": report.names.get(label)}
    return {by: label}


def _print_json(report: Report, by: str, since: date, until: date) -> None:
    def line(sums: Sums) -> dict[str, Any]:
        values = {
            name: float(value) if isinstance(value, Decimal) else value
            for name, value in _values(sums, by).items()
        }
        if by == "language":
            return values
        return values | {"cost": {name: f"{amount:f}" for name, amount in sums.cost.items()}}

    lines = [_labels(report, by, label) | line(sums) for label, sums in report.lines.items()]
    whole = {"since": f"{since}", "until": f"{until}", "by": by, "usage": lines}
    click.echo(json.dumps(whole | {"total": line(report.total)}, indent=2))


def _print_csv(report: Report, by: str) -> None:
    currencies = sorted(report.total.cost)
    labels = ("key_id", "key_name") if by == "key" else (by,)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow([*labels, *_fields(by), *(f"cost_{name}" for name in currencies)])
    for label, sums in report.lines.items():
        cost = [f"{sums.cost.get(name, Decimal()):f}" for name in currencies]
        labelled = spreadsheet_cells(_labels(report, by, label).values())
        out.writerow([*labelled, *_values(sums, by).values(), *cost])


def _print_table(report: Report, by: str, period: str) -> None:
    currencies = sorted(report.total.cost)
    names = [name for name in _fields(by) if name != "finals"]  # turns without those that failed

    def cells(sums: Sums) -> list[str]:
        values = _values(sums, by)
        figures = [
            clock(values[name]) if name.endswith("_s") else f"{values[name]:,}" for name in names
        ]
        return figures + [f"{sums.cost.get(name, Decimal()):,.4f}" for name in currencies]

    titles = [name.removesuffix("_s").upper() for name in names] + currencies
    rows = [[_shown(report, label), *cells(sums)] for label, sums in report.lines.items()]
    total = ["total", *cells(report.total)]
    click.echo(f"Usage from {period}", err=True)
    print_table([by.upper(), *titles], rows, numbers=len(titles), footer=total)


def _shown(report: Report, label: str) -> str:
    name = report.names.get(label, label)
    if list(report.names.values()).count(name) > 1:
        return f"{name}\n{label}"
    return name or ANYONE
