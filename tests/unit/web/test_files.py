from __future__ import annotations

import re

from oyez.server.web.pages import INDEX, read_page_files

MOST_BYTES = 110_000


def test_the_page_is_small() -> None:
    files = read_page_files().items()
    own = [body for name, body in files if not name.startswith("two_cities")]
    assert sum(len(body) for body in own) < MOST_BYTES


def test_everything_the_page_names_is_there() -> None:
    files = read_page_files()
    named = set(re.findall(r'(?:src|href)="page/([^"]+)"', files[INDEX].decode()))
    for name, body in files.items():
        if name.endswith(".js"):
            named |= set(re.findall(r'(?:from|URL\() ?"(?:\./)?([\w-]+\.\w+)"', body.decode()))
    assert {"main.js", "style.css", "pcm.js", "capture-worklet.js", "two_cities.wav"} <= named
    assert named <= set(files)


def test_nothing_is_named_on_another_host() -> None:
    for name, body in read_page_files().items():
        if name.endswith((".html", ".js", ".css")):
            others = re.findall(r"(?:https?|wss?):\\?/\\?/[\w.-]+", body.decode())
            assert set(others) <= {"http://localhost"}, name


def test_modules_are_short() -> None:
    for name, body in read_page_files().items():
        if name.endswith((".js", ".css", ".html")):
            assert body.count(b"\n") <= 300, name
