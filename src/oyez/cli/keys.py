"""`oyez keys`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from oyez.cli.accounts import complete_key, database_options, meant_key, opened
from oyez.cli.exits import USAGE, Fault
from oyez.cli.quantities import Duration, Expiry, shown_duration
from oyez.cli.terminal import counted

if TYPE_CHECKING:
    from oyez.accounts.keys import Key, KeyLimits
    from oyez.settings import Settings

MAX_NAME = 64
FIELDS = {
    "sessions": "sessions",
    "sessions-per-second": "sessions_per_second",
    "audio-per-day": "audio_s_per_day",
    "language": "languages",
    "expires": "expires_at",
}
"""Option to field of KeyLimits."""

as_json = click.option("--json", "is_json", is_flag=True, help="For machines.")


class Language(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """A language code that is understood; commas may stand between several."""

    name = "code"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        from oyez.engines.base import LANGUAGES

        codes = tuple(code for code in value.lower().replace(" ", "").split(",") if code)
        for code in codes or (value,):
            if code not in LANGUAGES:
                self.fail(f"{code!r} is none of {', '.join(LANGUAGES)}", param)
        return codes


def limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """The limits of a key, each None or empty when not given."""
    options = (
        click.option("--sessions", type=click.IntRange(min=1), metavar="N",
                     help="Sessions open at once."),
        click.option("--sessions-per-second", type=click.IntRange(min=1), metavar="N",
                     help="New sessions a second."),
        click.option("--audio-per-day", "audio_s_per_day", type=Duration(), metavar="TIME",
                     help="Audio a day (UTC): 7200 (seconds), 2h, 1h30m."),
        click.option("--language", "languages", type=Language(), multiple=True, metavar="CODE",
                     help="A language that may be spoken; repeat it for more. None: all."),
        click.option("--expires", "expires_at", type=Expiry(), metavar="WHEN",
                     help="30d (from now), 2027-01-31 (its beginning, UTC), or a time."),
    )  # fmt: skip
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
@as_json
@database_options
def create(name: str, is_json: bool, settings: Settings, **given: Any) -> None:
    """Make a key and print it: it is kept nowhere and cannot be shown again.

    The key is the only thing on standard output; the rest goes to standard error.
    """
    from oyez.accounts.keys import KeyLimits, all_keys, create_key

    name = _name(name)
    with opened(settings, create=True) as found:
        same = _active(all_keys(found), name)
        secret, key = create_key(found, name, replace(KeyLimits(), **_chosen(given)))
    if is_json:
        _hand_over(json.dumps({"key": secret, **_as_json(key)}), key)
        return
    click.echo(f"Created {key.id} ({key.name}): {_in_words(key.limits)}.", err=True)
    _tell_others(same)
    click.echo("Keep this key now, it cannot be shown again:", err=True)
    _hand_over(secret, key)


@keys.command("list")
@click.option("--all", "is_all", is_flag=True, help="Revoked keys too.")
@as_json
@database_options
def list_keys(is_all: bool, is_json: bool, settings: Settings) -> None:
    """Show the keys there are, without the keys themselves."""
    from oyez.accounts.keys import all_keys
    from oyez.accounts.reports import last_use

    with opened(settings) as found:
        known = [key for key in all_keys(found) if is_all or key.revoked_at is None]
        used = last_use(found)
    if is_json:
        lines = [_as_json(key) | {"last_used_at": _moment(used.get(key.id))} for key in known]
        click.echo(json.dumps(lines, indent=2))
    elif known:
        _print_table(known, used)
    else:
        click.echo("No keys. oyez keys create NAME makes one.", err=True)


@keys.command()
@click.argument("wanted", metavar="ID|NAME", shell_complete=complete_key)
@click.argument("name", metavar="NEW")
@database_options
def rename(wanted: str, name: str, settings: Settings) -> None:
    """Give a key another name. The key itself, its id and its usage stay.

    Sessions that were keep the name they had; sums of usage are shown under the new one.
    """
    from oyez.accounts.keys import all_keys, rename_key

    name = _name(name)
    with opened(settings) as found:
        known = all_keys(found)
        key = meant_key(known, wanted)
        rename_key(found, key.id, name)
    click.echo(f"Renamed {key.id}: {key.name} is now {name}.", err=True)
    _tell_others([each for each in _active(known, name) if each.id != key.id])


@keys.command()
@click.argument("wanted", metavar="ID|NAME", shell_complete=complete_key)
@click.option("--yes", is_flag=True, help="Do not ask.")
@database_options
def revoke(wanted: str, yes: bool, settings: Settings) -> None:
    """Never let this key in again, and end its sessions. This cannot be undone."""
    from oyez.accounts.keys import all_keys, revoke_key

    with opened(settings) as found:
        key = meant_key(all_keys(found), wanted)
        if key.revoked_at is not None:
            click.echo(f"{key.id} ({key.name}) was revoked on {key.revoked_at:%Y-%m-%d}.", err=True)
            return
        if not yes:
            if not sys.stdin.isatty():
                raise Fault("nobody is here to confirm: add --yes", USAGE)
            click.confirm(f"Revoke {key.id} ({key.name}) for good?", abort=True, err=True)
        revoke_key(found, key.id)
    click.echo(f"Revoked {key.id} ({key.name}). Its sessions end within seconds.", err=True)


@keys.command()
@click.argument("wanted", metavar="ID|NAME", shell_complete=complete_key)
@limit_options
@click.option("--none", "lifted", multiple=True, type=click.Choice(list(FIELDS)), metavar="LIMIT",
              help=f"Lift this limit: {', '.join(FIELDS)}. Repeat it for more.")  # fmt: skip
@as_json
@database_options
def limits(
    wanted: str,
    lifted: tuple[str, ...],
    is_json: bool,
    settings: Settings,
    **given: Any,
) -> None:
    """Show what a key may do; with options, change it. The other limits stay."""
    from oyez.accounts.keys import NO_LIMITS, all_keys, change_limits
    from oyez.accounts.reports import usage_report

    chosen = _chosen(given)
    for option in lifted:
        if FIELDS[option] in chosen:
            raise Fault(
                f"--{option} sets the limit that --none {option} lifts: give one",
                USAGE,
            )
        chosen[FIELDS[option]] = getattr(NO_LIMITS, FIELDS[option])
    with opened(settings) as found:
        key = meant_key(all_keys(found), wanted)
        if chosen:
            key = replace(key, limits=replace(key.limits, **chosen))
            change_limits(found, key.id, key.limits)
        today = datetime.now(UTC).date()
        used = usage_report(found, "key", since=today, until=today, key_id=key.id).total
    if is_json:
        click.echo(json.dumps(_as_json(key) | {"audio_today_s": used.audio_ms / 1000}))
    else:
        click.echo(f"{key.id} ({key.name}, {_status(key)}): {_in_words(key.limits)}.")
        click.echo(f"Audio used today (UTC): {shown_duration(used.audio_ms / 1000)}.")


def _chosen(given: dict[str, Any]) -> dict[str, Any]:
    chosen = {name: value for name, value in given.items() if value not in (None, ())}
    if "languages" in chosen:
        codes = [code for group in chosen["languages"] for code in group]
        chosen["languages"] = tuple(dict.fromkeys(codes))
    return chosen


def _name(name: str) -> str:
    name = name.strip()
    if not (name.isprintable() and 1 <= len(name) <= MAX_NAME):
        raise Fault(f"a name has 1 to {MAX_NAME} printable characters", USAGE)
    if name.startswith(("key_", "static-")):
        raise Fault("a name that begins with key_ or static- would look like an id", USAGE)
    return name


def _hand_over(shown: str, key: Key) -> None:
    """Unlike other results, this one cannot be asked for again: that nobody read it is a fault."""
    try:
        click.echo(shown)
    except BrokenPipeError:
        advice = f"oyez keys revoke {key.id}, and create another"
        raise Fault(f"nobody read the key of {key.id}, and it is kept nowhere: {advice}") from None


def _active(known: list[Key], name: str) -> list[Key]:
    """Those of this name that are not revoked."""
    return [key for key in known if key.name == name and key.revoked_at is None]


def _tell_others(same: list[Key]) -> None:
    """That two keys have a name is how one is replaced by another; it may also be a mistake."""
    if same:
        ids = ", ".join(each.id for each in same)
        click.echo(f"There is another key of this name: {ids}.", err=True)


def _in_words(limits: KeyLimits) -> str:
    words = [
        limits.sessions and f"{counted(limits.sessions, 'session')} at once",
        limits.sessions_per_second
        and f"{counted(limits.sessions_per_second, 'new session')} a second",
        limits.audio_s_per_day and f"{shown_duration(limits.audio_s_per_day)} of audio a day",
        limits.languages and f"only {' '.join(limits.languages)}",
        limits.expires_at and f"expires {limits.expires_at:%Y-%m-%d %H:%M} UTC",
    ]
    return ", ".join(word for word in words if word) or "no limits of its own"


def _status(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.is_expired(datetime.now(UTC)) else "active"


def _as_json(key: Key) -> dict[str, Any]:
    limits = key.limits
    return {
        "id": key.id,
        "name": key.name,
        "status": _status(key),
        "sessions": limits.sessions,
        "sessions_per_second": limits.sessions_per_second,
        "audio_s_per_day": limits.audio_s_per_day,
        "languages": list(limits.languages),
        "expires_at": _moment(limits.expires_at),
        "created_at": _moment(key.created_at),
        "revoked_at": _moment(key.revoked_at),
    }


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _print_table(known: list[Key], used: dict[str, datetime]) -> None:
    from oyez.cli.table import print_table

    rows = []
    for key in known:
        last = used.get(key.id)
        shown = f"{last:%Y-%m-%d}" if last else "never"
        rows.append([key.id, key.name, _status(key), shown, _in_words(key.limits)])
    titles = ["ID", "NAME", "STATUS", "LAST USED", "LIMITS"]
    print_table(titles, rows, unbroken=["ID", "STATUS", "LAST USED"])
