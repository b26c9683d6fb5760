"""Options and set-up of the commands that recognise: here, or by a server."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from oyez.cli.exits import USAGE, Fault
from oyez.engines.base import LANGUAGES
from oyez.settings import Settings

if TYPE_CHECKING:
    from oyez.client.session import Target
    from oyez.runtime.loader import Engines

MAX_CONTEXT_BYTES = 1 << 20


def what_is_said(command: Callable[..., None]) -> Callable[..., None]:
    """--language, --context, --url, --key."""
    for decorate in (
        click.option("--key", help="The server's key; better in the environment: OYEZ_API_KEY."),
        click.option("--url", help="A running server, as ws://HOST:PORT; without it, recognition "
                     "runs in this process."),
        click.option("--context", default="", metavar="TEXT",
                     help="Names and terms that may be said; @FILE reads them from a file."),
        click.option("--language", type=Language(), help="What is spoken; default: detected."),
    ):  # fmt: skip
        command = decorate(command)
    return command


class Language(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """One of the 27 codes."""

    name = "CODE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | None:
        code = str(value).lower()
        if code in ("auto", ""):
            return None
        if code not in LANGUAGES:
            self.fail(f"{value!r} is none of {' '.join(LANGUAGES)}", param, ctx)
        return code

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(code) for code in LANGUAGES if code.startswith(incomplete)]


def read_context(text: str) -> str:
    """`text`, or what is in the file where it begins with @. Raises Fault."""
    if not text.startswith("@"):
        return text
    path = Path(text[1:])
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONTEXT_BYTES + 1)
    except OSError as error:
        raise Fault(f"--context {text}: {error.strerror}", USAGE) from error
    if len(data) > MAX_CONTEXT_BYTES:
        raise Fault(f"--context {text}: larger than a mebibyte", USAGE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Fault(f"--context {text}: not UTF-8 text", USAGE) from error


def load_chosen(settings: Settings) -> Engines:
    """The engines these settings choose; what is done meanwhile is told on stderr. Raises Fault."""
    from oyez.cli.engines import load_settings
    from oyez.cli.terminal import console

    with console(sys.stderr).status("loading") as status:

        def tell(line: str) -> None:
            status.update(line)

        return load_settings(settings, tell)


def remote(settings: Settings, url: str, key: str | None) -> Target:
    """The server at `url`; the key is the given one, else the first of OYEZ_API_KEY. Raises
    Fault."""
    from oyez.client.session import ClientError, Target, normalised

    try:
        address = normalised(url)
    except ClientError as error:
        raise Fault(f"--url: {error}", USAGE) from error
    if key is None and settings.api_key:
        key = settings.api_key[0].get_secret_value()
    return Target(address, key)


@asynccontextmanager
async def server_for(target: Target | None, engines: Engines | None) -> AsyncIterator[Target]:
    """`target` itself, or a server with `engines` in this process."""
    if target is not None:
        yield target
        return
    from oyez.cli.local_server import local_server

    assert engines is not None
    async with local_server(engines) as local:
        yield local
