"""The engine in a process of its own: what it answers, how it ends, how it comes back."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from oyez.engines.base import Hypothesis, LoadError, Purpose, RecognitionError, Request
from oyez.engines.fake import FakeRecogniser
from oyez.runtime import engine_child, engine_process
from oyez.runtime.engine import EngineChoice, Restartable
from oyez.runtime.engine_process import EngineProcess
from oyez.runtime.job import EngineLost
from support.waiting import wait_until, wait_while

FAULTY = Path(__file__).parents[2] / "support" / "faulty_engine"
LATEST_S = 20.0
"""A busy machine takes some seconds to start Python."""


def choice(**changes: str) -> EngineChoice:
    chosen = {"engine": "fake", "model": "base", "device": "cpu", "cache_dir": "unused"}
    return EngineChoice(threads=2, models_dir="unused", **{**chosen, **changes})


def request(context: str = "", samples: int = 16_000) -> Request:
    return Request(np.zeros(samples, np.float32), Purpose.FINAL, context=context)


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineProcess]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FAULTY)
        patch.setattr(engine_process, "RESTART_AFTER_S", (0.0,))
        process = EngineProcess(choice(), lambda line: None)
        yield process
        process.close()


@pytest.fixture
def healthy(engine: EngineProcess) -> EngineProcess:
    wait_until(lambda: engine.is_up)
    return engine


def test_it_is_a_recogniser_that_can_be_restarted(healthy: EngineProcess) -> None:
    assert isinstance(healthy, Restartable)
    assert healthy.info == FakeRecogniser().info
    assert healthy.trial.session_cost < 0.1
    healthy.warm_up()


def test_it_answers_as_in_this_process(healthy: EngineProcess) -> None:
    requests = [request(samples=8000 * n) for n in range(5)]
    assert healthy.recognise(requests) == FakeRecogniser().recognise(requests)
    assert healthy.recognise([]) == []


def test_audio_that_is_too_long_for_a_message_is_refused(
    healthy: EngineProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_child, "MAX_MESSAGE_BYTES", 1 << 20)
    pid = healthy.pid
    with pytest.raises(ValueError, match="too many for one message"):
        healthy.recognise([request(samples=1 << 18)])
    assert isinstance(healthy.recognise([request(samples=1 << 17)])[0], Hypothesis)
    assert healthy.pid == pid


def test_what_the_engine_raises_is_an_answer_and_a_line_of_our_log(
    healthy: EngineProcess, caplog: pytest.LogCaptureFixture
) -> None:
    pid = healthy.pid
    good, bad = healthy.recognise([request(), request("raise")])
    assert isinstance(good, Hypothesis)
    assert isinstance(bad, RecognitionError)
    assert "of the engine" in str(bad)
    wait_until(lambda: "the engine raised" in caplog.text)
    (record,) = [each for each in caplog.records if each.message == "the engine raised"]
    assert record.exc_text is not None and "ZeroDivisionError: of the engine" in record.exc_text
    assert healthy.pid == pid


def test_its_log_is_ours(healthy: EngineProcess, caplog: pytest.LogCaptureFixture) -> None:
    healthy.recognise([request("warn")])
    wait_until(lambda: "from afar" in caplog.text)
    (record,) = [each for each in caplog.records if each.message == "from afar"]
    assert (record.name, record.levelno) == ("oyez.engines.fake", logging.WARNING)
    assert record.fields == {"answer": 42}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fault", "message"),
    [("segmentation fault", "ended by SIGSEGV"), ("abort", "SIGABRT"), ("exit", "exit code 3")],
)
def test_a_fault_loses_the_call_and_nothing_else(
    healthy: EngineProcess, fault: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    pid = healthy.pid
    with pytest.raises(EngineLost):
        healthy.recognise([request(fault)])
    wait_until(lambda: not healthy.is_up)
    with pytest.raises(EngineLost, match="started again"):
        healthy.recognise([request()])
    wait_until(lambda: healthy.is_up)
    assert healthy.pid != pid
    assert not healthy.is_lost
    assert isinstance(healthy.recognise([request()])[0], Hypothesis)
    assert any(message in str(getattr(each, "fields", "")) for each in caplog.records)


def test_a_call_that_hangs_ends_with_a_restart(
    healthy: EngineProcess, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: list[BaseException] = []

    def ask() -> None:
        with pytest.raises(EngineLost) as lost:
            healthy.recognise([request("hang")])
        outcomes.append(lost.value)

    asking = threading.Thread(target=ask)
    asking.start()
    wait_while(lambda: outcomes == [])
    healthy.restart()
    assert not healthy.is_up
    asking.join(LATEST_S)
    assert len(outcomes) == 1
    wait_until(lambda: healthy.is_up)
    assert any("did not return" in str(getattr(each, "fields", "")) for each in caplog.records)
    assert isinstance(healthy.recognise([request()])[0], Hypothesis)


def test_signals_for_the_whole_service_do_not_end_it(healthy: EngineProcess) -> None:
    pid = healthy.pid
    assert pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    time.sleep(0.1)
    assert isinstance(healthy.recognise([request()])[0], Hypothesis)
    assert healthy.pid == pid
    assert os.getsid(pid) != os.getsid(0)


def test_it_has_none_of_our_secrets_and_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ("OYEZ_API_KEY", "OYEZ_DATABASE", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "MY_TOKEN")
    for name in secrets:
        monkeypatch.setenv(name, "hush")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.set_inheritable(True)
        process = EngineProcess(choice(), lambda line: None)
        try:
            assert process.pid
            has = psutil.Process(process.pid).environ()
            files = [os.readlink(each) for each in Path(f"/proc/{process.pid}/fd").iterdir()]
            ours = os.readlink(f"/proc/self/fd/{listening.fileno()}")
        finally:
            process.close()
    assert "hush" not in has.values()
    assert {"PATH", "HOME"} <= set(has)
    assert ours not in files
    assert len([name for name in files if name.startswith("socket:")]) == 3, "control, two lanes"


@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_it_ends_with_the_server(ending: str) -> None:
    code = f"""
import os
from oyez.runtime.engine import EngineChoice, Restartable
from oyez.runtime.engine_process import EngineProcess
choice = EngineChoice(
    engine="fake", model="base", device="cpu", threads=1, cache_dir="unused", models_dir="unused"
)
print(EngineProcess(choice, lambda line: None).pid, flush=True)
{ending}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    wait_until(lambda: not psutil.pid_exists(int(done.stdout)))


def test_closing_ends_it() -> None:
    process = EngineProcess(choice(), lambda line: None)
    pid = process.pid
    assert pid
    process.close()
    assert not psutil.pid_exists(pid)
    assert process.pid is None
    with pytest.raises(EngineLost):
        process.recognise([request()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "cuda"}, "--engine whisper-ct2"),
        ({"engine": "whisper-onnx", "model": "/nowhere"}, "/nowhere is no directory"),
    ],
)
def test_what_cannot_be_loaded_is_reported(changes: dict[str, str], message: str) -> None:
    lines: list[str] = []
    with pytest.raises(LoadError, match=message):
        EngineProcess(choice(**changes), lines.append)


def test_a_process_that_cannot_begin_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_process, "PROGRAM", "oyez.nowhere")
    with pytest.raises(LoadError, match="the process of engine fake ended with exit code 1"):
        EngineProcess(choice(), lambda line: None)


def test_an_engine_that_does_not_come_up_again_is_lost(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engine_process, "RESTART_AFTER_S", (0.0,))
    monkeypatch.setattr(engine_process, "MAX_FAILED_STARTS", 2)
    process = EngineProcess(choice(), lambda line: None)
    monkeypatch.setattr(engine_process, "PROGRAM", "oyez.nowhere")
    process.restart()
    wait_until(lambda: process.is_lost)
    assert not process.is_up
    assert "cannot be started again" in caplog.text
    process.close()


def test_what_it_says_while_it_loads() -> None:
    lines: list[str] = []
    process = EngineProcess(choice(), lines.append)
    process.close()
    assert lines == ["warming up"]
