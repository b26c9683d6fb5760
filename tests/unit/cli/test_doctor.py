from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from click.testing import CliRunner, Result

from oyez.cli import doctor_checks as checks
from oyez.cli.doctor import words_of, words_right
from oyez.cli.main import main
from oyez.runtime.cpu_limits import CpuShare
from oyez.settings import Settings
from support import tiny_whisper
from support.terminal import a_terminal


def settings(tmp_path: Path, **values: Any) -> Settings:
    return Settings(
        **{"port": 0, "database": "off", "models_dir": tmp_path, "cache_dir": tmp_path, **values}
    )


@pytest.mark.parametrize(
    ("flags", "machine", "grade", "words"),
    [
        ({"avx2", "avx512_vnni"}, "x86_64", "ok", "VNNI"),
        ({"avx2"}, "x86_64", "ok", "without VNNI"),
        ({"sse2"}, "x86_64", "warn", "no AVX2"),
        ({"asimd", "asimddp"}, "aarch64", "ok", "with dot products"),
        ({"asimd"}, "aarch64", "ok", "without dot products"),
        (set(), "riscv64", "ok", "not report"),
    ],
)
def test_processors_are_graded_by_their_flags(
    flags: set[str], machine: str, grade: str, words: str
) -> None:
    found = checks.processor(frozenset(flags), machine)
    assert found.grade == grade
    assert words in found.words


@pytest.mark.parametrize(
    ("available", "limit", "grade"),
    [(8 << 30, None, "ok"), (1 << 30, None, "warn"), (8 << 30, 500 << 20, "fail")],
)
def test_the_least_of_memory_and_limit_counts(
    monkeypatch: pytest.MonkeyPatch, available: int, limit: int | None, grade: str
) -> None:
    monkeypatch.setattr(checks, "memory_bytes", lambda: (16 << 30, available))
    monkeypatch.setattr(checks, "memory_limit_bytes", lambda: limit)
    found = checks.memory()
    assert found.grade == grade
    assert bool(found.advice) == (grade != "ok")


def test_a_container_with_a_part_of_a_core_is_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "cpu_share", lambda: CpuShare(8, 0.5))
    found = checks.cores()
    assert (found.grade, "container limit" in found.words) == ("warn", True)


def test_a_directory_that_cannot_be_written_is_a_problem() -> None:
    found = checks.disk(Path("/proc/nowhere/cache"), "--cache-dir")
    assert found.grade == "fail"
    assert "--cache-dir" in found.advice


def test_a_directory_that_will_be_made_is_fine(tmp_path: Path) -> None:
    assert checks.disk(tmp_path / "a" / "b", "--models-dir").grade == "ok"


@contextmanager
def a_server(status: int, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server whose health check answers with this status; its port."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(("status", "exit_code"), [(200, 0), (503, 1)])
def test_a_running_server_is_asked_for_its_health(
    monkeypatch: pytest.MonkeyPatch, status: int, exit_code: int
) -> None:
    with a_server(status) as port:
        monkeypatch.setenv("OYEZ_HOST", "0.0.0.0")
        monkeypatch.setenv("OYEZ_PORT", str(port))
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        done = CliRunner().invoke(main, ["doctor", "--running"])
    assert done.exit_code == exit_code, done.output
    assert f"http://127.0.0.1:{port}/healthz: {status}" in done.output
    assert "clock" not in done.output, "more was checked than the server"


def test_a_running_server_is_asked_with_tls_where_it_has_a_certificate(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("asr.example.org")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(tls)
    with a_server(200, tls) as port:
        files = {"tls_cert": tmp_path / "chain.pem", "tls_key": tmp_path / "key.pem"}
        found = checks.running(settings(tmp_path, port=port, **files))
        assert (found.grade, found.words) == ("ok", f"https://127.0.0.1:{port}/healthz: 200")
        assert checks.running(settings(tmp_path, port=port)).grade == "fail"


def test_a_server_that_does_not_answer_is_a_failure(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    found = checks.running(settings(tmp_path, port=port))
    assert (found.grade, "refused" in found.words) == ("fail", True)


def test_packages_that_are_not_supported_are_a_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert checks.packages().grade == "ok"
    found = ["aiohttp 3.14.0 (needed: >=3.14.5)"]
    monkeypatch.setattr("oyez.server.process.resources.outdated_packages", lambda: found)
    finding = checks.packages()
    assert (finding.grade, found[0] in finding.words) == ("fail", True)


def test_a_taken_port_is_a_problem(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found = checks.port(settings(tmp_path, port=taken.getsockname()[1]))
    assert found.grade == "fail"
    assert "--port" in found.advice
    assert checks.port(settings(tmp_path)).grade == "ok"


def test_models_are_checked(tmp_path: Path) -> None:
    assert checks.model(settings(tmp_path)).grade == "ok"
    missing = checks.model(settings(tmp_path, model="nosuch"))
    assert (missing.grade, "oyez models list" in missing.advice) == ("fail", True)
    tiny_whisper.write(tmp_path / "source")
    add = ["models", "add", str(tmp_path / "source"), "--models-dir", str(tmp_path / "models")]
    assert CliRunner().invoke(main, add).exit_code == 0
    chosen = settings(tmp_path, model="source", models_dir=tmp_path / "models")
    assert checks.model(chosen).grade == "ok"
    (tmp_path / "models" / "source" / "model.bin").write_bytes(b"")
    assert checks.model(chosen).grade == "fail"


def test_databases_are_tried(tmp_path: Path) -> None:
    assert checks.database(settings(tmp_path)).words.startswith("off")
    new = f"sqlite:///{tmp_path}/new.db"
    asked = settings(tmp_path, database=new, create_database=True)
    assert "does not exist yet" in checks.database(asked).words
    missing = checks.database(settings(tmp_path, database=new))
    assert (missing.grade, "there is no such file" in missing.words) == ("fail", True)
    assert not (tmp_path / "new.db").exists()
    (tmp_path / "bad.db").write_text("no database at all, but long enough to be one" * 9)
    bad = checks.database(settings(tmp_path, database=f"sqlite:///{tmp_path}/bad.db"))
    assert bad.grade == "fail"
    away = checks.database(settings(tmp_path, database="postgresql://oyez:hush@127.0.0.1:1/oyez"))
    assert away.grade == "fail"
    assert "hush" not in away.words


def test_a_clock_that_was_never_set_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    class Long(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Long:
            return cls(1970, 1, 1, tzinfo=UTC)

    assert checks.clock().grade == "ok"
    monkeypatch.setattr(checks, "datetime", Long)
    assert checks.clock().grade == "fail"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--port", "0", "--database", "off", *arguments])


def test_every_line_has_a_mark_and_words(tmp_path: Path) -> None:
    done = run("--quick")
    assert done.exit_code == 0, done.output
    *lines, summary = done.output.splitlines()
    findings = [line for line in lines if not line.lstrip().startswith("what to do: ")]
    assert all(line[0] in "✓!✗" and len(line) > 15 for line in findings)
    assert "problem" in summary.lower()


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_colours_are_left_out_with_no_color(variables: dict[str, str]) -> None:
    arguments = ["doctor", "--quick", "--port", "0", "--database", "off"]
    with a_terminal(*arguments, columns=60, variables=variables) as terminal:
        assert terminal.end() == 0, terminal.text
        rows = terminal.screen.buffer.values()
        colours = {row[0].fg for row in rows if row[0].data in "✓!"}
        words = {row[20].fg for row in rows}
    assert (colours == {"default"}) == bool(variables)
    assert words == {"default"}
    assert all(len(line) <= 60 for line in terminal.lines)
    assert "✓ processor" in terminal.text


def test_a_problem_exits_1_and_says_what_to_do() -> None:
    done = run("--quick", "--model", "nosuch")
    assert done.exit_code == 1
    assert "✗ model" in done.output
    assert "what to do: oyez models list" in done.output
    assert "1 problem" in done.output


def test_machines_read_json() -> None:
    done = run("--quick", "--json", "--model", "nosuch")
    found = {each["area"]: each for each in map(json.loads, done.output.splitlines())}
    assert found["model"]["grade"] == "fail"
    assert found["oyez"]["grade"] == "ok"
    assert done.exit_code == 1


def test_the_self_test_measures_speed_and_room() -> None:
    done = run("--engine", "fake", "--vad", "energy", "--emotion", "off", "--json")
    found = {each["area"]: each for each in map(json.loads, done.output.splitlines())}
    assert "x real time" in found["speed"]["words"]
    assert "256 conversations" in found["room"]["words"]


@pytest.mark.model
def test_the_self_test_with_the_real_engine() -> None:
    done = run("--threads", "1", "--json")
    found = {each["area"]: each for each in map(json.loads, done.output.splitlines())}
    right, _, total, *_ = found["words"]["words"].split()
    assert total == "60"
    assert int(right) >= 54
    assert found["words"]["grade"] == "ok"


def test_words_are_right_in_order() -> None:
    assert words_right(words_of("It was the best, it WAS."), words_of("it was best it was")) == 5
    assert words_right(["a", "b"], ["b", "a"]) == 1
    assert words_of("Ça va, l'été 42!") == ["ça", "va", "l", "été", "42"]
