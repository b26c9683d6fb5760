from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w
from pydantic import ValidationError

from oyez.settings import Settings, SettingsError, load, read_keys
from support.keys import own_key


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("OYEZ_"):
            monkeypatch.delenv(name)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_flag_beats_environment_beats_file_beats_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "oyez.toml", "port = 1\nmax_sessions = 1\nthreads = 1\n")
    monkeypatch.setenv("OYEZ_PORT", "2")
    monkeypatch.setenv("OYEZ_MAX_SESSIONS", "2")
    settings = load({"port": "3"}, file)
    assert (settings.port, settings.max_sessions, settings.threads) == (3, 2, 1)
    assert settings.vad == Settings().vad


def test_building_settings_by_hand_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OYEZ_PORT", "2")
    assert Settings().port == 8080


def test_an_unknown_key_in_the_file_names_the_nearest_known_one(tmp_path: Path) -> None:
    file = write(tmp_path / "oyez.toml", "prot = 1\n")
    with pytest.raises(SettingsError, match=r"oyez\.toml: unknown setting prot.* port"):
        load({}, file)


def test_a_bad_value_names_where_it_came_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsError, match="^--port: "):
        load({"port": "http"})
    with pytest.raises(SettingsError, match=r"oyez\.toml: port: "):
        load({}, write(tmp_path / "oyez.toml", "port = -1\n"))
    monkeypatch.setenv("OYEZ_PORT", "99999")
    with pytest.raises(SettingsError, match="^OYEZ_PORT: "):
        load({})


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.toml: No such file"):
        load({}, tmp_path / "nowhere.toml")
    with pytest.raises(SettingsError, match=r"bad\.toml: not TOML"):
        load({}, write(tmp_path / "bad.toml", "port 1"))


def test_lists_come_as_commas_or_as_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OYEZ_MODELS", "mine, yours")
    assert load({}).models == ("mine", "yours")
    monkeypatch.delenv("OYEZ_MODELS")
    assert load({}, write(tmp_path / "a.toml", 'models = ["mine"]')).models == ("mine",)
    assert load({"models": ("a", "b")}).models == ("a", "b")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])
def test_listening_wider_without_keys_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match="no key is configured"):
        load({"host": host, "database": "off"})
    assert load({"host": host, "database": "off", "allow_insecure": True}).host == host
    key = own_key("k")
    assert load({"host": host, "database": "off", "api_key": key}).keys() == (key,)


def test_proxies_without_any_place_for_a_key_are_refused() -> None:
    given = {"trusted_proxies": "127.0.0.1", "database": "off"}
    with pytest.raises(SettingsError, match="trusted_proxies .*no key is configured"):
        load(given)
    assert load({**given, "allow_insecure": True}).trusted_proxies
    assert load({**given, "database": "sqlite:////a.db"}).trusted_proxies


def test_a_database_may_hold_the_keys_of_a_server_for_others() -> None:
    assert load({"host": "0.0.0.0"}).host == "0.0.0.0"


@pytest.mark.parametrize(
    "origin", ["https://a.example", "http://localhost:3000", "https://[::1]:8443", "*"]
)
def test_origins_are_origins(origin: str) -> None:
    assert load({"allowed_origins": origin}).allowed_origins == (origin,)
    for wrong in ("a.example", origin + "/", "null", "ftp://a", "https://me@a"):
        with pytest.raises(SettingsError, match="allowed-origins: .* must be like https://host"):
            load({"allowed_origins": wrong})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    assert load({"host": host}).keys() == ()


def test_the_message_limit_must_hold_the_largest_append() -> None:
    with pytest.raises(SettingsError, match="ws_max_message_bytes must be at least"):
        load({"ws_max_message_bytes": 1_000_000})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_keys_never_show(tmp_path: Path) -> None:
    settings = Settings(api_key="hush-hush-very-secret,another-that-is-secret")
    assert settings.keys() == ("hush-hush-very-secret", "another-that-is-secret")
    assert "hush" not in repr(settings)
    assert "hush" not in tomli_w.dumps(settings.effective())
    with pytest.raises(SettingsError) as refused:
        load({"api_key": "hush hush"})
    assert "hush" not in str(refused.value)


def test_a_printed_mask_is_no_key(tmp_path: Path) -> None:
    printed = tomli_w.dumps(Settings(api_key="hush-hush-very-secret").effective())
    with pytest.raises(SettingsError, match="mask"):
        load({}, write(tmp_path / "printed.toml", printed))


def test_the_effective_settings_are_a_valid_settings_file(tmp_path: Path) -> None:
    settings = load({"port": 0, "threads": 3})
    file = write(tmp_path / "printed.toml", tomli_w.dumps(settings.effective()))
    assert tomllib.loads(file.read_text())["threads"] == 3
    assert load({}, file) == settings


def test_a_keys_file_holds_one_key_a_line(tmp_path: Path) -> None:
    alpha, beta = own_key("alpha"), own_key("beta")
    file = write(
        tmp_path / "keys", f"\ufeff# team a\n{alpha}\n\n  {beta}   # until May\r\ngam#{alpha}\n"
    )
    assert read_keys(file) == (alpha, beta, f"gam#{alpha}")
    assert Settings(api_key=own_key("first"), api_keys_file=file).keys()[0] == own_key("first")
    assert read_keys(write(tmp_path / "empty", "# nothing\n")) == ()


def test_a_bad_keys_file_is_named_with_its_line_but_never_the_key(tmp_path: Path) -> None:
    file = write(tmp_path / "keys", f"{own_key('alpha')}\nsecret with spaces\n")
    with pytest.raises(SettingsError, match="keys, line 2") as refused:
        read_keys(file)
    assert "secret" not in str(refused.value)
    with pytest.raises(SettingsError, match="No such file"):
        read_keys(tmp_path / "nowhere")


def test_a_key_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    short = "secret-of-19-charac"
    for given in ({"api_key": short}, {"metrics_key": short}):
        with pytest.raises(SettingsError, match="shorter than 20 characters") as refused:
            load(given)
        assert short not in str(refused.value)
    with pytest.raises(SettingsError, match="keys, line 1: .* shorter than 20") as refused:
        read_keys(write(tmp_path / "keys", short))
    assert short not in str(refused.value)
    assert load({"api_key": short + "t"}).keys() == (short + "t",)


def test_an_empty_setting_for_keys_asks_for_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not load({}).has_key_source
    assert load({"api_keys_file": str(tmp_path / "keys")}).has_key_source
    assert load({}, write(tmp_path / "a.toml", "api_key = []")).has_key_source
    monkeypatch.setenv("OYEZ_API_KEY", "")
    assert load({}).has_key_source


def test_what_is_printed_of_a_server_without_keys_asks_for_none(tmp_path: Path) -> None:
    printed = tomli_w.dumps(load({}).effective())
    assert not load({}, write(tmp_path / "a.toml", printed)).has_key_source


def test_only_the_default_database_is_made_unasked(tmp_path: Path) -> None:
    assert load({}).creates_database
    assert load({"database": load({}).database}).creates_database
    given = {"database": "sqlite:////var/lib/oyez/a.db"}
    assert not load(given).creates_database
    assert load({**given, "create_database": True}).creates_database


def test_every_setting_is_described() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_trusted_proxies_are_addresses_or_networks() -> None:
    given = {"trusted_proxies": "10.0.0.0/8, ::1"}
    assert load(given).trusted_proxies == ("10.0.0.0/8", "::1")
    with pytest.raises(SettingsError, match=r"--trusted-proxies: '10\.0\.0\.0/99' does not"):
        load({"trusted_proxies": "10.0.0.0/99"})


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"tls_cert": "c.pem"}, "tls_cert is set, tls_key is not"),
        ({"tls_key": "k.pem"}, "tls_key is set, tls_cert is not"),
        ({"tls_key_password_file": "p"}, "tls_key_password_file is set, tls_key is not"),
    ],
)
def test_half_of_tls_is_refused(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(SettingsError, match=complaint):
        load(given)


def test_what_differs_from_the_defaults_shows_no_secret() -> None:
    assert Settings().changed() == {}
    settings = Settings(
        port=9000,
        api_key="hush-hush-very-secret",
        metrics_key="hush-hush-very-secret",
        database="postgresql://oyez:hush@example.org/oyez?password=hush&sslmode=require",
    )
    assert settings.changed() == {
        "port": 9000,
        "api_key": ["********"],
        "metrics_key": "********",
        "database": "postgresql://oyez:***@example.org/oyez?password=***&sslmode=require",
    }


@pytest.mark.parametrize("password", ["hush", "hu@sh", "h:u/sh"])
def test_a_password_in_a_url_is_masked_whole(password: str) -> None:
    shown = Settings(database=f"postgresql://oyez:{password}@example.org/oyez").effective()
    assert shown["database"] == "postgresql://oyez:***@example.org/oyez"


def test_a_metrics_key_must_fit_a_header() -> None:
    with pytest.raises(ValidationError, match="visible ASCII"):
        Settings(metrics_key="two words")
