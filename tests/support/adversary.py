"""A measured server under attack, with bystanders, and what must hold meanwhile and afterwards."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from support.blocking_websocket import BlockingWebSocket
from support.bystanders import Account
from support.process import ENVIRONMENT, READY
from support.raw_http import ask

ATTACKER = "attacker-00000000000000000000000000"
SPEAKER = "speaker-111111111111111111111111111"
ELSEWHERE = "127.0.0.2"
"""Where attackers without a key come from: not the prober's address."""

MAX_ITERATION_S = 0.020
MAX_PROBE_MEDIAN_S = 0.1
MAX_PROBE_S = 1.0
MAX_GROWTH_MB = 64.0
MAX_LEFT_MB = 20.0
MAX_LEFT_BY_ALL_MB = 48.0
"""Of all attacks on one server: no attack adds to what the one before has left."""
MAX_LATER = 1.5
LATER_ALLOWED_S = 0.25
"""Alone, a final of the fake engine comes at once: 1.5 times nothing is no bound."""
SETTLE_S = 4.0
MAX_LOG_BYTES = 256 * 1024
MAX_DESCRIPTORS_LEFT = 8
HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
FAULTS = re.compile(r"Traceback|internal error|exception was never retrieved", re.IGNORECASE)
TESTS = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Tolerated:
    """What one attack may do beyond what all may; with the reason where it is used."""

    iteration_s: float = MAX_ITERATION_S
    """Of all that is done in one iteration of the event loop. A single callback never may more than
    MAX_ITERATION_S."""
    growth_mb: float = MAX_GROWTH_MB
    probe_s: float = MAX_PROBE_S
    probe_median_s: float = MAX_PROBE_MEDIAN_S
    failed_probes: int = 0


class MeasuredServer:
    """`oyez serve` in a process of its own, with what is measured of it and with bystanders."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log_path = log
        self.address = self._wait_until_ready()
        self._figures = socket.socket(socket.AF_UNIX)
        self._figures.connect(str(folder / "figures"))
        self._answers = self._figures.makefile("rb")
        self._bystanders: subprocess.Popen[str] | None = None
        self.tls: ssl.SSLContext | None = None
        self.alone = Account()
        self.start_mb = 0.0

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    @property
    def resident_mb(self) -> float:
        return self._status_mb("VmRSS")

    @property
    def peak_mb(self) -> float:
        """Most resident memory since `take_figures`."""
        return self._status_mb("VmHWM")

    @property
    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def waited_s(self) -> float:
        """How long the event loop's thread would have run if there had been a processor for it."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9

    def take_figures(self) -> dict[str, Any]:
        """The event loop's figures since the last time; they and the peak of memory start anew."""
        self._figures.sendall(b"?")
        figures = json.loads(self._answers.readline())
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        return dict(figures)

    def answers(self) -> bool:
        """Wait until the event loop serves a new request; whether it did in time."""
        return bool(ask(self.address, HEALTH, seconds=30.0, tls=self.tls))

    def session(self, **options: Any) -> BlockingWebSocket:
        """A session of the attacker's key."""
        return BlockingWebSocket(self.address, ATTACKER, **options)

    def begin_bystanders(self) -> None:
        self._tell("begin")

    def end_bystanders(self) -> Account:
        self._tell("end")
        assert self._bystanders and self._bystanders.stdout
        return Account(**json.loads(self._bystanders.stdout.readline()))

    def invite(self, ca_file: str, wav_file: str, seconds: float) -> None:
        """Bring the bystanders, and note how they fare alone."""
        self.tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
        command = [sys.executable, "-m", "support.bystanders", self.address, SPEAKER]
        self._bystanders = subprocess.Popen(
            [*command, ca_file, wav_file],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=TESTS,
        )  # fmt: skip
        self.begin_bystanders()
        time.sleep(seconds)
        self.alone = self.end_bystanders()
        assert self.alone.finished and not self.alone.failures, self.alone
        self.take_figures()
        self.start_mb = self.resident_mb

    def close(self) -> None:
        if self._bystanders:
            assert self._bystanders.stdin and self._bystanders.stdout
            self._bystanders.stdin.close()
            self._bystanders.kill()
            self._bystanders.wait()
            self._bystanders.stdout.close()
        self._answers.close()
        self._figures.close()

    def _tell(self, line: str) -> None:
        assert self._bystanders and self._bystanders.stdin
        self._bystanders.stdin.write(line + "\n")
        self._bystanders.stdin.flush()

    def _wait_until_ready(self) -> str:
        for _ in range(600):
            if found := READY.search(self.log):
                return f"127.0.0.1:{found[2]}"
            assert self.process.poll() is None, self.log
            time.sleep(0.1)
        raise AssertionError("the server did not become ready:\n" + self.log)

    def _status_mb(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        assert found, f"the server's process has ended:\n{self.log[-2000:]}"
        return int(found[1]) / 1024


@contextmanager
def measured_server(
    folder: Path,
    *flags: str,
    delay_s: float = 0.0,
    engine: str = "fake",
    vad: str = "energy",
    ca_file: str = "",
    wav_file: str = "",
    alone_s: float = 1.5,
) -> Iterator[MeasuredServer]:
    """A server with two keys: ATTACKER's and SPEAKER's. delay_s: what each call of the fake engine
    takes. wav_file: what the speaker says, instead of noise. alone_s: how long bystanders are
    watched without an attack."""
    keys = [f"--api-key={ATTACKER}", f"--api-key={SPEAKER}", "--sessions-per-second=10000"]
    engines = [f"--engine={engine}", f"--vad={vad}", "--database=off", "--port=0"]
    script = TESTS / "support" / "measured_serve.py"
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), str(folder / "figures"), str(delay_s),
             *engines, *keys, *flags],
            stdout=output, stderr=output, env=ENVIRONMENT,
        )  # fmt: skip
    server = None
    try:
        server = MeasuredServer(folder, process, log)
        server.invite(ca_file, wav_file, alone_s)
        yield server
        left_mb = server.resident_mb - server.start_mb
        assert left_mb < MAX_LEFT_BY_ALL_MB, f"{left_mb:.0f} MB more memory after all attacks"
    finally:
        if server:
            server.close()
        process.kill()
        process.wait()


class Watch:
    """What is wrong so far, while an attack goes on."""

    def __init__(self, server: MeasuredServer, allowed: Tolerated) -> None:
        self._server, self._allowed = server, allowed
        self.began_mb = server.resident_mb
        self.complaints: list[str] = []

    def attack(self, name: str, act: Callable[[], object]) -> None:
        """Do this, and look at the event loop and the memory. What is found is noted, under this
        name, when it is found again in a second try: on a busy machine everything takes longer at
        times, but what is the attack's fault happens each time."""
        for is_last in (False, True):
            self._server.take_figures()
            act()
            self._server.answers()
            if not (found := list(self.look())):
                return
            if is_last:
                self.complaints += [f"{name}: {each}" for each in found]

    def is_cheap(self, act: Callable[[], object]) -> bool:
        """The same for generated attacks: whether nothing is found. `act` waits for an answer."""
        for _ in range(2):
            self._server.take_figures()
            act()
            if not list(self.look()):
                return True
        return False

    def look(self) -> Iterator[str]:
        """What is wrong since the figures were taken."""
        peak_mb, figures = self._server.peak_mb, self._server.take_figures()
        iteration_s, callback_s = figures["longest_iteration_s"], figures["longest_callback_s"]
        if iteration_s > self._allowed.iteration_s or callback_s > MAX_ITERATION_S:
            garbage_ms = 1000 * figures["longest_collection_s"]
            yield (
                f"an iteration of the event loop took {1000 * iteration_s:.0f} ms of CPU: "
                f"{figures['longest_iteration']}; {figures['longest_callback']} took "
                f"{1000 * callback_s:.0f} ms; collecting garbage at most {garbage_ms:.0f} ms"
            )
        if (grown_mb := peak_mb - self.began_mb) > self._allowed.growth_mb:
            yield f"{grown_mb:.0f} MB more memory during the attack"


@contextmanager
def bystanders(server: MeasuredServer, allowed: Tolerated = Tolerated()) -> Iterator[Watch]:
    """Whatever is done inside harms no other client: iterations of the event loop and memory are
    bounded in each `attack`, delays of others are bounded, nothing is lost, and afterwards all of
    it is over. The test fails with every complaint."""
    watch = Watch(server, allowed)
    server.take_figures()
    log_bytes, descriptors = len(server.log), server.descriptors
    began_s, waited_s = time.monotonic(), server.waited_s
    server.begin_bystanders()
    try:
        yield watch
    except BaseException as error:
        error.add_note("\n".join(watch.complaints))
        raise
    finally:
        account = server.end_bystanders()
    waiting = (server.waited_s - waited_s) / (time.monotonic() - began_s)
    complaints = [
        *watch.complaints,
        *_about_bystanders(account, server.alone, allowed, 1 / max(1 - waiting, 0.1)),
        *_about_memory(server, watch.began_mb),
    ]
    log = server.log[log_bytes:]
    if len(log) > MAX_LOG_BYTES:
        complaints.append(f"{len(log)} bytes of log")
    if found := FAULTS.search(log):
        complaints.append(f"in the log: {log[max(0, found.start() - 200) : found.end() + 1500]}")
    if (left := server.descriptors - descriptors) > MAX_DESCRIPTORS_LEFT:
        complaints.append(f"{left} descriptors are left open")
    if complaints:
        pytest.fail("\n".join(complaints), pytrace=False)


def _about_bystanders(
    account: Account, alone: Account, allowed: Tolerated, slowness: float
) -> Iterator[str]:
    """slowness: how many times longer everything takes because other processes had the processors:
    delays are judged as if there had been one for the server."""
    if len(account.failed_probes) > allowed.failed_probes:
        yield f"/healthz failed {len(account.failed_probes)} times: {account.failed_probes[:3]}"
    probes_s = [each / slowness for each in account.probes_s]
    if probes_s and (median(probes_s) > allowed.probe_median_s or max(probes_s) > allowed.probe_s):
        yield (
            f"/healthz: median {1000 * median(probes_s):.0f} ms, at worst "
            f"{1000 * max(probes_s):.0f} ms (times {slowness:.1f})"
        )
    if account.failures:
        yield f"the speaker's session: {account.failures[:3]}"
    if not account.finished:
        yield "the speaker's session was not finished"
    if account.answered != account.committed:
        yield f"the speaker lost {set(account.committed) - set(account.answered)}"
    # what is said repeats, and only the first turn may differ from those after it
    if strange := set(account.transcripts[1:]) - set(alone.transcripts):
        yield f"the speaker's words changed: {strange} instead of {set(alone.transcripts)}"
    delays_s = [round(each / slowness, 2) for each in account.delays_s]
    if delays_s and max(delays_s) > MAX_LATER * max(alone.delays_s) + LATER_ALLOWED_S:
        alone_s = [round(each, 2) for each in alone.delays_s]
        yield (
            f"the speaker's finals came after {delays_s} s (times {slowness:.1f}), alone after "
            f"{alone_s} s"
        )


def _about_memory(server: MeasuredServer, began_mb: float) -> Iterator[str]:
    until_s = time.monotonic() + SETTLE_S
    while server.resident_mb - began_mb > MAX_LEFT_MB and time.monotonic() < until_s:
        time.sleep(0.1)
    if (left_mb := server.resident_mb - began_mb) > MAX_LEFT_MB:
        yield f"{left_mb:.0f} MB more memory {SETTLE_S} s after the attack"


def for_seconds(seconds: float) -> Iterator[int]:
    """Count until the time is over."""
    until_s = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until_s:
        yield count
        count += 1


@contextmanager
def many_descriptors() -> Iterator[None]:
    """This process may open as many as the system allows it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
