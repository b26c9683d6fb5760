"""The parts that `oyez keys` and `oyez usage` share: the database, and the key that is named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from oyez.cli.errors import USAGE, CommandError
from oyez.cli.setting_options import with_settings

if TYPE_CHECKING:
    from oyez.accounts.database import Database
    from oyez.accounts.keys import Key
    from oyez.settings import Settings

MAX_KEYS_NAMED = 20
"""An error names at most so many keys."""
database_options = with_settings("database")
"""`--config` and `--database`, as `oyez serve` has them; the command receives `settings`."""


@contextmanager
def accounts_database(settings: Settings, *, create: bool = False) -> Iterator[Database]:
    """Open the database of these settings, and close it.

    Raises CommandError for every DatabaseError, also of the code inside.
    """
    from oyez.accounts.database import OFF, DatabaseError, open_database

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


def resolve_key(keys: Sequence[Key], wanted: str) -> Key:
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
