"""Sessions through nginx and Caddy, with exactly the files of `deploy/`."""

from __future__ import annotations

import asyncio
import io
import signal
import subprocess
import wave
from collections.abc import Iterator
from contextlib import AbstractContextManager, AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from oyez.server.realtime import PATH
from support.keys import own_key
from support.process import a_process, later_line
from support.proxies import DEPLOY, caddy, nginx, substituted, trust
from support.server import FINISH, MODEL, Client, append, silence, speech

KEY = own_key("of-a-client")
FLAGS = ["--trusted-proxies", "127.0.0.1", "--ping-interval-s", "0.5", "--api-key", KEY]
IMPATIENT = {"read_timeout      90s": "read_timeout 2s"}
"""nginx gives up on a connection that is silent for so long."""
PATHS = """
server {
    listen 127.0.0.1:PORT ssl;
    ssl_certificate CERT;
    ssl_certificate_key KEY;
    include %s;
}
"""


@pytest.fixture(scope="module")
def oyez() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """It trusts proxies on this machine. With its URL."""
    with a_process(*FLAGS) as (process, url, _):
        yield process, url


@pytest.fixture(scope="module")
def backend(oyez: tuple[subprocess.Popen[str], str]) -> str:
    """Where oyez listens."""
    return oyez[1].split("/")[2]


@pytest.fixture(scope="module", params=["nginx", "nginx, under a path", "caddy"])
def site(
    request: pytest.FixtureRequest, backend: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where clients find oyez: https://…"""
    folder = tmp_path_factory.mktemp("proxy")
    to_backend = {"127.0.0.1:8080": backend}
    proxy: AbstractContextManager[int]
    if request.param == "caddy":
        proxy, path = caddy(folder, to_backend), ""
    elif request.param == "nginx":
        proxy, path = nginx(folder, {**to_backend, **IMPATIENT}), ""
    else:
        example = (DEPLOY / "nginx" / "oyez-path.conf").read_text()
        impatient = {"read_timeout      90s": "read_timeout 2s"}
        (folder / "path.conf").write_text(substituted(example, {**to_backend, **impatient}))
        proxy, path = nginx(folder, {}, site=PATHS % (folder / "path.conf")), "/asr"
    with proxy as port:
        yield f"https://127.0.0.1:{port}{path}"


def through_tls(**options: Any) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {KEY}"}
    connector = aiohttp.TCPConnector(ssl=trust(), **options)
    return aiohttp.ClientSession(connector=connector, headers=headers)


async def test_a_session(site: str) -> None:
    async with through_tls() as http, http.ws_connect(f"{site}{PATH}?model={MODEL}") as socket:
        client = Client(socket)
        await client.until("session.created")
        await client.send(append(speech(1.0) + silence(1.5)))
        assert (await client.until("completed"))["transcript"]
        await asyncio.sleep(3.0)  # longer than nginx waits: pings must keep it open
        await client.send(append(speech(33.0)))  # 1 MB
        await client.until("text", timeout_s=20.0)
        await client.send(FINISH)
        await client.until("session.finished", timeout_s=20.0)
        assert client.types.count("completed") == 2


async def test_a_file(site: str) -> None:
    said = io.BytesIO()
    with wave.open(said, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(speech(1.5) + silence(1.0))
    form = aiohttp.FormData({"model": "whisper-1", "stream": "true"})
    form.add_field("file", said.getvalue(), filename="said.wav")
    async with (
        through_tls() as http,
        http.post(f"{site}/v1/audio/transcriptions", data=form) as answer,
    ):
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        events = (await answer.text()).split("\n\n")
    assert "transcript.text.delta" in events[0]
    assert any("transcript.text.done" in event for event in events)


async def test_the_page(site: str) -> None:
    async with through_tls() as http:
        for path in ("/", "/page/theme.css", "/page/main.js", "/docs"):
            assert await status(http, site + path) == 200, path


async def test_the_log_names_the_client(site: str, oyez: tuple[subprocess.Popen[str], str]) -> None:
    address = "127.0.0.3"
    lying = {"X-Forwarded-For": "198.51.100.1"}
    async with through_tls(local_addr=(address, 0)) as http:
        url = f"{site}{PATH}?model={MODEL}"
        async with http.ws_connect(url, headers=lying) as socket:
            await Client(socket).until("session.created")
    line = await asyncio.to_thread(later_line, oyez[0], f"client={address}")
    assert "session ended" in line


async def test_metrics_are_not_for_everybody(site: str) -> None:
    outside = ("127.0.0.2", 0)
    async with through_tls(local_addr=outside) as http:
        async with http.get(f"{site}/metrics") as metrics:
            assert metrics.status == 403
        async with http.get(f"{site}/readyz") as ready:
            assert (ready.status, (await ready.json())["status"]) == (200, "ready")


async def test_nginx_limits_what_one_address_may_do(backend: str, tmp_path: Path) -> None:
    slowed = {"127.0.0.1:8080": backend, "rate=20r/s": "rate=1r/s"}
    with nginx(tmp_path, slowed) as port:
        site = f"https://127.0.0.1:{port}"
        async with through_tls() as http:
            declared = {"Content-Length": str(220 * 1024 * 1024)}
            async with http.post(f"{site}/v1/audio/transcriptions", headers=declared) as large:
                assert large.status == 413
            answers = [await status(http, f"{site}/healthz") for _ in range(70)]
    assert answers[:50] == [200] * 50
    assert answers[-1] == 429


async def status(http: aiohttp.ClientSession, url: str) -> int:
    async with http.get(url) as response:
        return response.status


async def test_a_rolling_restart_is_noticed_by_nobody(tmp_path: Path) -> None:
    """Two servers behind nginx; one leaves while its session talks."""
    second = "# server 127.0.0.1:8081 max_fails=0 backup;"
    with a_process(*FLAGS) as (one, one_url, _), a_process(*FLAGS) as (_other, other_url, _lines):
        ports = {
            second: second.removeprefix("# "),
            "127.0.0.1:8080": one_url.split("/")[2],
            "127.0.0.1:8081": other_url.split("/")[2],
        }
        with nginx(tmp_path, ports) as port:
            url = f"https://127.0.0.1:{port}{PATH}?model={MODEL}"
            async with through_tls() as http, AsyncExitStack() as open_sockets:
                clients: list[Client] = []
                reading = []

                async def speak() -> Client:
                    socket = await open_sockets.enter_async_context(http.ws_connect(url))
                    clients.append(Client(socket))
                    await clients[-1].send(append(silence(0.5) + speech(1.5)))
                    return clients[-1]

                for _ in range(4):
                    client = await speak()
                    await client.until("speech_started")
                    reading.append(asyncio.create_task(client.until("session.finished", 30.0)))
                one.send_signal(signal.SIGTERM)
                for _ in range(6):
                    client = await speak()
                    reading.append(asyncio.create_task(client.until("session.finished", 30.0)))
                assert await asyncio.to_thread(one.wait, 20.0) == 0
                for client in clients:
                    with suppress(ConnectionError):  # its server has left
                        await client.send(FINISH)
                await asyncio.gather(*reading)
                assert [client.types.count("completed") for client in clients] == [1] * 10
