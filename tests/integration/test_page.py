from __future__ import annotations

import gzip

import pytest

from oyez.engines.base import LANGUAGES
from oyez.server.realtime import PATH
from support.keys import own_key
from support.server import running_server

KEY = own_key("secret")


async def test_the_page_is_at_the_root_and_locked_down() -> None:
    async with running_server(api_key=KEY) as running:
        status, body, response = await running.get("/")
        assert status == 200
        assert response.content_type == "text/html"
        assert "<title>oyez" in body
        policy = response.headers["Content-Security-Policy"].split("; ")
        assert "default-src 'self'" in policy
        assert "connect-src 'self'" in policy
        assert not any("unsafe" in rule for rule in policy)
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert KEY not in body


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("main.js", "text/javascript"),
        ("style.css", "text/css"),
        ("icon.svg", "image/svg+xml"),
        ("two_cities.wav", "audio/wav"),
    ],
)
async def test_every_part_has_its_type(name: str, content_type: str) -> None:
    async with running_server() as running:
        response = await running.http.get(f"http://{running.address}/page/{name}")
        assert response.status == 200
        assert response.content_type == content_type
        assert len(await response.read()) > 100


@pytest.mark.parametrize("name", ["nothing.js", "..%2flogs.py", "__init__.py", ""])
async def test_nothing_else_is_served(name: str) -> None:
    async with running_server() as running:
        assert (await running.get(f"/page/{name}"))[0] == 404


async def test_an_unchanged_file_is_not_sent_again() -> None:
    async with running_server() as running:
        _, _, first = await running.get("/page/main.js")
        assert first.headers["Cache-Control"] == "no-cache"
        tag = first.headers["ETag"]
        status, body, again = await running.get("/page/main.js", **{"If-None-Match": tag})
        assert (status, body) == (304, "")
        assert again.headers["ETag"] == tag
        assert (await running.get("/page/main.js", **{"If-None-Match": '"other"'}))[0] == 200


async def test_text_is_packed_for_those_who_unpack_it() -> None:
    async with running_server() as running:
        running.http._auto_decompress = False
        url = f"http://{running.address}/page/style.css"
        async with running.http.get(url, headers={"Accept-Encoding": "gzip"}) as response:
            packed = await response.read()
        async with running.http.get(url, headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            assert gzip.decompress(packed) == await response.read()


async def test_the_page_learns_the_languages_from_the_server() -> None:
    async with running_server() as running:
        status, config, response = await running.get("/page/config.json")
        assert status == 200
        assert config["languages"] == list(LANGUAGES)
        assert config["model"].startswith("qwen3-asr-flash-realtime")
        assert response.headers["Cache-Control"] == "no-cache"


async def test_the_page_can_be_left_out() -> None:
    async with running_server(web_page=False) as running:
        assert (await running.get("/"))[0] == 404
        assert (await running.get("/page/main.js"))[0] == 404


async def test_a_plain_request_is_refused_as_an_upgrade_would_be() -> None:
    """A browser is not told why a WebSocket did not open; the page asks again without one."""
    async with running_server(api_key=KEY, max_sessions=1) as running:
        assert (await running.get(PATH, Authorization="Bearer bad"))[0] == 401
        assert (await running.get(PATH, Authorization=f"Bearer {KEY}"))[0] == 426
        client = await running.connect(key=KEY)
        assert (await running.get(PATH, Authorization=f"Bearer {KEY}"))[0] == 503
        assert not client.socket.closed
        assert running.server.realtime.admission.open_sessions == 1


async def test_asking_why_does_not_count_against_the_rate_of_new_sessions() -> None:
    async with running_server(api_key=KEY, sessions_per_second=1) as running:
        for _ in range(3):
            assert (await running.get(PATH, Authorization=f"Bearer {KEY}"))[0] == 426
        await running.connect(key=KEY)
        assert (await running.get(PATH, Authorization=f"Bearer {KEY}"))[0] == 429
