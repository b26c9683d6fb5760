"""`oyez serve`: its flags are the fields of the settings class."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
import tomli_w
from pydantic.fields import FieldInfo

from oyez import logs
from oyez.settings import ENV_PREFIX, Settings, SettingsError, load

EXIT_USAGE = 2
EXIT_NEVER_STARTED = 3

HELP = """Start the server: load and warm the model, then listen.

Every flag is also a key of the --config file (with underscores) and an environment
variable (OYEZ_ and capitals). A flag beats the environment, which beats the file.

\b
Examples:
  oyez serve
  oyez serve --host 0.0.0.0 --api-keys-file keys.txt
  OYEZ_PORT=9000 oyez serve --config oyez.toml --print-config

\b
Exit codes: 0 stopped as asked; 2 wrong usage or settings; 3 never started.
"""


def _run(config: Path | None, print_config: bool, **given: Any) -> None:
    try:
        settings = load(_chosen(given), config)
        if print_config:
            click.echo(tomli_w.dumps(settings.effective()), nl=False)
            return
        _serve(settings)
    except SettingsError as error:
        _exit(EXIT_USAGE, str(error))


def _serve(settings: Settings) -> None:
    from oyez.server.lifecycle import StartupError, run_server

    logs.configure(settings.log_level, settings.log_format)
    try:
        run_server(settings, lambda line: click.echo(line, err=True))
    except StartupError as error:
        _exit(EXIT_NEVER_STARTED, str(error))


def _exit(code: int, message: str) -> None:
    click.echo(f"oyez: {message}", err=True)
    sys.exit(code)


def _chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """Flags that were given; a repeatable one that was not is an empty tuple."""
    return {name: value for name, value in given.items() if value is not None and value != ()}


def _option(name: str, field: FieldInfo) -> click.Option:
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


def _options() -> list[click.Parameter]:
    config = click.Option(
        ["--config"],
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="PATH",
        help="TOML file of settings.",
    )
    show = click.Option(
        ["--print-config"],
        is_flag=True,
        help="Print the settings in force as TOML, keys masked, and stop.",
    )
    fields = [_option(name, field) for name, field in Settings.model_fields.items()]
    return [config, show, *fields]


serve = click.Command(
    "serve",
    params=_options(),
    callback=_run,
    help=HELP,
    short_help="Start the server.",
    epilog=f"Environment: {ENV_PREFIX}PORT, {ENV_PREFIX}API_KEY, … name the same settings.",
)
