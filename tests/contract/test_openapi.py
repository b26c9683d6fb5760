"""The OpenAPI document agrees with the routes of the server and with their answers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from oyez.server.access.refusals import INVALID_KEY
from oyez.server.reference.openapi import openapi
from oyez.settings import Settings
from support.closed import complaints
from support.server import RunningServer, running_server

DOCUMENT = openapi(Settings())
OPERATIONS = [
    (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]


def test_the_document_is_openapi() -> None:
    validate(DOCUMENT)
    with pytest.raises(Exception, match="is not of type"):
        validate({**DOCUMENT, "paths": {"/x": {"get": {"responses": 3}}}})


@pytest.mark.parametrize("settings", [{}, {"web_page": False, "metrics": False, "docs": False}])
async def test_every_route_is_described_and_no_other(settings: dict[str, Any]) -> None:
    async with running_server(**settings) as running:
        served = {
            (route.method.lower(), route.resource.canonical)
            for route in running.server.app.router.routes()
            if route.resource is not None and route.method not in ("HEAD", "OPTIONS")
        }
    paths = openapi(Settings(**settings))["paths"]
    assert served == {(method, path) for path, methods in paths.items() for method in methods}


async def test_what_is_answered_is_as_described() -> None:
    async with running_server() as running:
        for method, path, operation in OPERATIONS:
            if method == "get" and "parameters" not in operation:
                await _check(running, path, operation)


async def _check(running: RunningServer, path: str, operation: dict[str, Any]) -> None:
    status, body, response = await running.get(path)
    described = operation["responses"][str(status)]["content"]
    contents = {kind.partition(";")[0]: content for kind, content in described.items()}
    schema = contents[response.content_type]["schema"]
    if "$ref" in schema:
        assert complaints(DOCUMENT, schema["$ref"].rpartition("/")[2], body) == []
    else:
        assert schema["type"] == ("object" if isinstance(body, dict) else "string")


async def test_a_draining_server_and_refusals_are_as_described() -> None:
    async with running_server(api_key=("k-0123456789-0123456789",)) as running:
        status, body, _ = await running.upgrade()
        assert (status, body["code"]) == (401, INVALID_KEY.code)
        assert complaints(DOCUMENT, "RefusalBody", body) == []
        running.server.realtime.admission.draining = True
        status, body, _ = await running.get("/readyz")
        assert status == 503
        assert complaints(DOCUMENT, "Readiness", body) == []


@pytest.mark.slow
async def test_nothing_sent_to_any_route_is_a_fault_of_the_server(tmp_path: Path) -> None:
    """Schemathesis makes right and wrong requests from the document."""
    async with running_server(api_key=("k-0123456789-0123456789",)) as running:
        # These answer 426 to a request that is no upgrade, and 400 to a body that is no recording.
        others = ["--exclude-path-regex", "^/(api-ws|v1/audio)/"]
        for options in (others, ["--checks", "not_a_server_error"]):
            done = await asyncio.to_thread(_schemathesis, running.address, options, tmp_path)
            assert done.returncode == 0, done.stdout


def _schemathesis(
    address: str, options: list[str], folder: Path
) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("schemathesis"))
    document = f"http://{address}/docs/openapi.json"
    quick = ["--workers", "1", "--no-color", "--max-examples", "10", "--seed", "1"]
    quick += ["--header", "Authorization: Bearer k"]
    command = [program, "run", document, *quick, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=folder)
