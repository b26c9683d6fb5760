from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from oyez.accounts.usage import Figures, add_new

FIRST = date(2026, 11, 23)
NAMES = ("audio_ms", "turns")

counts = st.fixed_dictionaries({name: st.integers(0, 10_000) for name in NAMES})
snapshots = st.lists(st.tuples(st.integers(0, 4), counts), max_size=8)


def days_after(found: list[tuple[int, Figures]]) -> dict[date, Figures]:
    days: dict[date, Figures] = {}
    for offset, reached in found:
        add_new(days, FIRST + timedelta(days=offset), reached)
    return days


def totals(days: dict[date, Figures]) -> Figures:
    return {name: sum(figures[name] for figures in days.values()) for name in NAMES}


@given(snapshots)
def test_days_add_up_to_the_highest_of_each_figure_in_any_order(
    found: list[tuple[int, Figures]],
) -> None:
    highest = {name: max([0, *(reached[name] for _, reached in found)]) for name in NAMES}
    assert totals(days_after(found)) == totals(days_after(found[::-1])) == highest


@given(snapshots)
def test_the_same_figures_again_change_nothing(found: list[tuple[int, Figures]]) -> None:
    days = days_after(found)
    assert days_after([*found, *found]) == days


@given(snapshots)
def test_no_day_gives_anything_back(found: list[tuple[int, Figures]]) -> None:
    for each in days_after(found).values():
        assert min(each.values()) >= 0


def test_what_is_new_counts_on_the_day_it_came() -> None:
    first, second = {"audio_ms": 100, "turns": 1}, {"audio_ms": 250, "turns": 1}
    assert days_after([(0, first), (1, second)]) == {
        FIRST: first,
        FIRST + timedelta(days=1): {"audio_ms": 150, "turns": 0},
    }
