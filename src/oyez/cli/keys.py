"""`oyez keys`: API keys with their limits."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from oyez.cli.accounts import accounts_database, complete_key, database_options, resolve_key
from oyez.cli.errors import USAGE, CommandError, confirm
from oyez.cli.setting_options import given_only
from oyez.cli.values import Duration, Expiry, Languages, counted, duration_text

if TYPE_CHECKING:
    from oyez.accounts.keys import Key, KeyLimits
    from oyez.settings import Settings

MAX_NAME_CHARACTERS = 64
FIELDS = {
    "sessions": "sessions",
    "sessions-per-second": "sessions_per_second",
    "audio-per-day": "audio_s_per_day",
    "language": "languages",
    "expires": "expires_at",
}
"""By option: the field of KeyLimits."""

json_option = click.option("--json", "is_json", is_flag=True, help="For machines.")
key_argument = click.argument("wanted", metavar="ID|NAME", shell_complete=complete_key)


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with the limits of a key, each None or empty if it is not given."""
    count = click.IntRange(min=1)
    options = (
        click.option("--sessions", type=count, metavar="N", help="Sessions open at once."),
        click.option(
            "--sessions-per-second", type=count, metavar="N", help="New sessions a second."
        ),
        click.option(
            "--audio-per-day",
            "audio_s_per_day",
            type=Duration(),
            metavar="TIME",
            help="Audio a day (UTC): 7200 (seconds), 2h, 1h30m.",
        ),
        click.option(
            "--language",
            "languages",
            type=Languages(),
            multiple=True,
            metavar="CODE",
            help="A language that may be spoken; repeat it for more. None: all.",
        ),
        click.option(
            "--expires",
            "expires_at",
            type=Expiry(),
            metavar="WHEN",
            help="30d (from now), 2027-01-31 (its beginning, UTC), or a time.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group()
def keys() -> None:
    """Create, list, limit, rename and revoke API keys.

    A running server knows of a change within seconds.

    \b
    Examples:
      oyez keys create mobile-app
      oyez keys create ci --sessions 2 --audio-per-day 2h --expires 30d
      KEY=$(oyez keys create ci)
      oyez keys limits ci --sessions 4 --none expires
      oyez keys rename ci nightly-tests
      oyez keys revoke ci
    """


@keys.command()
@click.argument("name")
@limit_options
@json_option
@database_options
def create(name: str, is_json: bool, settings: Settings, **given: Any) -> None:
    """Make a key and print it: it is kept nowhere and cannot be shown again.

    The key is the only thing on standard output; the rest goes to standard error.
    """
    from oyez.accounts.keys import KeyLimits, all_keys, create_key

    name = _checked_name(name)
    with accounts_database(settings, create=True) as database:
        same = _active(all_keys(database), name)
        secret, key = create_key(database, name, KeyLimits(**_chosen_limits(given)))
    if is_json:
        _print_key(json.dumps({"key": secret, **_json_object(key)}), key)
        return
    click.echo(f"Created {key.id} ({key.name}): {_limits_text(key.limits)}.", err=True)
    _warn_of_same_name(same)
    click.echo("Keep this key now, it cannot be shown again:", err=True)
    _print_key(secret, key)


@keys.command("list")
@click.option("--all", "is_all", is_flag=True, help="Revoked keys too.")
@json_option
@database_options
def list_keys(is_all: bool, is_json: bool, settings: Settings) -> None:
    """Show the keys there are, without the keys themselves."""
    from oyez.accounts.keys import all_keys
    from oyez.accounts.reports import last_use

    with accounts_database(settings) as database:
        known = [key for key in all_keys(database) if is_all or key.revoked_at is None]
        used = last_use(database)
    if is_json:
        lines = [
            _json_object(key) | {"last_used_at": _time_text(used.get(key.id))} for key in known
        ]
        click.echo(json.dumps(lines, indent=2))
    elif known:
        from oyez.cli.terminal import print_table

        rows = []
        for key in known:
            last_used = f"{used[key.id]:%Y-%m-%d}" if used.get(key.id) else "never"
            rows.append([key.id, key.name, _status(key), last_used, _limits_text(key.limits)])
        titles = ["ID", "NAME", "STATUS", "LAST USED", "LIMITS"]
        print_table(titles, rows, unbroken=["ID", "STATUS", "LAST USED"])
    else:
        click.echo("No keys. oyez keys create NAME makes one.", err=True)


@keys.command()
@key_argument
@click.argument("name", metavar="NEW")
@database_options
def rename(wanted: str, name: str, settings: Settings) -> None:
    """Give a key another name. The key itself, its id and its usage stay.

    Sessions that were keep the name they had; sums of usage are shown under the new one.
    """
    from oyez.accounts.keys import all_keys, rename_key

    name = _checked_name(name)
    with accounts_database(settings) as database:
        known = all_keys(database)
        key = resolve_key(known, wanted)
        rename_key(database, key.id, name)
    click.echo(f"Renamed {key.id}: {key.name} is now {name}.", err=True)
    _warn_of_same_name([each for each in _active(known, name) if each.id != key.id])


@keys.command()
@key_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_options
def revoke(wanted: str, yes: bool, settings: Settings) -> None:
    """Never let this key in again, and end its sessions. This cannot be undone."""
    from oyez.accounts.keys import all_keys, revoke_key

    with accounts_database(settings) as database:
        key = resolve_key(all_keys(database), wanted)
        if key.revoked_at is not None:
            click.echo(f"{key.id} ({key.name}) was revoked on {key.revoked_at:%Y-%m-%d}.", err=True)
            return
        confirm(f"Revoke {key.id} ({key.name}) for good?", is_confirmed=yes)
        revoke_key(database, key.id)
    click.echo(f"Revoked {key.id} ({key.name}). Its sessions end within seconds.", err=True)


@keys.command()
@key_argument
@limit_options
@click.option(
    "--none",
    "lifted",
    multiple=True,
    type=click.Choice(list(FIELDS)),
    metavar="LIMIT",
    help=f"Lift this limit: {', '.join(FIELDS)}. Repeat it for more.",
)
@json_option
@database_options
def limits(
    wanted: str, lifted: tuple[str, ...], is_json: bool, settings: Settings, **given: Any
) -> None:
    """Show what a key may do; with options, change it. The other limits stay."""
    from oyez.accounts.keys import NO_LIMITS, all_keys, change_limits
    from oyez.accounts.reports import usage_report

    chosen = _chosen_limits(given)
    for option in lifted:
        if FIELDS[option] in chosen:
            message = f"--{option} sets the limit that --none {option} lifts: give one"
            raise CommandError(message, USAGE)
        chosen[FIELDS[option]] = getattr(NO_LIMITS, FIELDS[option])
    with accounts_database(settings) as database:
        key = resolve_key(all_keys(database), wanted)
        if chosen:
            key = replace(key, limits=replace(key.limits, **chosen))
            change_limits(database, key.id, key.limits)
        today = datetime.now(UTC).date()
        used = usage_report(database, "key", since=today, until=today, key_id=key.id).total
    if is_json:
        click.echo(json.dumps(_json_object(key) | {"audio_today_s": used.audio_ms / 1000}))
    else:
        click.echo(f"{key.id} ({key.name}, {_status(key)}): {_limits_text(key.limits)}.")
        click.echo(f"Audio used today (UTC): {duration_text(used.audio_ms / 1000)}.")


def _chosen_limits(given: dict[str, Any]) -> dict[str, Any]:
    chosen = given_only(given)
    if "languages" in chosen:
        codes = [code for group in chosen["languages"] for code in group]
        chosen["languages"] = tuple(dict.fromkeys(codes))
    return chosen


def _checked_name(name: str) -> str:
    name = name.strip()
    if not (name.isprintable() and 1 <= len(name) <= MAX_NAME_CHARACTERS):
        message = f"a name has 1 to {MAX_NAME_CHARACTERS} printable characters"
        raise CommandError(message, USAGE)
    if name.startswith(("key_", "static-")):
        message = "a name that begins with key_ or static- would look like an id"
        raise CommandError(message, USAGE)
    return name


def _print_key(shown: str, key: Key) -> None:
    """Print a new key. A reader that has left is an error here: the key is not stored anywhere."""
    try:
        click.echo(shown)
    except BrokenPipeError:
        advice = f"oyez keys revoke {key.id}, and create another"
        message = f"nobody read the key of {key.id}, and it is kept nowhere: {advice}"
        raise CommandError(message) from None


def _active(known: list[Key], name: str) -> list[Key]:
    """Return the keys of this name that are not revoked."""
    return [key for key in known if key.name == name and key.revoked_at is None]


def _warn_of_same_name(same: list[Key]) -> None:
    """Say that two keys have one name, which may be a replacement or a mistake."""
    if same:
        ids = ", ".join(each.id for each in same)
        click.echo(f"There is another key of this name: {ids}.", err=True)


def _limits_text(limits: KeyLimits) -> str:
    parts = [
        limits.sessions and f"{counted(limits.sessions, 'session')} at once",
        limits.sessions_per_second
        and f"{counted(limits.sessions_per_second, 'new session')} a second",
        limits.audio_s_per_day and f"{duration_text(limits.audio_s_per_day)} of audio a day",
        limits.languages and f"only {' '.join(limits.languages)}",
        limits.expires_at and f"expires {limits.expires_at:%Y-%m-%d %H:%M} UTC",
    ]
    return ", ".join(part for part in parts if part) or "no limits of its own"


def _status(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.is_expired(datetime.now(UTC)) else "active"


def _json_object(key: Key) -> dict[str, Any]:
    limits = key.limits
    return {
        "id": key.id,
        "name": key.name,
        "status": _status(key),
        "sessions": limits.sessions,
        "sessions_per_second": limits.sessions_per_second,
        "audio_s_per_day": limits.audio_s_per_day,
        "languages": list(limits.languages),
        "expires_at": _time_text(limits.expires_at),
        "created_at": _time_text(key.created_at),
        "revoked_at": _time_text(key.revoked_at),
    }


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
