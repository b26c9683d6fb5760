"""What `oyez keys` and `oyez usage` share: the database, and which key is meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from oyez.cli.exits import USAGE, Fault
from oyez.cli.setting_options import with_settings

if TYPE_CHECKING:
    from oyez.accounts.database import Database
    from oyez.accounts.keys import Key
    from oyez.settings import Settings

database_options = with_settings("database")
"""`--config` and `--database`, as `oyez serve` has them; the command is given `settings`."""


@contextmanager
def opened(settings: Settings, *, create: bool = False) -> Iterator[Database]:
    """The database of these settings; what goes wrong ends the command with a message.

    Raises Fault.
    """
    from oyez.accounts.database import OFF, DatabaseError, open_database

    if settings.database == OFF:
        raise Fault("database is 'off': no keys and no usage are kept", USAGE)
    try:
        found = open_database(settings.database, create=create)
        try:
            yield found
        finally:
            found.close()
    except DatabaseError as error:
        raise Fault(str(error)) from None


def complete_key(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """For the Tab key: names and ids of keys that are not revoked; none where anything is wrong."""
    from oyez.accounts.database import DatabaseError, open_database
    from oyez.accounts.keys import all_keys
    from oyez.settings import SettingsError, load

    given = {"database": ctx.params["database"]} if ctx.params.get("database") else {}
    try:
        url = load(given, ctx.params.get("config")).database
        known = [key for key in all_keys(open_database(url, create=False)) if not key.revoked_at]
    except (SettingsError, DatabaseError):
        return []
    words = [CompletionItem(key.name, help=key.id) for key in known]
    words += [CompletionItem(key.id, help=key.name) for key in known]
    return [word for word in words if word.value.startswith(incomplete)]


def meant_key(keys: Sequence[Key], wanted: str) -> Key:
    """The key with this id, or the only one of this name; of several, the only active one.

    Raises Fault naming those there are.
    """
    named = [key for key in keys if key.name == wanted]
    unrevoked = [key for key in named if key.revoked_at is None]
    for found in ([key for key in keys if key.id == wanted], unrevoked, named):
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f"{key.id} (of {key.created_at:%Y-%m-%d})" for key in found)
            raise Fault(f"several keys are named {wanted!r}: give the id: {ids}", USAGE)
    raise Fault(f"no key has the id or name {wanted!r}; {_those_there_are(keys)}", USAGE)


def _those_there_are(keys: Sequence[Key]) -> str:
    most = 20
    names = [f"{key.name} ({key.id})" for key in keys if key.revoked_at is None]
    if not names:
        return "there are none: oyez keys create NAME makes one"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"there are {', '.join(names[:most])}{rest}"
