"""`oyez keys`: API keys with their limits; and the database, which `oyez usage` shares."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import click
from click.shell_completion import CompletionItem

from oyez.accounts.database import OFF, Database, DatabaseError, open_database
from oyez.accounts.keys import (
    NO_LIMITS,
    Key,
    KeyLimits,
    all_keys,
    change_limits,
    create_key,
    rename_key,
    revoke_key,
)
from oyez.accounts.reports import last_use, usage_report
from oyez.cli.errors import USAGE, CommandError, confirm
from oyez.cli.setting_options import given_only, with_settings
from oyez.cli.terminal import print_table
from oyez.cli.values import (
    complete_language,
    counted,
    duration_text,
    parse_duration,
    parse_expiry,
    parse_languages,
)
from oyez.settings import Settings, SettingsError, load

MAX_NAME_CHARACTERS = 64
MAX_KEYS_NAMED = 20
"""An error names at most so many keys."""
FIELDS = {
    "sessions": "sessions",
    "sessions-per-second": "sessions_per_second",
    "audio-per-day": "audio_s_per_day",
    "language": "languages",
    "expires": "expires_at",
}
"""By option: the field of KeyLimits."""

database_options = with_settings("database")
"""`--config` and `--database`, as `oyez serve` has them; the command receives `settings`."""


@contextmanager
def accounts_database(settings: Settings, *, create: bool = False) -> Iterator[Database]:
    """Open the database of these settings, and close it.

    Raises CommandError for every DatabaseError, also of the code inside.
    """
    if settings.database == OFF:
        raise CommandError("database is 'off': no keys and no usage are kept", USAGE)
    try:
        database = open_database(settings.database, create=create)
        try:
            yield database
        finally:
            database.close()
    except DatabaseError as error:
        raise CommandError(str(error)) from None


def complete_key(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete names and ids of keys that are not revoked, if the database can be read."""
    given = {"database": ctx.params["database"]} if ctx.params.get("database") else {}
    try:
        url = load(given, ctx.params.get("config")).database
        known = [key for key in all_keys(open_database(url, create=False)) if not key.revoked_at]
    except (SettingsError, DatabaseError):
        return []
    words = [CompletionItem(key.name, help=key.id) for key in known]
    words += [CompletionItem(key.id, help=key.name) for key in known]
    return [word for word in words if word.value.startswith(incomplete)]


json_option = click.option("--json", "is_json", is_flag=True, help="For machines.")
key_argument = click.argument("wanted", metavar="ID|NAME", shell_complete=complete_key)


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with the limits of a key, each None or empty if it is not given."""
    languages = "A language that may be spoken; repeat it for more. None: all."
    expires = "30d (from now), 2027-01-31 (its beginning, UTC), or a time."
    table: dict[str, tuple[Any, str, str]] = {
        "sessions": (click.IntRange(min=1), "N", "Sessions open at once."),
        "sessions-per-second": (click.IntRange(min=1), "N", "New sessions a second."),
        "audio-per-day": (parse_duration, "TIME", "Audio a day (UTC): 7200 (seconds), 2h, 1h30m."),
        "language": (parse_languages, "CODE", languages),
        "expires": (parse_expiry, "WHEN", expires),
    }
    for name, (kind, metavar, text) in reversed(table.items()):
        shown: dict[str, Any] = {"type": kind, "metavar": metavar, "help": text}
        if name == "language":
            shown |= {"multiple": True, "shell_complete": complete_language}
        command = click.option(f"--{name}", FIELDS[name], **shown)(command)
    return command


@click.group()
def keys() -> None:
    """Create, list, limit, rename and revoke API keys.

    A running server applies a change within seconds.

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
    """Make a key and print it: it is not stored and cannot be shown again.

    The key is the only thing on standard output; the rest goes to standard error.
    """
    name = _checked_name(name)
    with accounts_database(settings, create=True) as database:
        known = all_keys(database)
        secret, key = create_key(database, name, KeyLimits(**_chosen_limits(given)))
    shown = json.dumps({"key": secret, **_json_object(key)}) if is_json else secret
    if not is_json:
        click.echo(f"Created {key.id} ({key.name}): {_limits_text(key.limits)}.", err=True)
        _warn_of_same_name(known, key, name)
        click.echo("Keep this key now, it cannot be shown again:", err=True)
    try:
        click.echo(shown)
    except BrokenPipeError:
        advice = f"oyez keys revoke {key.id}, and create another"
        message = f"the key of {key.id} could not be printed, and it is not stored: {advice}"
        raise CommandError(message) from None


@keys.command("list")
@click.option("--all", "is_all", is_flag=True, help="Revoked keys too.")
@json_option
@database_options
def list_keys(is_all: bool, is_json: bool, settings: Settings) -> None:
    """Show the keys there are, without the keys themselves."""
    with accounts_database(settings) as database:
        known = [key for key in all_keys(database) if is_all or key.revoked_at is None]
        used = last_use(database)
    if is_json:
        lines = [
            _json_object(key) | {"last_used_at": _time_text(used.get(key.id))} for key in known
        ]
        click.echo(json.dumps(lines, indent=2))
    elif known:
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

    Past sessions keep the old name; sums of usage are shown under the new one.
    """
    name = _checked_name(name)
    with accounts_database(settings) as database:
        known = all_keys(database)
        key = _resolve_key(known, wanted)
        rename_key(database, key.id, name)
    click.echo(f"Renamed {key.id}: {key.name} is now {name}.", err=True)
    _warn_of_same_name(known, key, name)


@keys.command()
@key_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_options
def revoke(wanted: str, yes: bool, settings: Settings) -> None:
    """Refuse a key from now on, and end its sessions. This cannot be undone."""
    with accounts_database(settings) as database:
        key = _resolve_key(all_keys(database), wanted)
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
    """Show the limits of a key; with options, change them. The other limits stay."""
    chosen = _chosen_limits(given)
    for option in lifted:
        if FIELDS[option] in chosen:
            message = f"--{option} sets the limit that --none {option} lifts: give one"
            raise CommandError(message, USAGE)
        chosen[FIELDS[option]] = getattr(NO_LIMITS, FIELDS[option])
    with accounts_database(settings) as database:
        key = _resolve_key(all_keys(database), wanted)
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


def _resolve_key(keys: Sequence[Key], wanted: str) -> Key:
    """Return the key with this id, or the only one of this name; of several, the only active one.

    Raises CommandError, which names the keys that exist.
    """
    named = [key for key in keys if key.name == wanted]
    unrevoked = [key for key in named if key.revoked_at is None]
    for found in ([key for key in keys if key.id == wanted], unrevoked, named):
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f"{key.id} (of {key.created_at:%Y-%m-%d})" for key in found)
            raise CommandError(f"several keys are named {wanted!r}: give the id: {ids}", USAGE)
    names = [f"{key.name} ({key.id})" for key in keys if key.revoked_at is None]
    rest = f" and {len(names) - MAX_KEYS_NAMED} more" if len(names) > MAX_KEYS_NAMED else ""
    existing = f"there are {', '.join(names[:MAX_KEYS_NAMED])}{rest}"
    if not names:
        existing = "there are none: oyez keys create NAME makes one"
    raise CommandError(f"no key has the id or name {wanted!r}; {existing}", USAGE)


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


def _warn_of_same_name(known: Sequence[Key], key: Key, name: str) -> None:
    """Print which other active keys have the name of this one: a replacement or a mistake."""
    same = [each for each in known if each.name == name and each.revoked_at is None]
    if ids := ", ".join(each.id for each in same if each.id != key.id):
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
    """Return what is known of a key; its limits have the names of the fields of KeyLimits."""
    return {
        "id": key.id,
        "name": key.name,
        "status": _status(key),
        **asdict(key.limits),
        "expires_at": _time_text(key.limits.expires_at),
        "created_at": _time_text(key.created_at),
        "revoked_at": _time_text(key.revoked_at),
    }


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
