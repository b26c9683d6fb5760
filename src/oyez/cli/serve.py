"""`oyez serve`: its flags are the fields of the settings class."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click
import tomli_w

from oyez import logs
from oyez.cli.exits import FAILED, NEVER_STARTED, USAGE, leave
from oyez.cli.setting_options import chosen, config_option, option, warn_of_environment
from oyez.settings import ENV_PREFIX, Settings, SettingsError, environment_warnings, load

log = logging.getLogger(__name__)

HELP = """Start the server: load and warm the model, then listen.

Every flag is also a key of the --config file (with underscores) and an environment
variable (OYEZ_ and capitals). A flag beats the environment, which beats the file.

\b
Examples:
  oyez serve
  oyez serve --host 0.0.0.0 --api-keys-file keys.txt
  oyez serve --tls-cert fullchain.pem --tls-key privkey.pem
  OYEZ_PORT=9000 oyez serve --config oyez.toml --print-config

\b
Exit codes: 0 stopped as asked; 1 the engine was lost; 2 wrong usage or
settings; 3 never started.
"""

SECTIONS = {
    "host": "Network",
    "api_key": "Keys and usage",
    "engine": "Recognition",
    "web_page": "Web page",
    "max_sessions": "Limits",
    "metrics": "Metrics and logs",
}
"""Headings of the help, each above the setting that it begins with."""


class SectionedCommand(click.Command):
    """Its settings stand below headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows: dict[str, list[tuple[str, str]]] = {"Options": []}
        section = "Options"
        for param in self.get_params(ctx):
            section = SECTIONS.get(param.name or "", section)
            if record := param.get_help_record(ctx):
                # click puts --help last
                heading = "Options" if "--help" in param.opts else section
                rows.setdefault(heading, []).append(record)
        for heading, records in rows.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _run(config: Path | None, print_config: bool, **given: Any) -> None:
    try:
        settings = load(chosen(given), config)
        if print_config:
            warn_of_environment()
            click.echo(tomli_w.dumps(settings.effective()), nl=False)
            return
        _serve(settings)
    except SettingsError as error:
        logs.flush()
        leave(USAGE, str(error))


def _serve(settings: Settings) -> None:
    from oyez.server.lifecycle import EngineLostError, StartupError, run_server

    logs.configure(settings.log_level, settings.log_format)
    for warning in environment_warnings():
        log.warning(warning)
    try:
        run_server(settings, _say)
    except StartupError as error:
        logs.flush()
        leave(NEVER_STARTED, str(error))
    except EngineLostError as error:
        logs.flush()
        leave(FAILED, str(error))


def _say(line: str) -> None:
    logs.flush()
    click.echo(line, err=True)


def _options() -> list[click.Parameter]:
    show = click.Option(
        ["--print-config"],
        is_flag=True,
        help="Print the settings in force as TOML, keys masked, and stop.",
    )
    fields = [option(name, field) for name, field in Settings.model_fields.items()]
    return [config_option(), show, *fields]


serve = SectionedCommand(
    "serve",
    params=_options(),
    callback=_run,
    help=HELP,
    short_help="Start the server.",
    epilog=f"Environment: {ENV_PREFIX}PORT, {ENV_PREFIX}API_KEY, … name the same settings.",
)
