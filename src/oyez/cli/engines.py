"""Recognition for a command: by engines in this process, or by a server with `--url`."""

from __future__ import annotations

import asyncio
import functools
import secrets
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from oyez.cli.errors import NEVER_STARTED, USAGE, CommandError
from oyez.cli.setting_options import with_settings
from oyez.cli.values import complete_language, parse_language
from oyez.settings import Settings, SettingsError

if TYPE_CHECKING:
    from oyez.client import Captions, Session, SessionOptions, Target, Utterance
    from oyez.runtime.loader import Engines

CONTEXT_HELP = "Names and terms that may be said; @FILE reads them from a file."
URL_HELP = "A running server, as ws://HOST:PORT; without it, recognition runs in this process."
MAX_CONTEXT_BYTES = 1 << 20
THREADS_STOP_S = 2.0
FINISH_S = 1.0
"""How long the task that sends may go on after the last answer."""
DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Recognition:
    """What is recognised and where, as the options of a command say."""

    settings: Settings
    language: str | None
    context: str
    target: Target | None
    """The server of `--url`; None: recognition runs in this process."""

    def load(self) -> Engines:
        """Load the engines, with a status line in a terminal. Raises CommandError."""
        from oyez.cli.terminal import console

        with console(sys.stderr).status("loading") as status, load_errors():
            from oyez.runtime.loader import load_engines

            return load_engines(self.settings, status.update)

    def server(self) -> AbstractAsyncContextManager[Target]:
        """Return the server of `--url`, or one in this process. Raises CommandError."""
        return nullcontext(self.target) if self.target else local_server(self.load())


def with_recognition(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command with --language, --context, --url, --key and the flags of these settings.

    The command receives `recognition`.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @click.option(
            "--language",
            type=parse_language,
            metavar="CODE",
            shell_complete=complete_language,
            help="What is spoken; default: detected.",
        )
        @click.option("--context", default="", metavar="TEXT", help=CONTEXT_HELP)
        @click.option("--url", help=URL_HELP)
        @click.option("--key", help="The server's key; better in the environment: OYEZ_API_KEY.")
        @functools.wraps(command)
        def run(settings: Settings, url: str | None, key: str | None, **given: Any) -> None:
            target = _target(settings, url, key) if url else None
            language, context = given.pop("language"), _read_context(given.pop("context"))
            command(recognition=Recognition(settings, language, context, target), **given)

        return with_settings(*names)(run)

    return decorate


@contextmanager
def load_errors() -> Iterator[None]:
    """Turn errors of settings and of loading engines into a CommandError."""
    from oyez.engines.base import LoadError

    try:
        yield
    except SettingsError as error:
        raise CommandError(str(error), USAGE) from error
    except LoadError as error:
        raise CommandError(str(error), NEVER_STARTED) from error


@asynccontextmanager
async def local_server(engines: Engines) -> AsyncIterator[Target]:
    """Run a server in this process and yield where to connect.

    Recognition, order and limits are those of `oyez serve`. It keeps no record, and only this user
    can reach it, through a Unix socket.
    """
    from aiohttp import web

    from oyez.client import Target
    from oyez.metrics import Metrics
    from oyez.server.access.callers import Accounts
    from oyez.server.app import Server

    key = secrets.token_hex(16)
    own = {"api_key": key, "database": "off", "max_load": 0, "idle_timeout_s": DAY_S}
    settings = Settings.model_validate({**own, "web_page": False})
    metrics = Metrics()
    accounts = await asyncio.to_thread(Accounts, settings, metrics)
    server = Server(settings, engines, metrics, accounts)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    with tempfile.TemporaryDirectory(prefix="oyez-") as directory:
        path = f"{directory}/socket"
        try:
            await web.UnixSite(runner, path).start()
            yield Target("ws://oyez", key, socket_path=path)
        finally:
            await server.realtime.drain(0.0)
            await runner.cleanup()
            await asyncio.to_thread(server.realtime.stop, THREADS_STOP_S)
            await asyncio.to_thread(accounts.close, THREADS_STOP_S)


async def captioned(
    target: Target, options: SessionOptions, packets: AsyncIterable[bytes], captions: Captions
) -> AsyncGenerator[tuple[str, Utterance | None]]:
    """Send PCM16 to a server, and yield each event as received, with the utterance that it ends.

    `packets` is read from when the session is open; `captions` follows the events. If the audio
    breaks off, what was sent is still answered. Raises ClientError, and what `packets` raises.
    """
    from oyez.client import ClientError, ErrorEvent, open_session

    async with open_session(target, options) as session:
        sending = asyncio.create_task(_send(session, packets))
        try:
            async for event, raw in session.events():
                yield raw, captions.take(event)
                if isinstance(event, ErrorEvent):
                    raise ClientError(event.error.message)
            await asyncio.wait([sending], timeout=FINISH_S)
            if not sending.done():
                raise ClientError(
                    "the server ended the session: no audio came for too long, or the session "
                    "reached its longest time"
                )
            await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _send(session: Session, packets: AsyncIterable[bytes]) -> None:
    """Send the audio and finish the session, also if the audio breaks off."""
    from oyez.client import ClientError

    try:
        async for pcm in packets:
            await session.send(pcm)
    except Exception:
        with suppress(ClientError):
            await session.finish()
        raise
    await session.finish()


@contextmanager
def on_signals(call: Callable[[], None]) -> Iterator[None]:
    """Call this on the running event loop at every Ctrl-C and SIGTERM."""
    loop = asyncio.get_running_loop()
    with suppress(NotImplementedError):  # on Windows, KeyboardInterrupt comes
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, call)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _read_context(text: str) -> str:
    """Return `text`, or the content of the file that it names with `@`. Raises CommandError."""
    if not text.startswith("@"):
        return text
    try:
        with Path(text[1:]).open("rb") as file:
            data = file.read(MAX_CONTEXT_BYTES + 1)
        if len(data) > MAX_CONTEXT_BYTES:
            raise CommandError(f"--context {text}: larger than a mebibyte", USAGE)
        return data.decode("utf-8-sig")
    except OSError as error:
        raise CommandError(f"--context {text}: {error.strerror}", USAGE) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"--context {text}: not UTF-8 text", USAGE) from error


def _target(settings: Settings, url: str, key: str | None) -> Target:
    """Return the server at `url`, with `key` or else the first key of the settings.

    Raises CommandError.
    """
    from oyez.client import ClientError, Target, normalised

    try:
        address = normalised(url)
    except ClientError as error:
        raise CommandError(f"--url: {error}", USAGE) from error
    if key is None and settings.api_key:
        key = settings.api_key[0].get_secret_value()
    return Target(address, key)
