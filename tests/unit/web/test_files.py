from __future__ import annotations

import re

from oyez.web import INDEX, read_files

MOST_BYTES = 110_000


def test_the_page_is_small() -> None:
    own = [each for each in read_files().values() if not each.name.startswith("two_cities")]
    assert sum(len(each.body) for each in own) < MOST_BYTES


def test_everything_the_page_names_is_there() -> None:
    files = read_files()
    named = set(re.findall(r'(?:src|href)="page/([^"]+)"', files[INDEX].body.decode()))
    for each in files.values():
        if each.name.endswith(".js"):
            named |= set(re.findall(r'(?:from|URL\() ?"(?:\./)?([\w-]+\.\w+)"', each.body.decode()))
    assert {"main.js", "style.css", "pcm.js", "capture-worklet.js", "two_cities.wav"} <= named
    assert named <= set(files)


def test_nothing_is_named_on_another_host() -> None:
    for each in read_files().values():
        if each.name.endswith((".html", ".js", ".css")):
            others = re.findall(r"(?:https?|wss?):\\?/\\?/[\w.-]+", each.body.decode())
            assert set(others) <= {"http://localhost"}, each.name


def test_modules_are_short() -> None:
    for each in read_files().values():
        if each.name.endswith((".js", ".css", ".html")):
            assert each.body.count(b"\n") <= 300, each.name
