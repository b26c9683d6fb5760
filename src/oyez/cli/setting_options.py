"""Options that are fields of the settings class, like the `OYEZ_…` variables and the file."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from oyez.cli.errors import USAGE, CommandError
from oyez.settings import Settings, SettingsError, environment_warnings, load

FILE = click.Path(path_type=Path, dir_okay=False)
CONFIG = click.Option(["--config"], type=FILE, metavar="PATH", help="TOML file of settings.")


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command with --config and the flags of these fields.

    The command receives `settings`. Wrong settings end it with USAGE before it begins.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*, config: Path | None, **given: Any) -> None:
            settings = load_settings({name: given.pop(name) for name in names}, config)
            print_environment_warnings()
            command(settings=settings, **given)

        params = [setting_option(name, Settings.model_fields[name]) for name in names]
        run.__click_params__ = [  # type: ignore[attr-defined]  # where click's decorators put them
            *(CONFIG, *params)[::-1],
            *getattr(command, "__click_params__", []),
        ]
        return run

    return decorate


def load_settings(flags: Mapping[str, Any], config: Path | None) -> Settings:
    """Merge the flags that were given, environment, file and defaults. Raises CommandError."""
    try:
        return load(given_only(flags), config)
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from error


def print_environment_warnings() -> None:
    """Print on stderr which variables of the environment are ignored."""
    for warning in environment_warnings():
        click.echo(f"oyez: {warning}", err=True)


def given_only(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given; a repeatable one that was not is an empty tuple."""
    return {name: value for name, value in options.items() if value is not None and value != ()}


def setting_option(name: str, field: FieldInfo) -> click.Option:
    """Return the flag of a field. Its value stays text where the settings class validates it."""
    flag = "--" + name.replace("_", "-")
    kind = field.annotation
    if isinstance(kind, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not types.NoneType)
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=_help(field))
    if get_origin(kind) is Literal:
        return click.Option([flag], type=click.Choice(get_args(kind)), help=_help(field))
    metavars: dict[Any, str] = {int: "INTEGER", float: "NUMBER", Path: "PATH"}
    is_list, metavar = get_origin(kind) is tuple, metavars.get(kind, "TEXT")
    return click.Option([flag], type=str, multiple=is_list, metavar=metavar, help=_help(field))


def _help(field: FieldInfo) -> str:
    default = field.default
    if isinstance(default, tuple):
        default = ", ".join(default)
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"{field.description}" + (f" [default: {shown}]" if shown not in (None, "") else "")
