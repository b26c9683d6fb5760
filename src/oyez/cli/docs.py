"""`oyez docs`: the documents of `/docs` without a server."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import click

from oyez.cli.exits import USAGE, Fault
from oyez.cli.setting_options import with_settings
from oyez.settings import Settings

HELP = """Print the machine-readable reference as JSON.

What a running server answers at /docs/asyncapi.json (the socket) and
/docs/openapi.json (HTTP). Limits are those of the settings in force.

\b
Examples:
  oyez docs asyncapi > asyncapi.json
  oyez docs asyncapi --url wss://asr.example.org
  oyez docs openapi --config oyez.toml
"""


@click.command("docs", help=HELP, short_help="Print the OpenAPI or AsyncAPI document.")
@click.argument("document", type=click.Choice(["asyncapi", "openapi"]))
@click.option(
    "--url",
    metavar="URL",
    help="Where clients reach the server. [default: left open, as a variable]",
)
@with_settings()
def docs(settings: Settings, document: str, url: str | None) -> None:
    import msgspec

    made = _asyncapi(settings, url) if document == "asyncapi" else _openapi(settings)
    click.echo(msgspec.json.format(msgspec.json.encode(made), indent=2))


def _asyncapi(settings: Settings, url: str | None) -> dict[str, Any]:
    from oyez.server.reference.asyncapi import asyncapi

    if url is None:
        return asyncapi(settings)
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.netloc:
        raise Fault(f"--url {url} is not like ws://HOST:PORT or wss://HOST", USAGE)
    return asyncapi(settings, host=parts.netloc, secure=parts.scheme == "wss")


def _openapi(settings: Settings) -> dict[str, Any]:
    from oyez.server.reference.openapi import openapi

    return openapi(settings)
