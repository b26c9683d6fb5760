"""A server that runs as it is started: no key, audio or transcript in its log or its metrics."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import signal
from typing import Any

import aiohttp
import pytest

from oyez.engines.base import RecognitionError, Request
from oyez.engines.fake import FakeRecogniser
from oyez.logs import JsonFormatter, TextFormatter
from support.process import ENVIRONMENT, a_process, run_to_end
from support.server import FINISH, MODEL, Client, append, running_server, silence, speech

KEY = "sk-caller-0123456789"
WRONG_KEY = "sk-wrong-9876543210"
METRICS_KEY = "watchers-only-5555-6666"
DATABASE_PASSWORD = "swordfish-4711"
SAID = "xylophone"
"""All the engine ever hears."""
CONTEXT = "zygomorphic"
SECRETS = (KEY, WRONG_KEY, METRICS_KEY, SAID, CONTEXT, "caller-made-up")
AUDIO = base64.b64encode(speech(0.01)).decode()[40:100]


def assert_tells_nothing(text: str) -> None:
    for secret in (*SECRETS, AUDIO):
        assert secret not in text, f"{secret} in: {text}"


async def misbehave(client: Client) -> None:
    """Everything that makes an error, with something in it that is nobody else's business."""
    await client.until("session.created")
    context = {"input_audio_transcription": {"corpus": {"text": CONTEXT}}}
    await client.send(
        json.dumps({"event_id": "caller-made-up", "type": "session.update", "session": context}),
        json.dumps({"type": "session.update", "session": {"caller-made-up": CONTEXT}}),
        json.dumps({"type": "caller-made-up"}),
        '{"caller-made-up',
        json.dumps({"type": "input_audio_buffer.append", "audio": "caller-made-up!"}),
        json.dumps({"type": "session.update", "session": {"input_audio_format": CONTEXT}}),
        append(speech(1.5) + silence(1.0)),
    )


async def test_a_program_logs_nothing_that_is_secret() -> None:
    environment = {
        **ENVIRONMENT,
        "OYEZ_API_KEY": KEY,
        "OYEZ_METRICS_KEY": METRICS_KEY,
    }
    flags = ("--log-level", "info", "--log-format", "json", "--sessions-per-second", "2")
    with a_process(*flags, environment=environment) as (process, url, lines):
        async with aiohttp.ClientSession() as http:
            for key in (WRONG_KEY, KEY, KEY, KEY):
                headers = {"Authorization": f"Bearer {key}"}
                with contextlib.suppress(aiohttp.WSServerHandshakeError):
                    socket = await http.ws_connect(f"{url}?model={MODEL}", headers=headers)
                    client = Client(socket)
                    await misbehave(client)
                    await client.until("completed")
                    await client.send(FINISH)
                    await client.until("session.finished")
                    await socket.close(message=b"caller-made-up")
            address = url.replace("ws:", "http:").partition("/api-ws")[0]
            headers = {"Authorization": f"Bearer {METRICS_KEY}"}
            async with http.get(f"{address}/metrics", headers=headers) as response:
                shown = await response.text()
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        text = "".join(lines) + process.stderr.read()
    assert_tells_nothing(text)
    assert_tells_nothing(shown)
    logged = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    starting = next(line for line in logged if line["message"] == "starting")
    assert starting["api_key"] == ["********"]
    assert starting["metrics_key"] == "********"
    assert starting["engine"] == "fake"
    assert starting["version"]
    ended = [line for line in logged if line["message"] == "session ended"]
    assert len(ended) == 2
    for line in ended:
        assert line["session"].startswith("sess_")
        assert line["errors"] >= 4
        assert line["finals"] == line["turns"] == 1
        assert line["audio_s"] == 2.5
        assert line["close_code"] == 1000
        assert line["close_reason"] == "the client left"


@pytest.mark.parametrize("password", [DATABASE_PASSWORD, f"half@{DATABASE_PASSWORD}"])
def test_a_database_that_is_not_there_is_named_without_its_password(password: str) -> None:
    done = run_to_end("--port", "0", "--database", f"postgresql://u:{password}@127.0.0.1:1/d")
    assert done.returncode != 0
    assert "database" in done.stderr.splitlines()[-1]
    assert DATABASE_PASSWORD not in done.stderr + done.stdout


class _Everything(logging.Handler):
    """Lines in both forms, tracebacks included."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += [TextFormatter().format(record), JsonFormatter().format(record)]


async def run_sessions(engine: FakeRecogniser, ends: str, **settings: Any) -> str:
    """All that is logged while sessions misbehave."""
    everything = _Everything()
    logger = logging.getLogger("oyez")
    level = logger.level
    logger.addHandler(everything)
    logger.setLevel(logging.INFO)
    try:
        async with running_server(engine, api_key=KEY, **settings) as running:
            await running.upgrade(Authorization=f"Bearer {WRONG_KEY}")
            client = await running.connect(key=KEY)
            await misbehave(client)
            await client.until(ends)
            client.vanish()
            await running.assert_nothing_left()
            assert_tells_nothing(running.server.metrics.exposition().decode())
    finally:
        logger.removeHandler(everything)
        logger.setLevel(level)
    return "\n".join(everything.lines)


async def test_what_was_said_is_not_logged() -> None:
    text = await run_sessions(FakeRecogniser(lambda request: SAID), "completed")
    assert "session ended" in text
    assert_tells_nothing(text)


@pytest.mark.parametrize("error", [RecognitionError, ValueError])
async def test_nor_is_it_when_the_engine_fails(error: type[Exception]) -> None:
    def broken(request: Request) -> str:
        raise error("no words")

    text = await run_sessions(FakeRecogniser(broken), "failed")
    assert "failed=1" in text
    assert_tells_nothing(text)
