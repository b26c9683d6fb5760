"""The real program in its own process, with engines that need no model."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

READY = re.compile(r"oyez is ready: (wss?://127\.0\.0\.1:(\d+)/api-ws/v1/realtime)\?model=")
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("OYEZ_")}


def command(*flags: str) -> list[str]:
    own = ["--engine", "fake", "--vad", "energy", "--database", "off"]
    return [sys.executable, "-m", "oyez", "serve", *own, *flags]


def run_to_end(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*flags), capture_output=True, text=True, timeout=60, env=ENVIRONMENT
    )


@contextmanager
def a_process(
    *flags: str, environment: Mapping[str, str] = ENVIRONMENT, open_files: int | None = None
) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """A ready server: the process, its URL, and the lines it printed so far. open_files: the most
    it may open; None: what the machine allows."""
    limited = ["prlimit", f"--nofile={open_files}"] if open_files else []
    process = subprocess.Popen(
        [*limited, *command("--port", "0", *flags)],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stderr is not None
    try:
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if found := READY.search(line):
                yield process, found[1], lines
                break
        else:
            pytest.fail("the server did not become ready:\n" + "".join(lines))
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def later_line(process: subprocess.Popen[str], wanted: str) -> str:
    """The next line that has this in it. Blocks until it comes or the process ends."""
    assert process.stderr is not None
    seen = ""
    for line in process.stderr:
        seen += line
        if wanted in line:
            return line
    pytest.fail(f"no line has {wanted!r}:\n{seen}")
