"""What `oyez keys` and `oyez usage` share: the database, and which key is meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from oyez.accounts.database import Database
    from oyez.accounts.keys import Key

Command = Callable[..., Any]


def database_options(command: Command) -> Command:
    """`--config` and `--database`, as `oyez serve` has them."""
    options = (
        click.option(
            "--database",
            metavar="URL",
            help="The database [default: the one oyez serve would use].",
        ),
        click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="PATH",
            help="TOML file of settings, as for oyez serve.",
        ),
    )
    for option in options:
        command = option(command)
    return command


@contextmanager
def opened(
    config: Path | None, database: str | None, *, create: bool = False
) -> Iterator[Database]:
    """The database of these settings; what goes wrong ends the command with a message.

    Raises click.ClickException.
    """
    from oyez.accounts.database import OFF, DatabaseError, open_database
    from oyez.settings import SettingsError, load

    try:
        url = load({"database": database} if database else {}, config).database
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    if url == OFF:
        raise click.UsageError("database is 'off': there are no keys and no usage to show")
    try:
        found = open_database(url, create=create)
        try:
            yield found
        finally:
            found.close()
    except DatabaseError as error:
        raise click.ClickException(str(error)) from None


def meant_key(keys: Sequence[Key], wanted: str) -> Key:
    """The key with this id, or the only one of this name; of several, the only active one.

    Raises click.UsageError naming those there are.
    """
    named = [key for key in keys if key.name == wanted]
    unrevoked = [key for key in named if key.revoked_at is None]
    for found in ([key for key in keys if key.id == wanted], unrevoked, named):
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(f"{key.id} (of {key.created_at:%Y-%m-%d})" for key in found)
            raise click.UsageError(f"several keys are named {wanted!r}: give the id: {ids}")
    raise click.UsageError(f"no key has the id or name {wanted!r}; {_those_there_are(keys)}")


def _those_there_are(keys: Sequence[Key]) -> str:
    most = 20
    names = [f"{key.name} ({key.id})" for key in keys if key.revoked_at is None]
    if not names:
        return "there are none: oyez keys create NAME makes one"
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"there are {', '.join(names[:most])}{rest}"
