from __future__ import annotations

import re

from oyez.protocol.dialect import SessionLimits
from oyez.server.realtime import new_id, serves_model, session_limits
from oyez.settings import Settings


def test_ids_look_like_those_of_the_service() -> None:
    ids = {new_id("event") for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"event_[A-Za-z0-9]{21}", each) for each in ids)


def test_default_settings_are_the_defaults_of_the_protocol() -> None:
    assert session_limits(Settings()) == SessionLimits()


def test_models_are_served_by_name_or_family() -> None:
    assert serves_model("qwen3-asr-flash-realtime-2030-01-01", ())
    assert serves_model("mine", ("mine",))
    assert not serves_model("whisper", ("mine",))
