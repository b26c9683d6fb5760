"""Variables that name no setting, or are not the operator's own."""

from __future__ import annotations

import os

import pytest

from oyez.settings import SettingsError, environment_warnings, load

OF_KUBERNETES = {
    "OYEZ_SERVICE_HOST": "10.0.0.1",
    "OYEZ_SERVICE_PORT": "80",
    "OYEZ_SERVICE_PORT_HTTP": "80",
    "OYEZ_PORT_80_TCP": "tcp://10.0.0.1:80",
    "OYEZ_PORT_80_TCP_PROTO": "tcp",
    "OYEZ_PORT_80_TCP_PORT": "80",
    "OYEZ_PORT_80_TCP_ADDR": "10.0.0.1",
    "OYEZ_API_SERVICE_HOST": "10.0.0.2",
    "OYEZ_API_PORT": "tcp://10.0.0.2:80",
    "OYEZ_API_PORT_9_UDP_ADDR": "10.0.0.2",
}
"""As it does beside the Services oyez and oyez-api."""


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("OYEZ_"):
            monkeypatch.delenv(name)


def test_what_kubernetes_sets_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in OF_KUBERNETES.items():
        monkeypatch.setenv(name, value)
    assert environment_warnings() == []
    monkeypatch.setenv("OYEZ_PORT", "tcp://10.0.0.1:80")
    assert load({}).port == 8080
    (warning,) = environment_warnings()
    assert (
        warning.startswith("OYEZ_PORT is ignored: Kubernetes") and "enableServiceLinks" in warning
    )


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("OYEZ_PROT", "9000", "OYEZ_PORT"),
        ("OYEZ_API_KEY_FILE", "keys.txt", "OYEZ_API_KEYS_FILE"),
        ("OYEZ_METRICS_PORT", "9100", "OYEZ_METRICS"),
        ("oyez_databse", "off", "OYEZ_DATABASE"),
    ],
)
def test_an_unknown_variable_is_a_warning_that_names_the_nearest(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, nearest: str
) -> None:
    monkeypatch.setenv(name, value)
    load({})
    (warning,) = environment_warnings()
    assert warning.startswith(f"{name} is ignored: ") and nearest in warning
    assert value not in warning, "it may be a key"


def test_settings_in_the_environment_are_no_cause_for_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OYEZ_PORT", "9000")
    monkeypatch.setenv("oyez_log_level", "error")
    assert (load({}).port, load({}).log_level) == (9000, "error")
    assert environment_warnings() == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "abc", "must be a whole number of at least 0 and at most 65535"),
        ("PORT", "70000", "must be a whole number of at least 0 and at most 65535"),
        ("PORT", "1.5", "must be a whole number of at least 0 and at most 65535"),
        ("PORT", "", "must be a whole number of at least 0 and at most 65535"),
        ("MAX_BACKLOG_S", "0", "must be a number of more than 0"),
        ("PRICE_PER_SECOND", "cheap", "must be a number of at least 0"),
        ("EMOTION_CONFIDENCE", "2", "must be a number of at least 0 and at most 1"),
        ("METRICS", "perhaps", "must be true or false"),
        ("LOG_FORMAT", "xml", "must be one of text, json"),
        ("MODEL", "", "must not be empty"),
        ("CURRENCY", "euro", "Currency of the price: three letters"),
    ],
)
def test_a_wrong_value_is_described_in_words_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(f"OYEZ_{name}", value)
    with pytest.raises(SettingsError) as refused:
        load({})
    message = str(refused.value)
    assert message.startswith(f"OYEZ_{name}: ") and words in message
    assert "Input should" not in message
