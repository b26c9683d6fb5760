"""A server's life: take the port, load, listen, serve, drain, leave."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable

from aiohttp import web

from oyez.inference.loader import Engines, LoadError, load_engines
from oyez.server.app import Server
from oyez.server.realtime import PATH
from oyez.settings import Settings, is_loopback

BACKLOG = 1024
THREADS_STOP_S = 2.0
MODEL_SHOWN = "qwen3-asr-flash-realtime"

log = logging.getLogger(__name__)


class StartupError(Exception):
    """The server never started; the message says what to do."""


def run_server(settings: Settings, say: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; a second signal does not wait for running turns.

    say: takes progress lines for the operator. Raises SettingsError (keys file) or StartupError
    (port taken, model missing) before it listens.
    """
    settings.keys()
    with _bind(settings) as listener:
        # before the event loop, so that a signal ends the loading at once
        engines = _load(settings, say)
        asyncio.run(_serve(settings, engines, listener, say))


async def _serve(
    settings: Settings, engines: Engines, listener: socket.socket, say: Callable[[str], None]
) -> None:
    stop_signals = _count_stop_signals()
    server = Server(settings, engines)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await _listen(runner, listener, settings)
        _announce(listener, settings, say)
        await stop_signals.acquire()
        log.info("draining: finishing what was said")
        await _drain(server, settings.drain_timeout_s, stop_signals)
    finally:
        await runner.cleanup()
        await asyncio.to_thread(server.realtime.stop, THREADS_STOP_S)
    log.info("stopped")


def _load(settings: Settings, say: Callable[[str], None]) -> Engines:
    try:
        return load_engines(
            engine=settings.engine,
            model=settings.model,
            device=settings.device,
            threads=settings.threads,
            cache_dir=settings.cache_dir,
            vad=settings.vad,
            emotion=settings.emotion,
            emotion_confidence=settings.emotion_confidence,
            progress=say,
        )
    except LoadError as error:
        raise StartupError(str(error)) from error


def _bind(settings: Settings) -> socket.socket:
    """Take the port before the model is loaded: a taken one is told at once. Not yet listening."""
    where = f"{settings.host}:{settings.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host or None,
            settings.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartupError(f"cannot listen on {where}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # two sockets may be bound to one port until one of them listens
        return listener
    except OSError as error:
        listener.close()
        raise _cannot_listen(where, error) from error


async def _listen(runner: web.AppRunner, listener: socket.socket, settings: Settings) -> None:
    try:
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
    except OSError as error:
        raise _cannot_listen(f"{settings.host}:{settings.port}", error) from error


def _cannot_listen(where: str, error: OSError) -> StartupError:
    return StartupError(
        f"cannot listen on {where}: {error.strerror}; choose another with --port or --host"
    )


def _announce(listener: socket.socket, settings: Settings, say: Callable[[str], None]) -> None:
    if not settings.keys():
        whoever = "this machine" if is_loopback(settings.host) else "any machine that reaches it"
        log.warning("no API key is configured: any key, or none, from %s is accepted", whoever)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "0.0.0.0"
    port = listener.getsockname()[1]
    say(f"oyez is ready: ws://{host}:{port}{PATH}?model={MODEL_SHOWN}")


async def _drain(server: Server, timeout_s: float, stop_signals: asyncio.Semaphore) -> None:
    draining = asyncio.create_task(server.realtime.drain(timeout_s))
    hurried = asyncio.create_task(stop_signals.acquire())
    await asyncio.wait([draining, hurried], return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        log.warning("second signal: leaving at once")
        draining.cancel()
        await server.realtime.drain(0.0)
    hurried.cancel()


def _count_stop_signals() -> asyncio.Semaphore:
    signals = asyncio.Semaphore(0)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, signals.release)
    return signals
