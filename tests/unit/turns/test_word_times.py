from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.engines.base import Piece
from oyez.turns.word_times import MAX_TAIL_SAMPLES, LetterTimes, Span, Word, split_words


def piece(text: str, end: int, probability: float = 0.5) -> Piece:
    return Piece(text, (1,), end, probability)


def timed(pieces: list[Piece], text: str, spoken: list[Span], at: int = 0) -> tuple[Word, ...]:
    times = LetterTimes()
    times.add(pieces, text, at, spoken)
    return times.words(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It was the best.", ["It", " was", " the", " best."]),
        ("« Oui », dit-elle !", ["« Oui »,", " dit-elle !"]),
        ("我有3个iPhone，好。", ["我", "有", "3", "个", "iPhone，", "好。"]),
        ("「はい」「と", ["「は", "い」", "「と"]),
        ("ไปน้ำเมือง", ["ไป", "น้ำ", "เมื", "อ", "ง"]),
        ("아니요, 괜찮아요.", ["아니요,", " 괜찮아요."]),
        ("- Well - yes -", ["- Well -", " yes -"]),
        ("…", ["…"]),
        ("", []),
    ],
)
def test_a_word_has_its_marks_and_a_letter(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@given(st.text(st.sampled_from("ab é1%,.「」「我好เมืองำ। |“-\u0301\n"), max_size=30))
def test_words_are_the_text_again(text: str) -> None:
    assert "".join(split_words(text)) == text


def test_words_have_the_written_form_and_the_times_of_the_pieces() -> None:
    pieces = [piece(" It", 3000, 0.9), piece(" was", 6000), piece(" bet", 8000), piece("ter", 9000)]
    nearly: Any = pytest.approx(0.9)
    assert timed(pieces, "It was better.", [(0, 10_000)], at=1000) == (
        Word("It", 1000, 4000, nearly),
        Word(" was", 4000, 7000, 0.5),
        Word(" better.", 7000, 10_000, 0.5),
    )


def test_a_word_begins_where_the_pause_before_it_ends_and_ends_where_the_next_one_begins() -> None:
    pieces = [piece(" one", 6500), piece(",", 9000), piece(" two", 20_000)]
    first, second = timed(pieces, "one, two", [(500, 6000), (15_000, 19_000)])
    assert (first.start_samples, first.end_samples) == (500, 6000)
    assert (second.start_samples, second.end_samples) == (15_000, 19_000)


def test_a_word_before_a_pause_lasts_as_long_as_speech_goes_on_but_not_for_ever() -> None:
    pieces = [piece(" one", 5000), piece(" two", 20_000)]
    first, second = timed(pieces, "one two", [(0, 6000), (15_000, 90_000)])
    assert first.end_samples == 6000
    assert second.end_samples == 20_000 + MAX_TAIL_SAMPLES


def test_a_piece_with_a_wrong_end_changes_no_other() -> None:
    """Attention that jumps ahead, or back, for one piece."""
    ends = [4000, 30_000, 8000, 1000, 12_000]
    pieces = [
        Piece(f" w{at}", (1,), max(ends[: at + 1]), 0.5, raw_end_samples=end)
        for at, end in enumerate(ends)
    ]
    words = timed(pieces, "w0 w1 w2 w3 w4", [(0, 12_000)])
    assert [word.end_samples for word in words] == [4000, 6000, 8000, 10_000, 12_000]


def test_characters_share_the_time_of_their_piece() -> None:
    words = timed([piece("中国", 4000), piece("人", 6000)], "中国人。", [(0, 6000)])
    assert [word.end_samples for word in words] == [2000, 4000, 6000]


def test_another_script_may_have_other_letters() -> None:
    """More letters or fewer, and none behind the last one heard."""
    for written in ("ab", "abcdef"):
        *_, last = timed([piece(" abcd", 4000)], written, [(0, 4000)])
        assert last.text == written
        assert last.start_samples == 0 and 1000 <= last.end_samples <= 4000


def test_text_without_a_letter_has_a_place_too() -> None:
    times = LetterTimes()
    times.add([piece(" one", 4000)], "one", 0, [(0, 4000)])
    times.add([piece("…", 8000)], "…", 4000, [])
    assert times.words("…") == (Word("…", 4000, 4000, 0.0),)


@given(
    ends=st.lists(st.integers(-100, 40_000), min_size=1, max_size=8),
    edges=st.lists(st.integers(0, 40_000), max_size=8, unique=True),
)
def test_times_never_go_back(ends: list[int], edges: list[int]) -> None:
    pieces = [piece(f" w{index}", end) for index, end in enumerate(ends)]
    text = " ".join(f"w{index}" for index in range(len(ends)))
    cuts = sorted(edges)
    words = timed(pieces, text, list(zip(cuts[::2], cuts[1::2], strict=False)))
    assert "".join(word.text for word in words) == text
    times = [time for word in words for time in (word.start_samples, word.end_samples)]
    assert times == sorted(times)
