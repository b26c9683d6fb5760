from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from oyez.settings import SettingsError, load


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h/d", "postgresql://u:***@h/d"),
        ("postgresql://u:se:cret@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u@h/d?password=secret&x=y", "postgresql://u@h/d?password=***&x=y"),
        ("postgresql://u@h:5432/d", "postgresql://u@h:5432/d"),
        ("sqlite:////var/lib/oyez/a.db", "sqlite:////var/lib/oyez/a.db"),
        ("off", "off"),
    ],
)
def test_a_password_of_the_database_is_not_shown(url: str, shown: str) -> None:
    assert load({"database": url}).effective()["database"] == shown


def test_the_price_is_the_decimal_number_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "oyez.toml"
    file.write_text("price_per_second = 0.00009\n")
    assert load({}, file).price_per_second == Decimal("0.00009")
    assert load({"price_per_second": "0.1"}).price_per_second == Decimal("0.1")
    assert load({}).price_per_second is None


@pytest.mark.parametrize("price", ["-1", "nan", "inf", "cheap"])
def test_a_price_is_a_number_from_0(price: str) -> None:
    with pytest.raises(SettingsError, match="price_per_second|price-per-second"):
        load({"price_per_second": price})


@pytest.mark.parametrize("currency", ["euro", "eur", "", "E1R"])
def test_a_currency_has_three_letters(currency: str) -> None:
    with pytest.raises(SettingsError, match="currency"):
        load({"currency": currency})
