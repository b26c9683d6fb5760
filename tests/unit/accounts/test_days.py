from __future__ import annotations

from datetime import date, timedelta
from itertools import accumulate
from operator import or_

from hypothesis import given
from hypothesis import strategies as st

from oyez.accounts.days import NOTHING, Counts, merge

FIRST = date(2026, 11, 23)

amounts = st.integers(0, 10_000)
counts = st.builds(
    Counts,
    *[amounts] * 6,
    languages=st.dictionaries(st.sampled_from(["en", "de", "zh"]), st.tuples(amounts, amounts)),
)
snapshots = st.lists(st.tuples(st.integers(0, 4), counts), max_size=8)


def days_after(found: list[tuple[int, Counts]]) -> dict[date, Counts]:
    by_day: dict[date, Counts] = {}
    for offset, reached in found:
        by_day = merge(by_day, FIRST + timedelta(days=offset), reached)
    return by_day


@given(snapshots, st.randoms())
def test_the_order_of_snapshots_changes_nothing(
    found: list[tuple[int, Counts]], random: object
) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert days_after(shuffled) == days_after(found) == days_after([*found, *shuffled])


@given(snapshots)
def test_days_add_up_to_the_highest_of_each_figure(found: list[tuple[int, Counts]]) -> None:
    by_day = days_after(found)
    reached = list(accumulate((by_day[day] for day in sorted(by_day)), initial=NOTHING))
    assert reached[-1] == list(accumulate((each for _, each in found), or_, initial=NOTHING))[-1]


@given(snapshots)
def test_no_day_gives_anything_back(found: list[tuple[int, Counts]]) -> None:
    for each in days_after(found).values():
        assert each == each | NOTHING


def test_languages_come_one_by_one() -> None:
    first = Counts(languages={"en": (1, 10)})
    both = Counts(languages={"en": (1, 10), "de": (2, 20)})
    tomorrow = FIRST + timedelta(days=1)
    found = merge({FIRST: first}, tomorrow, both)
    assert found[tomorrow].languages["de"] == (2, 20)
    assert found[tomorrow].languages["en"] == (0, 0)


def test_what_is_new_counts_on_the_day_it_came() -> None:
    first, second = Counts(audio_ms=100, turns=1), Counts(audio_ms=250, turns=1)
    tomorrow = FIRST + timedelta(days=1)
    assert merge({FIRST: first}, tomorrow, second) == {
        FIRST: first,
        tomorrow: Counts(audio_ms=150),
    }
