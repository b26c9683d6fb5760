"""The client against a real server, and against servers that misbehave."""

from __future__ import annotations

import ssl

import pytest
import trustme
from aiohttp import web

from oyez.client import Captions, ClientError, SessionOptions, Target, normalised, open_session
from support.server import running_server, silence, speech


async def texts(target: Target, options: SessionOptions, audio: bytes) -> list[tuple[str, str]]:
    """(language, text) of each utterance."""
    captions, found = Captions(), []
    async with open_session(target, options) as session:
        await session.send(audio)
        await session.finish()
        async for event, _ in session.events():
            if over := captions.take(event):
                found.append((over.language, over.text))
    return found


async def test_what_is_said_comes_back() -> None:
    audio = silence(0.5) + speech(2.0) + silence(1.0)
    async with running_server() as server:
        found = await texts(Target(f"ws://{server.address}"), SessionOptions("fr"), audio)
        await server.assert_nothing_left()
    ((language, text),) = found
    assert language == "fr"
    assert text.startswith("one two three")


async def test_the_key_gives_access_and_is_never_shown() -> None:
    async with running_server(api_key="hush-hush-very-secret") as server:
        url = f"http://{server.address}/"
        await texts(Target(url, "hush-hush-very-secret"), SessionOptions(), silence(0.1))
        with pytest.raises(ClientError, match="OYEZ_API_KEY") as refused:
            await texts(Target(url, "wrong-key"), SessionOptions(), b"")
    assert "wrong-key" not in str(refused.value)


async def test_a_full_server_says_when_to_come_again() -> None:
    async with running_server(max_sessions=1) as server:
        target = Target(f"ws://{server.address}")
        async with open_session(target, SessionOptions()):
            with pytest.raises(ClientError, match=r"full.*try again in \d+ s"):
                await texts(target, SessionOptions(), b"")


async def test_an_unknown_model_is_an_error() -> None:
    async with running_server() as server:
        with pytest.raises(ClientError, match="does not serve this model"):
            await texts(Target(f"ws://{server.address}?model=nosuch"), SessionOptions(), b"")


async def test_a_refused_option_is_an_error() -> None:
    async with running_server() as server:
        with pytest.raises(ClientError, match="Supported values"):
            await texts(Target(f"ws://{server.address}"), SessionOptions("tlh"), b"")


async def test_no_server_is_an_error(unused_tcp_port: int) -> None:
    with pytest.raises(ClientError, match="is the server running there"):
        await texts(Target(f"ws://127.0.0.1:{unused_tcp_port}"), SessionOptions(), b"")


async def test_a_server_of_another_protocol_is_an_error() -> None:
    async def nonsense(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        return socket

    app = web.Application()
    app.router.add_get("/chat", nonsense)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        with pytest.raises(ClientError, match="does not speak the protocol"):
            await texts(Target(f"ws://{host}:{port}/chat"), SessionOptions(), b"")
        with pytest.raises(ClientError, match="no such endpoint"):
            await texts(Target(f"ws://{host}:{port}"), SessionOptions(), b"")
    finally:
        await runner.cleanup()


async def test_tls_is_asked_for_and_certificates_are_judged() -> None:
    authority = trustme.CA()
    mine = authority.issue_cert("127.0.0.1")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    mine.configure_cert(context)
    runner = web.AppRunner(web.Application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        host, port = runner.addresses[0][:2]
        with pytest.raises(ClientError, match="SSL_CERT_FILE"):
            await texts(Target(f"wss://{host}:{port}"), SessionOptions(), b"")
        with pytest.raises(ClientError, match="wss://"):
            await texts(Target(f"ws://{host}:{port}"), SessionOptions(), b"")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("ws://a:1", "ws://a:1/api-ws/v1/realtime?model=qwen3-asr-flash-realtime"),
        ("https://a/", "wss://a/api-ws/v1/realtime?model=qwen3-asr-flash-realtime"),
        ("wss://a/x?model=m", "wss://a/x?model=m"),
    ],
)
def test_an_address_is_completed(url: str, whole: str) -> None:
    assert normalised(url) == whole


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://a", "ws://", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(ClientError, match="ws://HOST:PORT"):
        normalised(url)
