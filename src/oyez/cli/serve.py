"""`oyez serve`, whose flags are the fields of the settings class, and `oyez docs`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from oyez import logs
from oyez.cli.errors import FAILED, NEVER_STARTED, USAGE, CommandError
from oyez.cli.setting_options import (
    CONFIG,
    load_settings,
    print_environment_warnings,
    setting_option,
    with_settings,
)
from oyez.settings import ENV_PREFIX, Settings, SettingsError, environment_warnings

log = logging.getLogger(__name__)

SERVE_HELP = """Start the server: load and warm the model, then listen.

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
"""By setting: the heading of the help that stands above it."""


class SectionedCommand(click.Command):
    """A command whose help shows its settings below headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        rows: dict[str, list[tuple[str, str]]] = {"Options": []}
        section = "Options"
        for param in self.get_params(ctx):
            section = SECTIONS.get(param.name or "", section)
            # click puts --help last, which would be in the section of the last setting
            heading = "Options" if "--help" in param.opts else section
            if record := param.get_help_record(ctx):
                rows.setdefault(heading, []).append(record)
        for heading, records in rows.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def _run(config: Path | None, print_config: bool, **given: Any) -> None:
    import tomli_w

    settings = load_settings(given, config)
    if print_config:
        print_environment_warnings()
        click.echo(tomli_w.dumps(settings.effective()), nl=False)
    else:
        _serve(settings)


def _serve(settings: Settings) -> None:
    from oyez.server.lifecycle import EngineLostError, StartupError, run_server

    logs.configure(settings.log_level, settings.log_format)
    for warning in environment_warnings():
        log.warning(warning)
    codes: dict[type[Exception], int] = {
        SettingsError: USAGE,
        StartupError: NEVER_STARTED,
        EngineLostError: FAILED,
    }
    try:
        run_server(settings, _print_after_logs)
    except tuple(codes) as error:
        logs.flush()
        raise CommandError(str(error), codes[type(error)]) from error


def _print_after_logs(line: str) -> None:
    logs.flush()
    click.echo(line, err=True)


serve = SectionedCommand(
    "serve",
    params=[
        CONFIG,
        click.Option(
            ["--print-config"],
            is_flag=True,
            help="Print the settings in force as TOML, keys masked, and stop.",
        ),
        *(setting_option(name, field) for name, field in Settings.model_fields.items()),
    ],
    callback=_run,
    help=SERVE_HELP,
    short_help="Start the server.",
    epilog=f"Environment: {ENV_PREFIX}PORT, {ENV_PREFIX}API_KEY, … name the same settings.",
)


@click.command(short_help="Print the OpenAPI or AsyncAPI document.")
@click.argument("document", type=click.Choice(["asyncapi", "openapi"]))
@click.option(
    "--url",
    metavar="URL",
    help="Where clients reach the server. [default: left open, as a variable]",
)
@with_settings()
def docs(settings: Settings, document: str, url: str | None) -> None:
    """Print the machine-readable reference as JSON.

    What a running server answers at /docs/asyncapi.json (the socket) and
    /docs/openapi.json (HTTP). Limits are those of the settings in force.

    \b
    Examples:
      oyez docs asyncapi > asyncapi.json
      oyez docs asyncapi --url wss://asr.example.org
      oyez docs openapi --config oyez.toml
    """
    import msgspec

    from oyez.server.reference.asyncapi import asyncapi
    from oyez.server.reference.openapi import openapi

    if document == "openapi":
        made = openapi(settings)
    elif url is None:
        made = asyncapi(settings)
    else:
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.netloc:
            raise CommandError(f"--url {url} is not like ws://HOST:PORT or wss://HOST", USAGE)
        made = asyncapi(settings, host=parts.netloc, secure=parts.scheme == "wss")
    click.echo(msgspec.json.format(msgspec.json.encode(made), indent=2))
