"""What the commands of the benchmark ask of the server they start."""

from __future__ import annotations

from oyez.bench.target import UNLIMITED, serve_flags
from oyez.cli.serve import serve


def test_flags_of_ones_own_come_last_and_may_hold_a_value() -> None:
    flags = serve_flags("fake", "base", 2, ["--max-load 0.5", "--manual-interim"])
    assert flags[:6] == ["--engine", "fake", "--model", "base", "--threads", "2"]
    assert flags[-3:] == ["--max-load", "0.5", "--manual-interim"]


def test_the_server_knows_every_limit_that_is_lifted() -> None:
    known = {flag for option in serve.params for flag in option.opts}
    assert {word for word in UNLIMITED if word.startswith("--")} <= known
