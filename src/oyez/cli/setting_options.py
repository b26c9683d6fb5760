"""Options of commands that are fields of the settings class: flag, `OYEZ_…` and file agree."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from oyez.cli.exits import USAGE, Fault
from oyez.settings import Settings, SettingsError, environment_warnings, load

ENGINE = ("engine", "model", "device", "threads", "vad", "emotion")


def with_settings(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command: --config and the flags of these fields. The command is given
    `settings`; wrong ones end it with USAGE before it begins."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(*, config: Path | None, **given: Any) -> None:
            flags = chosen({name: given.pop(name) for name in names})
            try:
                settings = load(flags, config)
            except SettingsError as error:
                raise Fault(str(error), USAGE) from error
            warn_of_environment()
            command(settings=settings, **given)

        params = [option(name, Settings.model_fields[name]) for name in names]
        run.__click_params__ = [  # type: ignore[attr-defined]  # where click's decorators put them
            *(config_option(), *params)[::-1],
            *getattr(command, "__click_params__", []),
        ]
        return run

    return decorate


def warn_of_environment() -> None:
    """Say on stderr which variables are ignored."""
    for warning in environment_warnings():
        click.echo(f"oyez: {warning}", err=True)


def config_option() -> click.Option:
    """--config."""
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="PATH",
        help="TOML file of settings.",
    )


def chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that were given; a repeatable one that was not is an empty tuple."""
    return {name: value for name, value in given.items() if value is not None and value != ()}


def option(name: str, field: FieldInfo) -> click.Option:
    """The flag of a field. Its value stays text where the settings class is to judge it."""
    flag = "--" + name.replace("_", "-")
    kind = _kind(field.annotation)
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}"], default=None, help=_help(name, field))
    return click.Option(
        [flag],
        type=click.Choice(get_args(kind)) if get_origin(kind) is Literal else str,
        multiple=get_origin(kind) is tuple,
        default=None,
        metavar=_metavar(kind),
        help=_help(name, field),
    )


def _kind(annotation: Any) -> Any:
    """The type without `| None`."""
    if isinstance(annotation, types.UnionType):
        return next(part for part in get_args(annotation) if part is not types.NoneType)
    return annotation


def _metavar(kind: Any) -> str | None:
    if get_origin(kind) is Literal:
        return None
    names = {int: "INTEGER", float: "NUMBER", Path: "PATH"}
    return names.get(kind, "TEXT")


def _help(name: str, field: FieldInfo) -> str:
    default = Settings.model_fields[name].default
    if isinstance(default, tuple):
        default = ", ".join(default)
    shown = str(default).lower() if isinstance(default, bool) else default
    suffix = f" [default: {shown}]" if shown not in (None, "") else ""
    return f"{field.description}{suffix}"
