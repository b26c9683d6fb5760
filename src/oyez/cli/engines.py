"""Recognition for a command: by engines in this process, or by a server with `--url`."""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from oyez.cli.errors import NEVER_STARTED, USAGE, CommandError
from oyez.cli.values import Language
from oyez.settings import Settings, SettingsError

if TYPE_CHECKING:
    from aiohttp import web

    from oyez.client import Target
    from oyez.runtime.loader import Engines

ENGINE_SETTINGS = ("engine", "model", "device", "threads", "vad", "emotion")
MAX_CONTEXT_BYTES = 1 << 20
THREADS_STOP_S = 2.0
DAY_S = 86_400.0


def recognition_options(command: Callable[..., None]) -> Callable[..., None]:
    """Decorate a command with --language, --context, --url and --key."""
    for decorate in (
        click.option("--key", help="The server's key; better in the environment: OYEZ_API_KEY."),
        click.option(
            "--url",
            help="A running server, as ws://HOST:PORT; without it, recognition runs in this "
            "process.",
        ),
        click.option(
            "--context",
            default="",
            metavar="TEXT",
            help="Names and terms that may be said; @FILE reads them from a file.",
        ),
        click.option("--language", type=Language(), help="What is spoken; default: detected."),
    ):
        command = decorate(command)
    return command


def read_context(text: str) -> str:
    """Return `text`, or the content of the file that it names with `@`. Raises CommandError."""
    if not text.startswith("@"):
        return text
    try:
        with Path(text[1:]).open("rb") as file:
            data = file.read(MAX_CONTEXT_BYTES + 1)
    except OSError as error:
        raise CommandError(f"--context {text}: {error.strerror}", USAGE) from error
    if len(data) > MAX_CONTEXT_BYTES:
        raise CommandError(f"--context {text}: larger than a mebibyte", USAGE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CommandError(f"--context {text}: not UTF-8 text", USAGE) from error


def load_for_command(model: str) -> Engines:
    """Load engines on the CPU, without emotion, and print the progress on stderr.

    model: as `oyez serve --model`. Raises CommandError.
    """
    from oyez.runtime.loader import LoadError, load_on_cpu

    try:
        return load_on_cpu(model=model, progress=lambda line: click.echo(line, err=True))
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from error
    except LoadError as error:
        raise CommandError(str(error), NEVER_STARTED) from error


def load_configured(
    chosen: Settings, progress: Callable[[str], None] = lambda line: None
) -> Engines:
    """Load the engines that these settings choose. Raises CommandError."""
    from oyez.runtime import loader

    try:
        return loader.load_engines(chosen, progress)
    except loader.LoadError as error:
        raise CommandError(str(error), NEVER_STARTED) from error


def load_with_status(chosen: Settings) -> Engines:
    """Load the engines that these settings choose, with a status line in a terminal.

    Raises CommandError.
    """
    from oyez.cli.terminal import console

    with console(sys.stderr).status("loading") as status:
        return load_configured(chosen, status.update)


def server_target(chosen: Settings, url: str, key: str | None) -> Target:
    """Return the server at `url`, with `key` or else the first key of the settings.

    Raises CommandError.
    """
    from oyez.client import ClientError, Target, normalised

    try:
        address = normalised(url)
    except ClientError as error:
        raise CommandError(f"--url: {error}", USAGE) from error
    if key is None and chosen.api_key:
        key = chosen.api_key[0].get_secret_value()
    return Target(address, key)


@asynccontextmanager
async def local_server(engines: Engines) -> AsyncIterator[Target]:
    """Run a server in this process and yield where to connect.

    Recognition, order and limits are those of `oyez serve`. It keeps no record, and only this user
    can reach it: through a Unix socket, or a loopback port where there are no such sockets.
    """
    from aiohttp import web

    from oyez.metrics import Metrics
    from oyez.server.access.access import Accounts
    from oyez.server.app import Server

    key = secrets.token_hex(16)
    own = Settings.model_validate(
        {
            "api_key": key,
            "database": "off",
            "max_load": 0,
            "idle_timeout_s": DAY_S,
            "web_page": False,
        }
    )
    metrics = Metrics()
    accounts = await asyncio.to_thread(Accounts, own, metrics)
    server = Server(own, engines, metrics, accounts)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    with tempfile.TemporaryDirectory(prefix="oyez-") as directory:
        try:
            yield await _listen(runner, Path(directory) / "socket", key)
        finally:
            await server.realtime.drain(0.0)
            await runner.cleanup()
            await asyncio.to_thread(server.realtime.stop, THREADS_STOP_S)
            await asyncio.to_thread(accounts.close, THREADS_STOP_S)


async def _listen(runner: web.AppRunner, path: Path, key: str) -> Target:
    from aiohttp import web

    from oyez.client import Target

    if sys.platform == "win32":
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return Target(f"ws://{host}:{port}", key)
    await web.UnixSite(runner, str(path)).start()
    return Target("ws://oyez", key, socket_path=str(path))
