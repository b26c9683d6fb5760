"""A server's life: take the port, load, listen, serve, drain, leave."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

from oyez import __version__
from oyez.accounts.database import DatabaseError
from oyez.inference.loader import Engines, LoadError, load_engines
from oyez.metrics import Metrics
from oyez.server import listening, signals, tls
from oyez.server.accounts import Accounts
from oyez.server.app import Server
from oyez.server.callers import now
from oyez.server.realtime import PATH
from oyez.server.reload import Reloader
from oyez.settings import Settings, SettingsError, is_loopback

THREADS_STOP_S = 2.0
LEDGER_STOP_S = 5.0
MODEL_SHOWN = "qwen3-asr-flash-realtime"

log = logging.getLogger(__name__)


class StartupError(Exception):
    """The server never started; the message says what to do."""


def run_server(settings: Settings, say: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; a second signal does not wait for running turns. SIGHUP
    reloads what `_serve` adds to its `Reloader`.

    say: takes progress lines for the operator. Raises SettingsError (keys, certificate) or
    StartupError (port taken, database away, model missing) before it listens.
    """
    log.info("starting", extra={"fields": {"version": __version__, **settings.changed()}})
    settings.keys()
    certificate = tls.from_settings(settings)
    metrics = Metrics()
    try:
        with (
            listening.bind(settings.host, settings.port) as listener,
            _accounts(settings, metrics) as accounts,
        ):
            # before the event loop, so that a signal ends the loading at once
            engines = _load(settings, say)
            asyncio.run(_serve(settings, engines, metrics, accounts, listener, certificate, say))
    except (listening.ListenError, DatabaseError) as error:
        raise StartupError(str(error)) from error


@contextmanager
def _accounts(settings: Settings, metrics: Metrics) -> Iterator[Accounts]:
    accounts = Accounts(settings, metrics)
    try:
        _check_keys(settings, accounts)
        yield accounts
    finally:
        accounts.close(LEDGER_STOP_S)


def _check_keys(settings: Settings, accounts: Accounts) -> None:
    """Raises SettingsError if anyone at all could use the server and nobody has allowed that."""
    has_keys = bool(settings.keys()) or accounts.directory.has_active(now())
    if not (has_keys or settings.allow_insecure or is_loopback(settings.host)):
        raise SettingsError(
            f"host {settings.host} can be reached from other machines, and there is no key: "
            "make one with oyez keys create NAME, set api_keys_file (or api_key), or "
            "allow_insecure if anyone may use this server"
        )


async def _serve(
    settings: Settings,
    engines: Engines,
    metrics: Metrics,
    accounts: Accounts,
    listener: socket.socket,
    certificate: tls.Certificate | None,
    say: Callable[[str], None],
) -> None:
    stops = signals.count_stops()
    reloader = Reloader()
    signals.on_hangup(reload=reloader.ask, stop=stops.release)
    server = Server(settings, engines, metrics, accounts)
    reloader.add("keys", server.access.reload)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    watching = _watch(certificate, reloader) if certificate else None
    try:
        accepting = await _listen(runner, listener, certificate)
        _announce(listener, settings, server.access.callers.need_keys, say)
        await stops.acquire()
        log.info("draining: finishing what was said")
        await _drain(server, settings.drain_timeout_s, stops)
        accepting.close()
    finally:
        if watching:
            watching.cancel()
        await runner.cleanup()
        await asyncio.to_thread(server.realtime.stop, THREADS_STOP_S)
    log.info("stopped")


def _watch(certificate: tls.Certificate, reloader: Reloader) -> asyncio.Task[None]:
    reloader.add("certificate", certificate.reload)
    return asyncio.create_task(certificate.watch(lambda: reloader.reload("certificate")))


async def _listen(
    runner: web.AppRunner, listener: socket.socket, certificate: tls.Certificate | None
) -> asyncio.Server:
    http = runner.server
    assert http is not None
    context = certificate.context if certificate else None
    return await listening.listen(listener, http, has_room=lambda: True, tls=context)


def _load(settings: Settings, say: Callable[[str], None]) -> Engines:
    try:
        return load_engines(
            engine=settings.engine,
            model=settings.model,
            device=settings.device,
            threads=settings.threads,
            cache_dir=settings.cache_dir,
            models_dir=settings.models_dir,
            vad=settings.vad,
            emotion=settings.emotion,
            emotion_confidence=settings.emotion_confidence,
            progress=say,
        )
    except LoadError as error:
        raise StartupError(str(error)) from error


def _announce(
    listener: socket.socket, settings: Settings, need_keys: bool, say: Callable[[str], None]
) -> None:
    if not need_keys:
        whoever = "this machine" if is_loopback(settings.host) else "any machine that reaches it"
        log.warning("no API key is configured: any key, or none, from %s is accepted", whoever)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "0.0.0.0"
    port = listener.getsockname()[1]
    scheme = "wss" if settings.tls_cert else "ws"
    say(f"oyez is ready: {scheme}://{host}:{port}{PATH}?model={MODEL_SHOWN}")


async def _drain(server: Server, timeout_s: float, stops: asyncio.Semaphore) -> None:
    draining = asyncio.create_task(server.realtime.drain(timeout_s))
    hurried = asyncio.create_task(stops.acquire())
    await asyncio.wait([draining, hurried], return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        log.warning("second signal: leaving at once")
        draining.cancel()
        await server.realtime.drain(0.0)
    hurried.cancel()
