"""Sessions one by one, as `oyez usage --by session` prints them."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from oyez.cli.quantities import clock
from oyez.cli.table import print_table, spreadsheet_cells

if TYPE_CHECKING:
    from oyez.accounts.reports import SessionLine

MOST_SHOWN = 200
HEADER = ["BEGAN (UTC)", "SESSION", "KEY", "AUDIO", "CLOSED"]


def print_sessions(sessions: Sequence[SessionLine], form: str | None) -> None:
    """form: csv, json, or None for a table, which shows the newest only."""
    if form == "json":
        click.echo(json.dumps([_fields(each) for each in sessions], indent=2, default=float))
    elif form == "csv":
        _print_csv(sessions)
    elif not sessions:
        click.echo("There were no sessions.", err=True)
    else:
        rows = [_cells(each) for each in sessions[-MOST_SHOWN:]]
        print_table(HEADER, rows, unbroken=["BEGAN (UTC)", "SESSION"])
        if len(sessions) > MOST_SHOWN:
            shown = f"The last {MOST_SHOWN} of {len(sessions):,} sessions"
            click.echo(f"{shown}; --csv and --json have all.", err=True)


def _print_csv(sessions: Sequence[SessionLine]) -> None:
    from oyez.accounts.reports import SessionLine

    names = [field.name.replace("_ms", "_s") for field in fields(SessionLine)]
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(names)
    out.writerows(spreadsheet_cells(_fields(each).values()) for each in sessions)


def _fields(session: SessionLine) -> dict[str, Any]:
    """Durations in seconds, times in UTC, cost written out."""
    shown: dict[str, Any] = {}
    for name, value in asdict(session).items():
        if name.endswith("_ms"):
            shown[name.removesuffix("_ms") + "_s"] = Decimal(value) / 1000
        elif isinstance(value, datetime):
            shown[name] = f"{value:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
        elif isinstance(value, Decimal):
            shown[name] = f"{value:f}"
        else:
            shown[name] = value
    return shown


def _cells(session: SessionLine) -> list[str]:
    return [
        f"{session.began_at:%m-%d %H:%M:%S}",
        session.id,
        session.key_name or "",
        clock(Decimal(session.audio_ms) / 1000),
        _closed(session),
    ]


def _closed(session: SessionLine) -> str:
    if session.ended_at is None:
        return "open"
    return " ".join(str(part) for part in (session.close_code, session.close_reason) if part)
