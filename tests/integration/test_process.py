"""The real program in its own process: start, signals, exit codes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import pexpect
import psutil
import pytest

from support.process import ENVIRONMENT, a_process, command, run_to_end
from support.server import MODEL, Client, append, silence, speech


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_turns_finish(number: int) -> None:
    with a_process() as (process, url, _):
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{url}?model={MODEL}") as socket,
        ):
            client = Client(socket)
            await client.send(append(silence(0.5) + speech(2.0)))
            await client.until("speech_started")
            process.send_signal(number)
            assert await client.closed() == 1001
            assert client.types[-2:] == ["completed", "finished"]
        assert await asyncio.to_thread(process.wait, 20.0) == 0


async def test_an_idle_server_stops_at_once() -> None:
    with a_process() as (process, _, lines):
        assert sum("no API key" in line for line in lines) == 1
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20.0) == 0


async def test_hanging_up_reloads_and_disconnects_nobody() -> None:
    with a_process() as (process, url, _):
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"{url}?model={MODEL}") as socket,
        ):
            client = Client(socket)
            await client.until("created")
            process.send_signal(signal.SIGHUP)
            await client.send(append(speech(1.0) + silence(1.0)))
            await client.until("completed")
            async with http.ws_connect(f"{url}?model={MODEL}") as another:
                await Client(another).until("created")
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, 20.0) == 0


def test_a_terminal_that_closes_stops_the_server() -> None:
    program, *arguments = command("--port", "0")
    terminal: pexpect.spawn[bytes] = pexpect.spawn(program, arguments, env=ENVIRONMENT)
    process = psutil.Process(terminal.pid)
    try:
        terminal.expect("oyez is ready", timeout=30)
        os.close(terminal.child_fd)
        assert process.wait(20.0) == 0
    finally:
        if process.is_running():
            process.kill()


async def test_with_keys_there_is_no_warning() -> None:
    with a_process("--api-key", "hush-hush-very-secret") as (_, url, lines):
        assert not any("no API key" in line or "hush" in line for line in lines)
        assert "callers need an API key\n" in lines
        assert (
            f"web page: {url.replace('ws', 'http', 1).removesuffix('/api-ws/v1/realtime')}/\n"
            in lines
        )
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{url}?model={MODEL}")
        assert refused.value.status == 401


def test_a_taken_port_is_reported_before_anything_is_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_to_end("--port", str(port))
    assert ended.returncode == 3
    assert f"cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "--port" in ended.stderr
    assert "loading" not in ended.stderr


def test_a_missing_model_exits_3() -> None:
    ended = run_to_end("--port", "0", "--engine", "whisper-onnx", "--model", "/nowhere")
    assert ended.returncode == 3
    assert "/nowhere is no directory" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.model
def test_stopping_while_the_model_is_prepared_leaves_nothing(tmp_path: Path) -> None:
    flags = ["serve", "--port", "0", "--threads", "1", "--cache-dir", str(tmp_path)]
    with subprocess.Popen([sys.executable, "-m", "oyez", *flags], env=ENVIRONMENT) as process:
        deadline = time.monotonic() + 60.0
        while not list(tmp_path.glob(".preparing-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.terminate()
        assert process.wait(20.0) == 0
    assert list(tmp_path.iterdir()) == []


def test_wrong_settings_exit_2() -> None:
    ended = run_to_end("--host", "0.0.0.0")
    assert ended.returncode == 2
    assert "allow_insecure" in ended.stderr


async def test_a_log_that_nobody_reads_holds_nobody_up() -> None:
    """As a terminal after Ctrl-S, or a collector that has stalled: the pipe is full."""
    with a_process("--sessions-per-second", "1000") as (process, url, _):
        async with aiohttp.ClientSession() as http:
            for _ in range(400):  # each leaves a line of some 300 bytes; a pipe takes 65,536
                async with http.ws_connect(f"{url}?model={MODEL}") as socket:
                    await Client(socket).until("created")
            async with http.ws_connect(f"{url}?model={MODEL}") as socket:
                client = Client(socket)
                await client.send(append(speech(1.0) + silence(1.0)))
                await client.until("completed")
        process.kill()
