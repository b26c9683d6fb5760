"""The examples that send whole files, with a server that hears counting words."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.server import running_server

ROOT = Path(__file__).parents[2]
KEY = "k-0123456789-0123456789"
SAMPLE = ROOT / "src/oyez/assets/two_cities.wav"


async def run(*command: str, **environment: str) -> str:
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, str(SAMPLE)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def test_openai_client() -> None:
    async with running_server(api_key=(KEY,)) as running:
        url = f"http://{running.address}/v1"
        program = str(ROOT / "examples/openai_client.py")
        shown = await run(sys.executable, program, "--url", url, "--api-key", KEY)
    text, *sentences = shown.splitlines()
    assert "one two three" in text.lower()
    first = sentences[0].split()
    assert 0 <= float(first[0]) < float(first[1]) <= 21


@pytest.mark.skipif(not shutil.which("curl"), reason="this machine has no curl")
async def test_subtitles_with_curl() -> None:
    async with running_server(api_key=(KEY,)) as running:
        url = f"http://{running.address}"
        shown = await run(str(ROOT / "examples/subtitles.sh"), SERVER=url, API_KEY=KEY)
    assert shown.startswith("1\n00:00:0")
    assert " --> " in shown
