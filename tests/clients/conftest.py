"""One real server; all client programs that were asked for, several at a time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .programs import PROGRAMS, Program, ToolMissing

SAMPLE = Path(__file__).parents[2] / "src/oyez/assets/two_cities.wav"
READY = re.compile(r"oyez is ready: (ws://[^?\s]+)")
KEY = "test-key-of-our-own-making"
FLAGS = {"vad": [], "manual": ["--manual", "--language", "en"], "wrong-key": []}
TIMEOUT_S = {"vad": 90, "manual": 90, "wrong-key": 15}
PREPARING_S = 600
PROGRAMS_AT_ONCE = 5


@dataclass(frozen=True)
class Outcome:
    """What a client program did."""

    events: list[dict[str, Any]]
    ended: bool
    """Its last line was END-OK: the client's own end of the session went well."""
    exit_code: int | None
    """None: it had to be stopped."""
    errors: str

    def of_type(self, event_type: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == event_type]


Outcomes = Callable[[str, str], Outcome]


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real server that knows one key."""
    log = tmp_path_factory.mktemp("server") / "log"
    command = [sys.executable, "-m", "oyez", "serve", "--port", "0", "--api-key", KEY]
    command += ["--max-load", "0"]  # whoever else works on this machine meanwhile
    command += ["--database", "off"]
    environment = {name: val for name, val in os.environ.items() if not name.startswith("OYEZ_")}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    try:
        yield wait_until_ready(process, log)
    finally:
        process.terminate()
        assert process.wait(60) == 0, log.read_text()


def wait_until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + PREPARING_S
    while time.monotonic() < deadline and process.poll() is None:
        if ready := READY.search(log.read_text()):
            return ready[1]
        time.sleep(0.1)
    pytest.fail(f"the server did not become ready:\n{log.read_text()}")


@pytest.fixture(scope="session")
def outcome_of(request: pytest.FixtureRequest, server_url: str) -> Iterator[Outcomes]:
    """Start every selected (client, scenario) in the background; give each outcome when asked."""
    cache = request.config.cache.mkdir("clients")
    chosen = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    wanted = [(p["client"], p["scenario"]) for p in chosen if "scenario" in p]
    ready: dict[str, Program | ToolMissing] = {}
    for client in dict(wanted):
        try:
            ready[client] = PROGRAMS[client](cache)
        except ToolMissing as missing:
            ready[client] = missing
    with ThreadPoolExecutor(PROGRAMS_AT_ONCE) as pool:
        runs: dict[tuple[str, str], Future[Outcome]] = {}
        for client, scenario in wanted:
            program = ready[client]
            if isinstance(program, Program):
                runs[client, scenario] = pool.submit(run, program, scenario, server_url)

        def outcome(client: str, scenario: str) -> Outcome:
            program = ready[client]
            if isinstance(program, ToolMissing):
                pytest.skip(str(program))
            return runs[client, scenario].result()

        yield outcome


def run(program: Program, scenario: str, url: str) -> Outcome:
    environment = {**os.environ, "DASHSCOPE_API_KEY": KEY, **program.environment}
    if scenario == "wrong-key":
        environment["DASHSCOPE_API_KEY"] = "wrong"
    command = [*program.command, "--url", url, *FLAGS[scenario], str(SAMPLE)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        output, errors = process.communicate(timeout=TIMEOUT_S[scenario])
        exit_code = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        exit_code = None
    lines = output.splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return Outcome(events, lines[-1:] == ["END-OK"], exit_code, errors)
