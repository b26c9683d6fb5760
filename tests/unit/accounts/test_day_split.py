from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from oyez.accounts.schema import FIGURES
from oyez.accounts.usage import Figures, highest, split_by_day, total

FIRST = date(2026, 11, 23)

amounts = st.integers(0, 10_000)
of_session = st.fixed_dictionaries({(None, name): amounts for name in FIGURES})
of_languages = st.dictionaries(
    st.sampled_from(["en", "de", "zh"]), st.tuples(amounts, amounts)
).map(lambda spoken: figures_of(**spoken))
counts = st.tuples(of_session, of_languages).map(lambda parts: {**parts[0], **parts[1]})
snapshots = st.lists(st.tuples(st.integers(0, 4), counts), max_size=8)


def figures_of(**spoken: tuple[int, int]) -> Figures:
    """Turns and milliseconds of speech by language."""
    found: Figures = {}
    for language, (turns, speech_ms) in spoken.items():
        found |= {(language, "turns"): turns, (language, "speech_ms"): speech_ms}
    return found


def days_after(found: list[tuple[int, Figures]]) -> dict[date, Figures]:
    by_day: dict[date, Figures] = {}
    for offset, reached in found:
        by_day = split_by_day(by_day, FIRST + timedelta(days=offset), reached)
    return by_day


@given(snapshots, st.randoms())
def test_the_order_of_snapshots_changes_nothing(
    found: list[tuple[int, Figures]], random: object
) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert days_after(shuffled) == days_after(found) == days_after([*found, *shuffled])


@given(snapshots)
def test_days_add_up_to_the_highest_of_each_figure(found: list[tuple[int, Figures]]) -> None:
    by_day = days_after(found)
    assert total(list(by_day.values())) == highest([reached for _, reached in found])


@given(snapshots)
def test_no_day_gives_anything_back(found: list[tuple[int, Figures]]) -> None:
    for each in days_after(found).values():
        assert min(each.values()) >= 0


def test_languages_come_one_by_one() -> None:
    first = figures_of(en=(1, 10))
    both = figures_of(en=(1, 10), de=(2, 20))
    tomorrow = FIRST + timedelta(days=1)
    found = split_by_day({FIRST: first}, tomorrow, both)
    assert found[tomorrow] == figures_of(en=(0, 0), de=(2, 20))


def test_what_is_new_counts_on_the_day_it_came() -> None:
    first: Figures = {(None, "audio_ms"): 100, (None, "turns"): 1}
    second: Figures = {(None, "audio_ms"): 250, (None, "turns"): 1}
    tomorrow = FIRST + timedelta(days=1)
    assert split_by_day({FIRST: first}, tomorrow, second) == {
        FIRST: first,
        tomorrow: {(None, "audio_ms"): 150, (None, "turns"): 0},
    }
