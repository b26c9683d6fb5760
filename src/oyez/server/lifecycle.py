"""A server's life: take the port, load, listen, serve, drain, leave."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from aiohttp import web

from oyez import __version__
from oyez.accounts.database import DatabaseError
from oyez.metrics import Metrics
from oyez.runtime.loader import Engines, LoadError, load_configured
from oyez.server.access.access import Access, Accounts
from oyez.server.app import Server
from oyez.server.process import listening, packages, resources, signals, tls
from oyez.server.process.bad_requests import log_bad_requests_seldom
from oyez.server.process.connections import max_connections
from oyez.server.process.loop_watch import new_event_loop
from oyez.server.process.reload import Reloader
from oyez.server.process.sd_notify import ServiceManager
from oyez.server.realtime import PATH
from oyez.settings import Settings, service_manager

THREADS_STOP_S = 2.0
LOST_DRAIN_S = 5.0
"""What is said to clients when the engine is lost. There are no finals to wait for."""
LOST_LEAVE_S = 30.0
"""After so long the process is ended where it stands, whatever native code holds it."""
LEDGER_STOP_S = 5.0
MODEL_SHOWN = "qwen3-asr-flash-realtime"

log = logging.getLogger(__name__)


class StartupError(Exception):
    """The server never started; the message says what to do."""


class EngineLostError(Exception):
    """The engine does not come back: the server has left so that it is started again."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is made ready before the event loop runs, because making it blocks."""

    settings: Settings
    listener: socket.socket
    certificate: tls.Certificate | None
    accounts: Accounts
    engines: Engines
    metrics: Metrics
    manager: ServiceManager


def run_server(settings: Settings, say: Callable[[str], None]) -> None:
    """Run until SIGTERM or SIGINT; a second signal does not wait for running turns. SIGHUP
    reloads what `_serve` adds to its `Reloader`. A service manager is told how it goes.

    say: takes progress lines for the operator. Raises SettingsError (keys, certificate) or
    StartupError (port taken, database away, model missing) before it listens, EngineLostError
    after it has left because the engine is lost.
    """
    log_bad_requests_seldom()
    log.info("starting", extra={"fields": {"version": __version__, **settings.changed()}})
    for each in packages.outdated():
        log.warning("%s: not what oyez was made for; install it again", each)
    manager = ServiceManager(*service_manager())

    def tell(line: str) -> None:
        say(line)
        manager.status(line)

    settings.keys()
    certificate = tls.from_settings(settings)
    resources.allow_open_files(max_connections(settings))
    metrics = Metrics()
    try:
        with (
            listening.bind(settings.host, settings.port) as listener,
            _accounts(settings, metrics) as accounts,
        ):
            signals.leave_on_stop()
            # before the event loop, so that a signal ends the loading at once
            engines = _load(settings, tell)
            with closing(engines):
                _check_memory(settings.max_memory_mb, engines)
                prepared = _Prepared(
                    settings, listener, certificate, accounts, engines, metrics, manager
                )
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    runner.run(_serve(prepared, say))
    except (listening.ListenError, DatabaseError) as error:
        raise StartupError(str(error)) from error


@contextmanager
def _accounts(settings: Settings, metrics: Metrics) -> Iterator[Accounts]:
    accounts = Accounts(settings, metrics)
    try:
        yield accounts
    finally:
        accounts.close(LEDGER_STOP_S)


async def _serve(prepared: _Prepared, say: Callable[[str], None]) -> None:
    settings, manager = prepared.settings, prepared.manager
    stops = signals.count_stops()
    reloader = Reloader()
    signals.on_hangup(reload=reloader.ask, stop=stops.release)
    server = Server(settings, prepared.engines, prepared.metrics, prepared.accounts)
    reloader.add("keys", server.access.reload)
    runner = web.AppRunner(
        server.app,
        access_log=None,
        shutdown_timeout=1.0,
        auto_decompress=False,  # nobody makes gigabytes of a few bytes here
        keepalive_timeout=settings.keepalive_timeout_s,
    )
    await runner.setup()
    background = [_watch(each, reloader) for each in [prepared.certificate] if each]
    try:
        accepting = _listen(runner, server, prepared)
        resources.spare_what_stays()
        url = _announce(prepared.listener, settings, server.access, say)
        manager.ready(f"listening on {url}")
        background.append(
            asyncio.create_task(manager.keep_alive(lambda: server.engine_watch.is_alive))
        )
        background.append(asyncio.create_task(resources.tidy_memory(server.connections)))
        await _until_stop(stops, server.engine_watch.lost)
        if is_lost := server.engine_watch.lost.is_set():
            await _give_up_recognition(server)
        log.info("draining: finishing what was said")
        manager.stopping(f"finishing {len(server.realtime.connections)} sessions")
        await _drain(server, LOST_DRAIN_S if is_lost else settings.drain_timeout_s, stops)
        await accepting.close()
    finally:
        await runner.cleanup()
        await asyncio.to_thread(server.realtime.stop, THREADS_STOP_S)
        for task in background:
            task.cancel()
    log.info("stopped")
    if is_lost:
        raise EngineLostError("the engine does not answer any more: see the log")


async def _until_stop(stops: asyncio.Semaphore, lost: asyncio.Event) -> None:
    waiting = [asyncio.create_task(stops.acquire()), asyncio.create_task(lost.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _give_up_recognition(server: Server) -> None:
    """Every item that waits fails, and so does whatever is still said."""
    log.critical("the engine is lost: leaving, to be started again")
    leave_in_any_case = threading.Timer(LOST_LEAVE_S, os.abort)
    leave_in_any_case.daemon = True
    leave_in_any_case.start()
    await asyncio.to_thread(server.realtime.scheduler.stop, 0.0)


def _watch(certificate: tls.Certificate, reloader: Reloader) -> asyncio.Task[None]:
    reloader.add("certificate", certificate.reload)
    return asyncio.create_task(certificate.watch(lambda: reloader.reload("certificate")))


def _listen(runner: web.AppRunner, server: Server, prepared: _Prepared) -> listening.Listening:
    assert runner.server is not None
    return listening.listen(
        prepared.listener,
        runner.server,
        server.connections,
        tls=prepared.certificate.context if prepared.certificate else None,
        shutdown_timeout_s=prepared.settings.slow_reader_timeout_s,
    )


def _check_memory(max_memory_mb: int, engines: Engines) -> None:
    if not max_memory_mb:
        return
    try:
        used_mb = resources.resident_mb(engines.pid)
    except OSError as error:
        raise StartupError(f"max_memory_mb: this system does not tell: {error}") from error
    if used_mb >= max_memory_mb:
        raise StartupError(
            f"max_memory_mb is {max_memory_mb}, but {used_mb:.0f} MiB are in use before the first "
            "session: raise it"
        )


def _load(settings: Settings, say: Callable[[str], None]) -> Engines:
    try:
        return load_configured(settings, say, in_own_process=True)
    except LoadError as error:
        raise StartupError(str(error)) from error


def _announce(
    listener: socket.socket, settings: Settings, access: Access, say: Callable[[str], None]
) -> str:
    """Returns the URL."""
    for line in access.remarks():
        log.warning(line)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "0.0.0.0"
    port = listener.getsockname()[1]
    secure = "s" if settings.tls_cert else ""
    if access.requires_key:
        say("callers need an API key")
    if settings.web_page:
        say(f"web page: http{secure}://{host}:{port}/")
    url = f"ws{secure}://{host}:{port}{PATH}"
    say(f"oyez is ready: {url}?model={MODEL_SHOWN}")
    return url


async def _drain(server: Server, timeout_s: float, stops: asyncio.Semaphore) -> None:
    draining = asyncio.create_task(server.drain(timeout_s))
    hurried = asyncio.create_task(stops.acquire())
    await asyncio.wait([draining, hurried], return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        log.warning("second signal: leaving at once")
        draining.cancel()
        await server.drain(0.0)
    hurried.cancel()
