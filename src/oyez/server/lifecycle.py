"""The life of a server process: prepare, load, listen, serve, drain, exit.

`run_server` does what must happen before the event loop runs, because it blocks; `_serve` is the
rest, on the event loop.
"""

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
from oyez.runtime.loader import Engines, LoadError, load_engines
from oyez.server.access.access import Access, Accounts
from oyez.server.app import Server
from oyez.server.process import listening, resources, signals, tls
from oyez.server.process.connections import limit_bad_request_logs, max_connections
from oyez.server.process.event_loop import new_event_loop
from oyez.server.process.signals import Reloader
from oyez.server.process.watchdog import ServiceManager
from oyez.server.realtime import PATH
from oyez.settings import Settings, service_manager

THREADS_STOP_S = 2.0
"""How long the engine's threads may take to stop."""
LOST_DRAIN_S = 5.0
"""How long a shutdown takes after the engine is lost. There are no finals to wait for."""
LOST_EXIT_S = 30.0
"""The process is aborted this long after the engine is lost, even if native code still runs."""
LEDGER_STOP_S = 5.0
"""How long the last usage records may take to reach the database."""
EXAMPLE_MODEL = "qwen3-asr-flash-realtime"
"""The model's name in the URL that is shown to the operator."""

log = logging.getLogger(__name__)


class StartupError(Exception):
    """The server could not start; the message says what to do."""


class EngineLostError(Exception):
    """The engine does not come back. The server has shut down so that it is started again."""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is made before the event loop runs."""

    settings: Settings
    listener: socket.socket
    certificate: tls.Certificate | None
    accounts: Accounts
    engines: Engines
    metrics: Metrics
    manager: ServiceManager


def run_server(settings: Settings, show: Callable[[str], None]) -> None:
    """Run a server until SIGTERM or SIGINT; a second signal ends it without waiting for turns.

    SIGHUP reloads keys and the certificate. A service manager is kept informed.

    Args:
        settings: All settings.
        show: Takes progress lines for the operator.

    Raises:
        SettingsError: Keys or certificate cannot be used. Raised before the server listens.
        StartupError: The port is taken, the database does not answer, or the model is missing.
            Raised before the server listens.
        EngineLostError: The engine was lost. Raised after the server has shut down.
    """
    limit_bad_request_logs()
    log.info("starting", extra={"fields": {"version": __version__, **settings.changed()}})
    for package in resources.outdated_packages():
        log.warning("%s: not what oyez was made for; install it again", package)
    manager = ServiceManager(*service_manager())

    def show_progress(line: str) -> None:
        show(line)
        manager.status(line)

    # Everything that can be wrong is found before seconds are spent on loading the model.
    settings.keys()
    certificate = tls.from_settings(settings)
    resources.allow_open_files(max_connections(settings))
    metrics = Metrics()
    try:
        with (
            listening.bind(settings.host, settings.port) as listener,
            _open_accounts(settings, metrics) as accounts,
        ):
            # The model is loaded before the event loop runs, so a signal ends loading at once.
            signals.exit_on_sigterm()
            engines = _load(settings, show_progress)
            with closing(engines):
                _check_memory(settings.max_memory_mb, engines)
                prepared = _Prepared(
                    settings, listener, certificate, accounts, engines, metrics, manager
                )
                with asyncio.Runner(loop_factory=new_event_loop) as runner:
                    runner.run(_serve(prepared, show))
    except (listening.ListenError, DatabaseError) as error:
        raise StartupError(str(error)) from error


@contextmanager
def _open_accounts(settings: Settings, metrics: Metrics) -> Iterator[Accounts]:
    accounts = Accounts(settings, metrics)
    try:
        yield accounts
    finally:
        accounts.close(LEDGER_STOP_S)


def _load(settings: Settings, show: Callable[[str], None]) -> Engines:
    try:
        return load_engines(settings, show, in_own_process=True)
    except LoadError as error:
        raise StartupError(str(error)) from error


def _check_memory(max_memory_mb: int, engines: Engines) -> None:
    """Raise StartupError if `max_memory_mb` leaves no memory for a single session."""
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


async def _serve(prepared: _Prepared, show: Callable[[str], None]) -> None:
    settings, manager = prepared.settings, prepared.manager

    # Startup: from now on signals are handled by the event loop.
    stops = signals.count_stop_signals()
    reloader = Reloader()
    signals.on_sighup(reload=reloader.reload_soon, stop=stops.release)
    server = Server(settings, prepared.engines, prepared.metrics, prepared.accounts)
    reloader.add("keys", server.access.reload)
    runner = web.AppRunner(
        server.app,
        access_log=None,
        shutdown_timeout=1.0,
        auto_decompress=False,  # a few compressed bytes could become gigabytes
        keepalive_timeout=settings.keepalive_timeout_s,
    )
    await runner.setup()
    background: list[asyncio.Task[None]] = []
    try:
        # Accept connections, and announce that the server is ready.
        if prepared.certificate is not None:
            background.append(_watch_certificate(prepared.certificate, reloader))
        accepting = _listen(runner, server, prepared)
        resources.freeze_loaded_objects()
        url = _announce(prepared.listener, settings, server.access, show)
        manager.ready(f"listening on {url}")
        background.append(
            asyncio.create_task(manager.keep_alive(lambda: server.engine_watch.is_alive))
        )
        background.append(asyncio.create_task(resources.tidy_memory(server.connections)))

        # Serve until a signal comes, or until the engine is lost.
        await _wait_for_stop(stops, server.engine_watch.lost)
        if is_lost := server.engine_watch.lost.is_set():
            await _fail_recognition(server)

        # Drain: refuse new sessions, and finish the open ones.
        log.info("draining: finishing what was said")
        manager.stopping(f"finishing {len(server.realtime.connections)} sessions")
        await _drain(server, LOST_DRAIN_S if is_lost else settings.drain_timeout_s, stops)

        # Stop accepting connections; until now they got an answer that says why not.
        await accepting.close()
    finally:
        # Close what is still open, then the threads of the engine.
        await runner.cleanup()
        await asyncio.to_thread(server.realtime.stop, THREADS_STOP_S)
        for task in background:
            task.cancel()
    log.info("stopped")
    if is_lost:
        raise EngineLostError("the engine does not answer any more: see the log")


def _watch_certificate(certificate: tls.Certificate, reloader: Reloader) -> asyncio.Task[None]:
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


def _announce(
    listener: socket.socket, settings: Settings, access: Access, show: Callable[[str], None]
) -> str:
    """Show the operator where the server listens and who may use it. Returns the URL."""
    for line in access.remarks():
        log.warning(line)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "0.0.0.0"
    port = listener.getsockname()[1]
    secure = "s" if settings.tls_cert else ""
    if access.requires_key:
        show("callers need an API key")
    if settings.web_page:
        show(f"web page: http{secure}://{host}:{port}/")
    url = f"ws{secure}://{host}:{port}{PATH}"
    show(f"oyez is ready: {url}?model={EXAMPLE_MODEL}")
    return url


async def _wait_for_stop(stops: asyncio.Semaphore, lost: asyncio.Event) -> None:
    """Return after a signal to stop, or when the engine is lost."""
    waiting = [asyncio.create_task(stops.acquire()), asyncio.create_task(lost.wait())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _fail_recognition(server: Server) -> None:
    """Stop the scheduler, so that every item that waits for the engine fails, and every later one
    too. The process is aborted after `LOST_EXIT_S` even if native code does not return."""
    log.critical("the engine is lost: leaving, to be started again")
    abort_later = threading.Timer(LOST_EXIT_S, os.abort)
    abort_later.daemon = True
    abort_later.start()
    await asyncio.to_thread(server.realtime.scheduler.stop, 0.0)


async def _drain(server: Server, timeout_s: float, stops: asyncio.Semaphore) -> None:
    """Finish sessions and files for at most `timeout_s`, or until another signal to stop comes."""
    draining = asyncio.create_task(server.drain(timeout_s))
    hurried = asyncio.create_task(stops.acquire())
    await asyncio.wait([draining, hurried], return_when=asyncio.FIRST_COMPLETED)
    if not draining.done():
        log.warning("second signal: leaving at once")
        draining.cancel()
        await server.drain(0.0)
    hurried.cancel()
