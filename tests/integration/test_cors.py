"""Which web pages may call `/v1/…` and read its answers, with the requests of a browser."""

from __future__ import annotations

import aiohttp
import pytest
from multidict import CIMultiDict

from support.keys import own_key
from support.media import encoded, tone
from support.server import RunningServer, running_server

PAGE, OTHER = "https://captions.example.org", "https://other.example.org"
GOOD = own_key("good")
MODELS, FILES = "/v1/models", "/v1/audio/transcriptions"
ALLOW = "Access-Control-Allow-"


async def ask(
    running: RunningServer, method: str, path: str, origin: str | None, **headers: str
) -> tuple[int, CIMultiDict[str]]:
    """Send a request; return the status and the headers of its answer."""
    if origin:
        headers["Origin"] = origin
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as http:
        url = f"http://{running.address}{path}"
        async with http.request(method, url, headers=sent) as response:
            await response.read()
            return response.status, CIMultiDict(response.headers)


async def preflight(
    running: RunningServer, origin: str, path: str = FILES, headers: str = "authorization"
) -> tuple[int, CIMultiDict[str]]:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": headers,
    }
    return await ask(running, "OPTIONS", path, origin, **asked)


def cors(headers: CIMultiDict[str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("Access-Control")}


async def test_a_listed_page_may_ask_and_read() -> None:
    async with running_server(api_key=GOOD, allowed_origins=PAGE) as running:
        status, headers = await preflight(running, PAGE)
        assert status == 204
        assert headers[ALLOW + "Origin"] == PAGE
        assert headers[ALLOW + "Methods"] == "GET, POST"
        assert headers[ALLOW + "Headers"] == "Authorization, X-API-Key, Content-Type"
        assert ALLOW + "Credentials" not in headers
        status, headers = await ask(running, "GET", MODELS, PAGE, Authorization=f"Bearer {GOOD}")
        assert (status, headers[ALLOW + "Origin"], headers["Vary"]) == (200, PAGE, "Origin")


async def test_errors_can_be_read_too_with_when_to_try_again() -> None:
    async with running_server(api_key=GOOD, allowed_origins=PAGE, sessions_per_second=1) as running:
        for key, wanted in [("bad", 401), (GOOD, 400), (GOOD, 429)]:
            status, headers = await ask(running, "POST", FILES, PAGE, Authorization=f"Bearer {key}")
            assert (status, headers[ALLOW + "Origin"]) == (wanted, PAGE)
            assert headers["Access-Control-Expose-Headers"] == "Retry-After"
        assert headers["Retry-After"]
        status, headers = await ask(running, "GET", "/v1/nothing", PAGE)
        assert (status, headers[ALLOW + "Origin"]) == (404, PAGE)


async def test_a_stream_can_be_read_by_a_listed_page() -> None:
    async with running_server(allowed_origins=PAGE) as running, aiohttp.ClientSession() as http:
        form = aiohttp.FormData({"model": "x", "stream": "true"})
        form.add_field("file", encoded(tone(1.0), "wav", "pcm_s16le"), filename="a.wav")
        url = f"http://{running.address}{FILES}"
        async with http.post(url, data=form, headers={"Origin": PAGE}) as response:
            assert response.content_type == "text/event-stream"
            assert response.headers[ALLOW + "Origin"] == PAGE


@pytest.mark.parametrize("allowed", [PAGE, ()])
async def test_other_pages_get_no_cors_headers(allowed: object) -> None:
    async with running_server(api_key=GOOD, allowed_origins=allowed) as running:
        status, headers = await preflight(running, OTHER)
        assert (status, cors(headers)) == (405, {})
        for origin in (OTHER, f"{PAGE}.evil.example", f"{PAGE}:444", "null", None):
            _, headers = await ask(running, "GET", MODELS, origin, Authorization=f"Bearer {GOOD}")
            assert cors(headers) == {}
            assert ("Origin" in headers.get("Vary", "")) == bool(allowed), "for caches"


async def test_only_the_files_api_is_open_to_them() -> None:
    async with running_server(allowed_origins=PAGE) as running:
        for path in ("/readyz", "/metrics", "/docs", "/api-ws/v1/realtime"):
            _, headers = await ask(running, "GET", path, PAGE)
            assert cors(headers) == {}
        assert cors((await preflight(running, PAGE, "/metrics"))[1]) == {}


async def test_all_pages_can_be_allowed() -> None:
    async with running_server(allowed_origins="*") as running:
        status, headers = await preflight(running, OTHER)
        assert (status, headers[ALLOW + "Origin"]) == (204, "*")
        assert "Authorization" in headers[ALLOW + "Headers"], "a * would not mean this one"
        status, headers = await ask(running, "GET", MODELS, OTHER)
        assert (status, headers[ALLOW + "Origin"]) == (200, "*")
        assert ALLOW + "Credentials" not in headers and "Vary" not in headers


async def test_headers_of_openais_library_in_a_browser_are_allowed() -> None:
    async with running_server(allowed_origins=PAGE) as running:
        _, headers = await preflight(
            running, PAGE, headers="authorization,x-stainless-os, x-stainless-lang,x-forwarded-for"
        )
        allowed = headers[ALLOW + "Headers"].split(", ")
        assert {"x-stainless-os", "x-stainless-lang"} < set(allowed)
        assert "x-forwarded-for" not in allowed


async def test_a_plain_options_is_no_preflight() -> None:
    async with running_server(allowed_origins=PAGE) as running:
        assert (await ask(running, "OPTIONS", FILES, PAGE))[0] == 405
