"""The whole program, whose engine's process is ended by faults: sessions go on."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp
import psutil

from support.process import ENVIRONMENT, a_process, later_line
from support.server import FINISH, MODEL, Client, append, silence, speech

FAULTY = Path(__file__).parents[1] / "support" / "faulty_engine"
TURN = silence(0.5) + speech(1.0) + silence(1.5)
PATHS = os.pathsep.join([str(FAULTY), ENVIRONMENT.get("PYTHONPATH", "")])
LATEST_S = 20.0


def context(text: str) -> str:
    return (
        '{"type": "session.update", "session": {"input_audio_transcription": '
        f'{{"corpus": {{"text": "{text}"}}}}}}}}'
    )


async def test_a_crash_costs_the_turn_that_caused_it_and_no_session() -> None:
    environment = {**ENVIRONMENT, "PYTHONPATH": PATHS}
    with a_process("--close-after-finish-s", "0", environment=environment) as (process, url, _):
        health = f"{url.replace('ws', 'http', 1).partition('/api')[0]}/readyz"
        (engine,) = psutil.Process(process.pid).children()
        async with aiohttp.ClientSession() as http:
            async with (
                http.ws_connect(f"{url}?model={MODEL}") as one,
                http.ws_connect(f"{url}?model={MODEL}") as other,
            ):
                culprit, victim = Client(one), Client(other)
                await culprit.send(context("segmentation fault"), append(TURN))
                await victim.send(append(TURN))
                await asyncio.gather(
                    culprit.until("failed", LATEST_S), victim.until("completed", LATEST_S)
                )
                await victim.send(append(TURN), FINISH)
                await victim.until("completed", LATEST_S)
                assert await victim.closed() == 1000
                await culprit.send(FINISH)
                assert await culprit.closed() == 1000
            async with http.get(health) as ready:
                assert (await ready.json())["status"] == "ready"
        assert not engine.is_running()
        await asyncio.to_thread(later_line, process, "the engine ended")
        await asyncio.to_thread(later_line, process, "the engine is up again")
        process.terminate()
        assert await asyncio.to_thread(process.wait, 20.0) == 0


async def test_its_return_is_reported() -> None:
    with a_process() as (process, url, _):
        at = url.replace("ws", "http", 1).partition("/api")[0]
        (engine,) = psutil.Process(process.pid).children()
        seen: list[tuple[int, str]] = []
        async with aiohttp.ClientSession() as http:
            engine.kill()
            give_up_s = time.monotonic() + LATEST_S
            while not seen or seen[-1] != (200, "ready"):
                assert time.monotonic() < give_up_s
                async with http.get(f"{at}/readyz") as answer:
                    now = answer.status, (await answer.json())["status"]
                if now == (503, "engine_restarting"):
                    async with http.get(f"{at}/healthz") as healthy:
                        assert healthy.status == 200, "a restart by others would help nobody"
                if not seen and now == (200, "ready"):
                    continue  # it has not been noticed yet
                if not seen or seen[-1] != now:
                    seen.append(now)
                await asyncio.sleep(0.01)
        assert seen == [(503, "engine_restarting"), (200, "ready")]


def test_an_engine_that_cannot_be_started_again_ends_the_server(tmp_path: Path) -> None:
    """With exit code 1, so that a service manager starts the whole of it again."""
    broken = tmp_path / "sitecustomize.py"
    broken.write_text(
        "from oyez.runtime import engine_process\nengine_process.RESTART_AFTER_S = (0.0,)"
    )
    paths = os.pathsep.join([str(tmp_path), ENVIRONMENT.get("PYTHONPATH", "")])
    with a_process(environment={**ENVIRONMENT, "PYTHONPATH": paths}) as (process, _, _lines):
        broken.write_text("import sys, oyez.runtime\nsys.argv[0] == '-m' and sys.exit('broken')")
        (engine,) = psutil.Process(process.pid).children()
        os.kill(engine.pid, signal.SIGKILL)
        assert process.wait(60.0) == 1
        assert process.stderr is not None
        assert "the engine is lost: leaving" in process.stderr.read()
