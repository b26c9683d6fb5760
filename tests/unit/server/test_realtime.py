from __future__ import annotations

import re

from oyez.protocol.dialect import SessionLimits
from oyez.server.realtime import new_id, session_limits
from oyez.settings import Settings


def test_ids_look_like_those_of_the_service() -> None:
    ids = {new_id("event") for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"event_[A-Za-z0-9]{21}", each) for each in ids)


def test_default_settings_are_the_defaults_of_the_protocol() -> None:
    assert session_limits(Settings()) == SessionLimits()
